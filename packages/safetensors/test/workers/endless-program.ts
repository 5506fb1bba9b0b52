import { parentPort } from "node:worker_threads";
import type { ToWorker } from "../../src/workers/messages.ts";

// A worker that casts for ever: it fills the memory of the result with one number after the other. A fill that has begun
// goes on when the worker is told to end.
parentPort!.on("message", (message: ToWorker) => {
  if (message.kind !== "cast" || !(message.result instanceof Uint8Array)) return;
  for (let number = 1; ; number++) message.result.fill(number);
});
