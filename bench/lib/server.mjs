import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

const SERVER = fileURLToPath(new URL("../node/serve.mjs", import.meta.url));

/**
 * Serves a file by http in a process of its own, as long as `use` runs. Below the address any path is this file.
 *
 * @param use called with the address; may block
 * @returns what `use` gives, and requests and bytes for each path
 */
export async function withServer(path, use) {
  // It ends when its standard input does, so also with this process.
  const server = spawn(process.execPath, [SERVER, path], { stdio: ["pipe", "pipe", "inherit"] });
  try {
    const [line] = await once(server.stdout, "data");
    const address = `http://127.0.0.1:${Number(line)}`;
    const result = use(address);
    const traffic = await (await fetch(`${address}/traffic`)).json();
    return { result, traffic };
  } finally {
    server.stdin.end();
  }
}
