import { fileURLToPath } from "node:url";
import { parentPort } from "node:worker_threads";
import type { ToWorker } from "../workers/messages.ts";
import { PoolServer } from "../workers/serve.ts";
import { openPath } from "./open-path.ts";

// The program of a worker thread. Nothing else runs in it, so it reads without giving way.
const port = parentPort!;
const server = new PoolServer(
  (message) => port.postMessage(message),
  (path, mode) => openPath(path.startsWith("file://") ? fileURLToPath(path) : path, { mode, blocking: true }),
);
port.on("message", (message: ToWorker) => void server.receive(message));
