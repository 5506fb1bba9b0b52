import { SafetensorsError } from "../errors.ts";
import { type FromWorker, receiveError, type SentIndex, sendJobs, type ToWorker } from "./messages.ts";
import type { Work } from "./read-call.ts";
import { startThread, type Thread } from "./thread.ts";

/** What is to be told of a worker. */
export interface LinkEvents {
  /** It has finished a batch. */
  readonly idle: () => void;
  /** It has ended by itself. */
  readonly died: (error: SafetensorsError) => void;
}

/** What waits for the worker to open its input. */
interface Opening {
  readonly resolve: (index: SentIndex | undefined) => void;
  readonly reject: (error: unknown) => void;
}

/** The pool's end of one worker: what it is doing, and whether it lives. It keeps the process alive while it works. */
export class WorkerLink {
  readonly #thread: Thread;
  readonly #events: LinkEvents;
  readonly #running = new Map<number, Work>();
  #nextBatch = 0;
  #opening: Opening | undefined;
  #isOver = false;

  constructor(program: URL | undefined, events: LinkEvents) {
    this.#events = events;
    this.#thread = startThread(program, {
      message: (message) => this.#receive(message),
      died: (reason) => this.#died(reason),
    });
  }

  /** Number of batches that it has. */
  get load(): number {
    return this.#running.size;
  }

  /** Has it open the input; resolves to the headers if these are wanted. */
  open(message: ToWorker & { readonly kind: "open" }): Promise<SentIndex | undefined> {
    return new Promise((resolve, reject) => {
      this.#opening = { resolve, reject };
      this.#thread.post(message);
    });
  }

  start(work: Work): void {
    const batch = this.#nextBatch++;
    const { call, form, memory, isNew } = work;
    try {
      this.#thread.post({ kind: "run", batch, call, form, memory, isNew, jobs: sendJobs(work.jobs) });
    } catch (error) {
      // What cannot be sent, for example an index with a method.
      return work.finish(error);
    }
    this.#running.set(batch, work);
    this.#thread.hold(true);
  }

  /** Ends what it does for a call, as far as it is waiting for data. */
  abort(call: number): void {
    const isAtIt = [...this.#running.values()].some((work) => work.call === call);
    if (isAtIt && !this.#isOver) this.#thread.post({ kind: "abort", call });
  }

  /** Ends the worker; if it has not opened its input yet, that fails with this error. */
  async stop(error: unknown): Promise<void> {
    this.#isOver = true;
    this.#opening?.reject(error);
    await this.#thread.stop();
  }

  #receive(message: FromWorker): void {
    if (this.#isOver) return;
    if (message.kind === "opened") this.#opening?.resolve(message.index);
    else if (message.kind === "done") this.#finish(message.batch);
    else if (message.batch !== undefined) this.#finish(message.batch, receiveError(message.error));
    else this.#opening?.reject(receiveError(message.error));
    if (this.#running.size === 0) this.#thread.hold(false);
    this.#events.idle();
  }

  #finish(batch: number, error?: Error): void {
    const work = this.#running.get(batch);
    this.#running.delete(batch);
    work?.finish(error);
  }

  #died(reason: string): void {
    if (this.#isOver) return;
    const error = new SafetensorsError(
      "IO",
      `a worker of the pool has died, which closes the pool: ${reason}`,
    );
    this.#events.died(error);
  }
}
