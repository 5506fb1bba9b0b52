import { SafetensorsError } from "../errors.ts";
import { readExactly } from "../source/read-into.ts";
import type { ReadOptions } from "../source/source.ts";
import { byteLength } from "../view/view.ts";
import { BufferPool } from "./buffer-pool.ts";
import { type Concurrency, fixedConcurrency, TunedConcurrency } from "./concurrency.ts";
import { copyTransfer } from "./copy.ts";
import { isRemote } from "./cost.ts";
import { explainFailure } from "./failure.ts";
import { needsBuffer, type PlannedRead, type ReadPlan } from "./plan.ts";

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
export interface ExecuteOptions extends ReadOptions {
  /**
   * Most bytes held at once: of tensors from their first byte until the next one is asked for, of reads under way and
   * of buffers kept for later. Without it 256 MiB, or what the plan needs if the files really are that large.
   */
  readonly budget?: number | undefined;
  /** Memory to work in, with its budget: for several runs one after the other. */
  readonly pool?: BufferPool | undefined;
  /** Reads in flight; without it four for files and the like, tuned by throughput for servers. */
  readonly concurrency?: number | undefined;
  /** Memory to fill for a tensor, of exactly its size, asked for once when its first read begins. It is not counted. */
  readonly targetOf?: ((tensor: number) => Uint8Array) | undefined;
  /** The memory of a tensor is taken back, and used again, when the next one is asked for. */
  readonly borrowed?: boolean | undefined;
  /** Name of a tensor, for errors. */
  readonly nameOf?: ((tensor: number) => string) | undefined;
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
  readonly #concurrency: Concurrency;
  /** Ends the run: by the caller's signal, the first failure, or because the caller stops. */
  readonly #stopper = new AbortController();
  readonly #forwardAbort = (): void => this.#stopper.abort(this.#options.signal?.reason);
  readonly #reads: Iterator<PlannedRead, void>;
  #next: PlannedRead | undefined;
  readonly #inFlight = new Set<Promise<void>>();
  /** Memory of the tensors that have been begun. */
  readonly #memory = new Map<number, Uint8Array>();
  /** Units that each tensor still waits for. */
  readonly #waiting: Uint32Array;
  /** Complete tensors: the newest first those that came before the caller asked, then in order those since. */
  #handingOut: DeliveredTensor[] = [];
  #arrived: DeliveredTensor[] = [];
  #wake: () => void = () => {};
  #bytes = 0;
  #tensors = 0;

  constructor(plan: ReadPlan, options: ExecuteOptions) {
    this.#plan = plan;
    this.#options = options;
    this.#pool = options.pool ?? new BufferPool(options.budget ?? defaultBudget(plan));
    this.#concurrency = concurrencyFor(plan, options);
    this.#reads = plan.reads();
    this.#waiting = plan.unitsOf.slice();
  }

  async *tensors(): AsyncGenerator<DeliveredTensor, void, undefined> {
    const { signal } = this.#options;
    if (signal?.aborted) this.#forwardAbort();
    signal?.addEventListener("abort", this.#forwardAbort);
    this.#begin();
    for (;;) {
      this.#pump();
      this.#stopper.signal.throwIfAborted();
      const tensor = this.#takeReady();
      if (tensor) {
        yield tensor;
        this.#takeBack(tensor.bytes);
      } else if (this.#inFlight.size > 0) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
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
}
