import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";

/** Debian keeps nginx where only root looks for it. */
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/usr/local/sbin` };

/** What nginx calls itself, or nothing where there is none. */
export function findNginx() {
  const { error, stderr } = spawnSync("nginx", ["-v"], { env, encoding: "utf8" });
  return error ? undefined : stderr.trim();
}

/** Ports that nobody uses at the moment. */
export async function freePorts(count) {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map((server) => once(server, "listening")));
  const ports = servers.map((server) => server.address().port);
  for (const server of servers) server.close();
  return ports;
}

/** What nginx says against a configuration, or nothing. */
export function refuses(folder, configuration) {
  writeFileSync(join(folder, "nginx.conf"), configuration);
  for (const name of ["body", "proxy", "fastcgi", "uwsgi", "scgi"])
    mkdirSync(join(folder, name), { recursive: true });
  const { status, stderr } = spawnSync("nginx", [...flags(folder), "-t"], { env, encoding: "utf8" });
  return status === 0 ? undefined : stderr.trim();
}

/** A running nginx, with all it writes in one folder. */
export class Nginx {
  #folder;
  #status;
  #process;

  /** @param statusUrl where its `stub_status` is */
  constructor(folder, statusUrl) {
    this.#folder = folder;
    this.#status = statusUrl;
  }

  /** Starts it, and waits until it answers. */
  async start() {
    this.#process = spawn("nginx", flags(this.#folder), { env, stdio: "ignore" });
    for (let tries = 0; tries < 100 && this.#process.exitCode === null; tries++) {
      try {
        await this.#readStatus();
        return;
      } catch {
        await pause(50);
      }
    }
    throw new Error(`nginx did not start: ${readFileSync(join(this.#folder, "error.log"), "utf8")}`);
  }

  /** Has it read its configuration again: new workers come, the old ones end what they are at. */
  reload() {
    this.#process.kill("SIGHUP");
  }

  /** Ends it at once, with all that is under way, and starts it again after a while. */
  async restart() {
    await this.stop();
    await pause(100);
    await this.start();
  }

  async stop() {
    if (this.#process.exitCode !== null) return;
    this.#process.kill("SIGTERM");
    await once(this.#process, "exit");
  }

  /** Where its log ends now. */
  get logged() {
    return statSync(join(this.#folder, "access.log")).size;
  }

  /** The requests logged behind a place in the log, once none is under way. */
  async requestsSince(logged) {
    // The request for the status is one.
    for (let tries = 0; tries < 200 && !/Writing: 1 /.test(await this.#readStatus()); tries++)
      await pause(10);
    const text = readFileSync(join(this.#folder, "access.log")).subarray(logged).toString();
    const lines = text.split("\n").filter((line) => line !== "");
    return lines.map((line) => JSON.parse(line));
  }

  async #readStatus() {
    return (await fetch(this.#status)).text();
  }
}

export function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

function flags(folder) {
  return ["-p", folder, "-c", join(folder, "nginx.conf"), "-e", join(folder, "error.log")];
}
