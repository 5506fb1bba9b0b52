import { SafetensorsError } from "../errors.ts";
import type { ReadOptions } from "../source/source.ts";
import { BufferPool } from "./buffer-pool.ts";
import { type Concurrency, fixedConcurrency, TunedConcurrency } from "./concurrency.ts";
import { isRemote } from "./cost.ts";
import { explainFailure } from "./failure.ts";
import { fetchRead } from "./fetch.ts";
import type { PlannedRead } from "./merge.ts";
import { type MemoryOptions, OpenTensors } from "./open-tensors.ts";
import { needsBuffer, type ReadPlan } from "./plan.ts";

/** How far the execution of a plan has come. */
export interface Progress {
  /** Bytes read so far, and to be read in all (gaps included). */
  readonly bytes: number;
  readonly totalBytes: number;
  /** Tensors that are complete, and to be read in all. */
  readonly tensors: number;
  readonly totalTensors: number;
}

/** Options of `executePlan`. */
export interface ExecuteOptions extends ReadOptions, MemoryOptions {
  /**
   * Most bytes held at once: of tensors from their first read until the caller asks for the next one, of reads under
   * way, and of buffers kept for later. Without it 256 MiB, or what the plan needs if it reads that much.
   */
  readonly budget?: number | undefined;
  /** Memory to work in, with its budget: for several runs one after the other. */
  readonly pool?: BufferPool | undefined;
  /** Reads in flight; without it four for files and the like, tuned by throughput for servers. */
  readonly concurrency?: number | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/** A tensor that is complete: its number in the plan, and its packed bytes. */
export interface DeliveredTensor {
  readonly tensor: number;
  readonly bytes: Uint8Array;
}

const DEFAULT_BUDGET = 256 << 20;

/** Reads in flight for sources on this machine: as many as Node has threads for file work. */
const LOCAL_CONCURRENCY = 4;

/**
 * Runs a plan and hands out each tensor when it is complete. While the caller is busy with one, others are read ahead
 * as far as the budget allows. When the caller stops or anything fails, reads under way are ended before this returns.
 *
 * @throws errors of the sources, with the tensor that was being read; the signal's reason; `LIMIT_EXCEEDED` if the
 *   budget is too small, before anything is read; `SIZE_MISMATCH` for memory of another size than the tensor's
 */
export async function* executePlan(
  plan: ReadPlan,
  options: ExecuteOptions = {},
): AsyncGenerator<DeliveredTensor, void, undefined> {
  const run = new PlanRun(plan, options);
  try {
    yield* run.tensors();
  } finally {
    await run.stop();
  }
}

class PlanRun {
  readonly #plan: ReadPlan;
  readonly #options: ExecuteOptions;
  readonly #pool: BufferPool;
  readonly #open: OpenTensors;
  readonly #memoryOf = (tensor: number): Uint8Array => this.#open.memoryOf(tensor);
  readonly #concurrency: Concurrency;
  readonly #reads: Iterator<PlannedRead, void>;
  #next: PlannedRead | undefined;
  readonly #inFlight = new Set<Promise<void>>();
  /** Complete tensors: those that have come, and the oldest of them, last one first, which are handed out next. */
  #complete: DeliveredTensor[] = [];
  #handingOut: DeliveredTensor[] = [];
  /** Ends all reads: at the first failure, or when the caller wants no more. Its reason is what the caller gets. */
  readonly #stopper = new AbortController();
  readonly #forwardAbort = (): void => this.#stopper.abort(this.#options.signal?.reason);
  #wake = (): void => {};
  #progress = { bytes: 0, tensors: 0 };

  constructor(plan: ReadPlan, options: ExecuteOptions) {
    this.#plan = plan;
    this.#options = options;
    this.#pool = options.pool ?? new BufferPool(options.budget ?? defaultBudget(plan));
    this.#open = new OpenTensors(plan, this.#pool, options);
    this.#concurrency = concurrencyFor(plan, options);
    this.#reads = plan.reads();
  }

