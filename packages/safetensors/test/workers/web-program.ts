import { parentPort } from "node:worker_threads";

// Runs the program of a worker of the web in a worker thread, with the globals that it has there.
const port = parentPort!;
const scope = globalThis as unknown as {
  postMessage(message: unknown): void;
  onmessage: ((event: { data: unknown }) => void) | null;
};
scope.postMessage = (message) => port.postMessage(message);
const held: unknown[] = [];
port.on("message", (data: unknown) => (scope.onmessage ? scope.onmessage({ data }) : held.push(data)));
await import("../../src/workers/worker.ts");
for (const data of held) scope.onmessage!({ data });
