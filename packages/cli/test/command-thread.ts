import { parentPort } from "node:worker_threads";
import type { Run } from "./command.ts";

const port = parentPort!;
let runs = 0;

/** Runs the program as it is bundled, with other arguments each time; who asks waits at `answered` until it is there. */
port.on("message", async ({ args, answers, answered }) => {
  process.argv = [process.execPath, "safetensors", ...args];
  process.exitCode = undefined;
  const [stdout, stderr] = [captured(process.stdout), captured(process.stderr)];
  await import(new URL(`../bundle/main.js?run=${runs++}`, import.meta.url).href);
  const run: Run = { code: Number(process.exitCode ?? 0), stdout: stdout(), stderr: stderr() };
  process.exitCode = undefined;
  answers.postMessage(run);
  Atomics.store(answered, 0, 1);
  Atomics.notify(answered, 0);
});

/** Keeps what is written to a stream, and gives it as text. */
function captured(stream: NodeJS.WriteStream): () => string {
  const pieces: Buffer[] = [];
  stream.removeAllListeners("error");
  stream.write = (data: string | Uint8Array, ...others: unknown[]): boolean => {
    pieces.push(Buffer.from(data as Uint8Array));
    const done = others.find((other) => typeof other === "function");
    done?.();
    return true;
  };
  return () => Buffer.concat(pieces).toString();
}
