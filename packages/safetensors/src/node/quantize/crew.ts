import { Worker } from "node:worker_threads";
import { SafetensorsError } from "../../errors.ts";
import type { AwqScales } from "../../quant/make/calibrated/awq-scales.ts";
import type { AwqSearchJob, MakeJob, QuantizedJob, QuantizeJob } from "../../quant/make/job.ts";
import { receiveError, type SentError } from "../../workers/messages.ts";

/** What a worker answers. */
type Answer = { readonly result: QuantizedJob | AwqScales } | { readonly error: SentError };

/** Threads that quantise, one job each at a time. */
export class QuantizeCrew {
  readonly #idle: Worker[] = [];
  readonly #all: Worker[] = [];
  readonly #waiting: ((worker: Worker) => void)[] = [];

  constructor(size: number) {
    for (let i = 0; i < size; i++) {
      // Beside this module, in the bundle of the command line too.
      const worker = new Worker(new URL("./quantize-worker.js", import.meta.url));
      this.#all.push(worker);
      this.#idle.push(worker);
    }
  }

  /** Does a job. What it holds in memory goes to the worker. Errors are those of the job; `IO` if the worker dies. */
  run(job: QuantizeJob): Promise<QuantizedJob>;
  run(job: AwqSearchJob): Promise<AwqScales>;
  async run(job: MakeJob): Promise<QuantizedJob | AwqScales> {
    const worker = this.#idle.pop() ?? (await new Promise<Worker>((resolve) => this.#waiting.push(resolve)));
    try {
      return await answerOf(worker, job);
    } finally {
      const next = this.#waiting.shift();
      if (next) next(worker);
      else this.#idle.push(worker);
    }
  }

  /** Ends the threads. */
  async close(): Promise<void> {
    await Promise.all(this.#all.map((worker) => worker.terminate()));
  }
}

function answerOf(worker: Worker, job: MakeJob): Promise<QuantizedJob | AwqScales> {
  return new Promise((resolve, reject) => {
    const died = (reason: unknown): void => {
      settle();
      const text = reason instanceof Error ? reason.message : `it ended with code ${reason}`;
      reject(new SafetensorsError("IO", `a thread that quantises has died: ${text}`, { cause: reason }));
    };
    const answered = (answer: Answer): void => {
      settle();
      if ("error" in answer) reject(receiveError(answer.error));
      else resolve(answer.result);
    };
    const settle = (): void => {
      worker.off("message", answered).off("error", died).off("exit", died);
    };
    worker.on("message", answered).on("error", died).on("exit", died);
    const memory = job.kind === "quantize" ? [job.values] : job.weights;
    worker.postMessage(
      job,
      memory.map(({ buffer }) => buffer as ArrayBuffer),
    );
  });
}
