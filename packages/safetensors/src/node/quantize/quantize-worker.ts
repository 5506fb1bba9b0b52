import { parentPort } from "node:worker_threads";
import { type MakeJob, runMakeJob } from "../../quant/make/job.ts";
import { sendError } from "../../workers/messages.ts";

// The program of a worker thread: one job after the other, as they are sent.
const port = parentPort!;
port.on("message", async (job: MakeJob) => {
  try {
    port.postMessage({ result: await runMakeJob(job) });
  } catch (error) {
    port.postMessage({ error: sendError(error) });
  }
});
