import { Worker } from "node:worker_threads";
import { SafetensorsError } from "../../errors.ts";
import type { AwqScales } from "../../quant/make/calibrated/awq-scales.ts";
import type { AwqSearchJob, MakeJob, QuantizedJob, QuantizeJob } from "../../quant/make/job.ts";
import { receiveError, type SentError } from "../../workers/messages.ts";

/** What a worker answers. */
type Answer = { readonly result: QuantizedJob | AwqScales } | { readonly error: SentError };

/** Threads that quantise, one job each at a time: as many as there are jobs at the same time. */
export class QuantizeCrew {
  readonly #idle: Worker[] = [];
  readonly #all: Worker[] = [];
  readonly #isHere: boolean;
  readonly #signal: AbortSignal | undefined;

  /** @param isHere whether there are no other threads: jobs are done by the one that calls */
  constructor(isHere: boolean, signal?: AbortSignal) {
    this.#isHere = isHere;
    this.#signal = signal;
  }

  /**
   * Does a job. What it holds in memory goes to the worker. An abort does not wait for it.
   *
   * @throws errors of the job; `IO` if the worker dies
   */
  run(job: QuantizeJob): Promise<QuantizedJob>;
  run(job: AwqSearchJob): Promise<AwqScales>;
  async run(job: MakeJob): Promise<QuantizedJob | AwqScales> {
    this.#signal?.throwIfAborted();
    if (this.#isHere) return (await import("../../quant/make/job.ts")).runMakeJob(job);
    const worker = this.#idle.pop() ?? this.#start();
    const answer = await answerOf(worker, job, this.#signal);
    this.#idle.push(worker);
    if ("error" in answer) throw receiveError(answer.error);
    return answer.result;
  }

  /** Ends the threads, whatever they are doing. */
  async close(): Promise<void> {
    await Promise.all(this.#all.map((worker) => worker.terminate()));
  }

  #start(): Worker {
    // Beside this module, in the bundle of the command line too.
    const worker = new Worker(new URL("./quantize-worker.js", import.meta.url));
    this.#all.push(worker);
    return worker;
  }
}

function answerOf(worker: Worker, job: MakeJob, signal: AbortSignal | undefined): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const died = (reason: unknown): void => {
      settle();
      const text = reason instanceof Error ? reason.message : `it ended with code ${reason}`;
      reject(new SafetensorsError("IO", `a thread that quantises has died: ${text}`, { cause: reason }));
    };
    const answered = (answer: Answer): void => {
      settle();
      resolve(answer);
    };
    const aborted = (): void => {
      settle();
      reject(signal?.reason);
    };
    const settle = (): void => {
      worker.off("message", answered).off("error", died).off("exit", died);
      signal?.removeEventListener("abort", aborted);
    };
    worker.on("message", answered).on("error", died).on("exit", died);
    signal?.addEventListener("abort", aborted);
    worker.postMessage(
      job,
      memoryOf(job).map(({ buffer }) => buffer as ArrayBuffer),
    );
  });
}

function memoryOf(job: MakeJob): Float32Array[] {
  if (job.kind === "awq-search") return [...job.weights, job.xtx];
  const xtx = job.calibration?.xtx;
  return xtx ? [job.values, xtx] : [job.values];
}
