import { parentPort } from "node:worker_threads";
import type { ToWorker } from "../../src/workers/messages.ts";
import { PoolServer } from "../../src/workers/serve.ts";

// A worker that ends when it is to read a tensor whose name says so.
const port = parentPort!;
const server = new PoolServer((message) => port.postMessage(message));
port.on("message", (message: ToWorker) => {
  const names = message.kind === "run" ? message.jobs.names : [];
  if (names.includes("exit")) process.exit(7);
  if (names.includes("throw")) throw new Error("out of order");
  void server.receive(message);
});