  async *tensors(): AsyncGenerator<DeliveredTensor, void, undefined> {
    this.#begin();
    for (;;) {
      this.#pump();
      this.#stopper.signal.throwIfAborted();
      const delivered = this.#nextComplete();
      if (delivered) {
        yield delivered;
        this.#open.takeBack(delivered.tensor, delivered.bytes);
      } else if (this.#inFlight.size > 0) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      } else if (this.#next) {
        // Only where others use the pool at the same time.
        throw tooSmall(this.#pool.budget, this.#pool.used + this.#bytesFor(this.#next));
      } else {
        return;
      }
    }
  }

  /** Ends the reads under way, so that nothing writes into anyone's memory afterwards. */
  async stop(): Promise<void> {
    this.#options.signal?.removeEventListener("abort", this.#forwardAbort);
    this.#stopper.abort(new SafetensorsError("CLOSED", "reading has been given up"));
    await Promise.all(this.#inFlight);
  }

  #begin(): void {
    const { signal, targetOf } = this.#options;
    signal?.throwIfAborted();
    signal?.addEventListener("abort", this.#forwardAbort);
    const { bufferBytes, peakMemory } = this.#plan.summary;
    const needed = targetOf ? bufferBytes : peakMemory;
    if (!this.#pool.fits(needed)) throw tooSmall(this.#pool.budget, needed);
    for (const [tensor, units] of this.#plan.unitsOf.entries()) {
      if (units > 0) continue;
      this.#open.begin(tensor);
      this.#deliver(tensor, this.#open.close(tensor));
    }
    this.#next = this.#reads.next().value ?? undefined;
  }

  /** Starts as many reads as may be in flight and as the budget has room for. */
  #pump(): void {
    while (this.#next && this.#inFlight.size < this.#concurrency.limit) {
      const read = this.#next;
      if (this.#stopper.signal.aborted || !this.#pool.fits(this.#bytesFor(read))) return;
      this.#next = this.#reads.next().value ?? undefined;
      const wait = this.#start(read);
      if (wait) {
        this.#inFlight.add(wait);
        void wait.then(() => {
          this.#inFlight.delete(wait);
          this.#pump();
          this.#wake();
        });
      } else if (this.#complete.length + this.#handingOut.length > 0) {
        // To read ahead of a source that does not wait gains nothing.
        return;
      }
    }
  }

  #bytesFor(read: PlannedRead): number {
    return this.#open.bytesToBegin(read.begins) + this.#bufferBytes(read);
  }

  #bufferBytes(read: PlannedRead): number {
    return needsBuffer(read) ? this.#plan.summary.bufferBytes : 0;
  }

  /** Makes a read; waits only if the source does. Never throws or rejects: a failure ends the run. */
  #start(read: PlannedRead): void | Promise<void> {
    try {
      for (const tensor of read.begins) this.#open.begin(tensor);
      const buffer = this.#takeBuffer(read);
      const wait = this.#fetch(read, buffer);
      if (!wait) return this.#finish(read, buffer);
      return wait
        .then(() => this.#finish(read, buffer))
        .catch((error: unknown) => this.#stopper.abort(error));
    } catch (error) {
      this.#stopper.abort(error);
    }
  }

  #fetch(read: PlannedRead, buffer: Uint8Array | undefined): void | Promise<void> {
    const explain = (error: unknown): never => {
      const tensor = read.units.tensor(read.firstUnit);
      throw explainFailure(error, read, this.#options.nameOf?.(tensor));
    };
    try {
      const wait = fetchRead(read, this.#memoryOf, buffer, this.#stopper.signal);
      return wait ? wait.catch(explain) : wait;
    } catch (error) {
      explain(error);
    }
  }

  #finish(read: PlannedRead, buffer: Uint8Array | undefined): void {
    if (buffer) this.#pool.give(buffer);
    else this.#pool.release(this.#bufferBytes(read));
    if (this.#stopper.signal.aborted) return;
    for (let place = read.firstUnit; place < read.endUnit; place++) {
      const tensor = read.units.tensor(place);
      const bytes = this.#open.arrived(tensor);
      if (bytes) this.#deliver(tensor, bytes);
    }
    this.#concurrency.ended(read.length);
    this.#progress.bytes += read.length;
    this.#options.onProgress?.({
      ...this.#progress,
      totalBytes: this.#plan.summary.bytesRead,
      totalTensors: this.#plan.views.length,
    });
  }

  /** A buffer for a read that needs one. A source that only returns memory brings its own, which counts as well. */
  #takeBuffer(read: PlannedRead): Uint8Array | undefined {
    const bytes = this.#bufferBytes(read);
    if (bytes > 0 && read.units.source.readInto) return this.#pool.take(bytes);
    this.#pool.reserve(bytes);
    return undefined;
  }

  #deliver(tensor: number, bytes: Uint8Array): void {
    this.#complete.push({ tensor, bytes });
    this.#progress.tensors++;
  }

  #nextComplete(): DeliveredTensor | undefined {
    if (this.#handingOut.length === 0) {
      this.#handingOut = this.#complete.reverse();
      this.#complete = [];
    }
    return this.#handingOut.pop();
  }
}

/** Strides of zero make little data into any amount: so much memory is only taken if the caller says so. */
function defaultBudget({ summary }: ReadPlan): number {
  return Math.max(DEFAULT_BUDGET, Math.min(summary.peakMemory, 2 * summary.bytesRead));
}

function concurrencyFor({ sources }: ReadPlan, { concurrency }: ExecuteOptions): Concurrency {
  // Whoever allows none would wait for ever.
  if (concurrency !== undefined) return fixedConcurrency(Math.max(concurrency || 1, 1));
  return sources.some(isRemote) ? new TunedConcurrency() : fixedConcurrency(LOCAL_CONCURRENCY);
}

function tooSmall(budget: number, needed: number): SafetensorsError {
  const text = `a budget of ${budget} bytes is too small, ${needed} are needed at once`;
  return new SafetensorsError("LIMIT_EXCEEDED", `${text}; raise it, or read large tensors in chunks`, {
    limit: "budget",
  });
}
