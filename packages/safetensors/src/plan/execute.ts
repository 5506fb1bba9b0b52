import { quote, SafetensorsError } from "../errors.ts";
import { readInto } from "../source/read-into.ts";
import type { ReadOptions } from "../source/source.ts";
import { byteLength } from "../view/view.ts";
import { BufferPool } from "./buffer-pool.ts";
import { type Concurrency, fixedConcurrency, TunedConcurrency } from "./concurrency.ts";
import { copyTransfer } from "./copy.ts";
import type { PlannedRead, ReadPlan } from "./plan.ts";

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
  /** Most bytes held at once: of tensors that are not yet handed out and of reads under way. */
  readonly budget?: number | undefined;
  /** Reads in flight; without it what the source says, else tuned by throughput. */
  readonly concurrency?: number | undefined;
  /** Memory to fill for a tensor, of exactly its size; without it new memory is taken. */
  readonly targetOf?: ((tensor: number) => Uint8Array | undefined) | undefined;
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

/** From this time for one operation on, in seconds, a source counts as remote, and its concurrency is tuned. */
const REMOTE_OPERATION = 5e-3;

/**
 * Runs a plan and hands out each tensor when it is complete. Nothing is read ahead beyond the budget while the caller
 * is busy with a tensor. When the caller stops, or anything fails, reads under way are ended before this returns.
 *
 * @throws errors of the source, with the tensor that was being read; `LIMIT_EXCEEDED` if the budget is too small
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
  readonly #budget: number;
  readonly #pool: BufferPool;
  readonly #stopper = new AbortController();
  readonly #signal: AbortSignal;
  readonly #inFlight = new Set<Promise<void>>();
  /** Tensors that have been begun: their memory, and how many units they still wait for. */
  readonly #open = new Map<number, { readonly bytes: Uint8Array; waiting: number }>();
  readonly #ready: DeliveredTensor[] = [];
  /** Bytes of tensors and of reads under way that count against the budget. */
  #held = 0;
  #failure: { readonly error: unknown } | undefined;
  #progress: Progress;

  constructor(plan: ReadPlan, options: ExecuteOptions) {
    this.#plan = plan;
    this.#options = options;
    this.#budget = options.budget ?? DEFAULT_BUDGET;
    this.#pool = new BufferPool(this.#budget / 4);
    this.#signal = options.signal
      ? AbortSignal.any([this.#stopper.signal, options.signal])
      : this.#stopper.signal;
    const totalBytes = plan.summary.bytesRead;
    this.#progress = { bytes: 0, totalBytes, tensors: 0, totalTensors: plan.views.length };
  }

  async *tensors(): AsyncGenerator<DeliveredTensor, void, undefined> {
    // Tensors without elements wait for nothing.
    for (const [tensor, units] of this.#plan.unitsOf.entries()) {
      if (units === 0) this.#deliver(tensor, this.#options.targetOf?.(tensor) ?? new Uint8Array(0));
    }
    const reads = this.#plan.reads();
    let next = reads.next();
    const concurrency = this.#concurrencyFor(next.value || undefined);
    for (;;) {
      while (!next.done && this.#inFlight.size < concurrency.limit && this.#fits(next.value)) {
        this.#start(next.value, concurrency);
        next = reads.next();
      }
      if (this.#failure) throw this.#failure.error;
      const tensor = this.#ready.shift();
      if (tensor) {
        yield tensor;
        this.#release(tensor);
      } else if (this.#inFlight.size > 0) {
        await Promise.race(this.#inFlight);
      } else if (next.done) {
        return;
      } else {
        throw this.#tooSmall(next.value);
      }
    }
  }

  /** Ends the reads under way, so that nothing writes into anyone's memory afterwards. */
  async stop(): Promise<void> {
    this.#stopper.abort(new SafetensorsError("CLOSED", "reading has been given up"));
    await Promise.allSettled(this.#inFlight);
  }

  #concurrencyFor(read: PlannedRead | undefined): Concurrency {
    const { concurrency } = this.#options;
    if (concurrency !== undefined) return fixedConcurrency(concurrency);
    const isRemote = (read?.units.source.cost?.operation ?? 0) >= REMOTE_OPERATION;
    return isRemote ? new TunedConcurrency() : fixedConcurrency(LOCAL_CONCURRENCY);
  }

  /** Whether the budget has room for the memory of a read and for the tensors that it begins. */
  #fits(read: PlannedRead): boolean {
    return this.#held + this.#scratchBytes(read) + this.#newTensorBytes(read) <= this.#budget;
  }

  #tooSmall(read: PlannedRead): SafetensorsError {
    const needed = this.#held + this.#scratchBytes(read) + this.#newTensorBytes(read);
    const text = `a budget of ${this.#budget} bytes is too small, ${needed} are needed at once`;
    return new SafetensorsError("LIMIT_EXCEEDED", `${text}; raise it, or read large tensors in chunks`, {
      limit: "budget",
    });
  }

  /** Bytes that a read needs beside the tensors' own memory. */
  #scratchBytes(read: PlannedRead): number {
    return read.units.source.view || isDirect(read) ? 0 : read.length;
  }

  #newTensorBytes({ units, firstUnit, endUnit }: PlannedRead): number {
    const begun = new Set<number>();
    let bytes = 0;
    for (let place = firstUnit; place < endUnit; place++) {
      const { tensor } = units.transfer(place);
      if (this.#open.has(tensor) || begun.has(tensor) || this.#options.targetOf?.(tensor)) continue;
      begun.add(tensor);
      bytes += byteLength(this.#plan.views[tensor]!);
    }
    return bytes;
  }

  #start(read: PlannedRead, concurrency: Concurrency): void {
    this.#held += this.#newTensorBytes(read) + this.#scratchBytes(read);
    for (let place = read.firstUnit; place < read.endUnit; place++)
      this.#begin(read.units.transfer(place).tensor);
    const wait = this.#read(read, concurrency);
    this.#inFlight.add(wait);
    void wait.finally(() => this.#inFlight.delete(wait));
  }

  #begin(tensor: number): void {
    if (this.#open.has(tensor)) return;
    const size = byteLength(this.#plan.views[tensor]!);
    const bytes = this.#options.targetOf?.(tensor) ?? this.#pool.take(size).subarray(0, size);
    this.#open.set(tensor, { bytes, waiting: this.#plan.unitsOf[tensor]! });
  }

  /** Never rejects: a failure is kept for the loop to find. */
  async #read(read: PlannedRead, concurrency: Concurrency): Promise<void> {
    try {
      await this.#fetch(read);
      this.#advance({ bytes: this.#progress.bytes + read.length });
      for (let place = read.firstUnit; place < read.endUnit; place++) {
        this.#arrived(read.units.transfer(place).tensor);
      }
      concurrency.ended(read.length, performance.now());
    } catch (error) {
      this.#failure ??= { error: this.#explain(error, read) };
    } finally {
      this.#held -= this.#scratchBytes(read);
    }
  }

  async #fetch(read: PlannedRead): Promise<void> {
    const { units, offset, length } = read;
    const { source } = units;
    const signal = this.#signal;
    signal.throwIfAborted();
    if (source.view) return this.#scatter(read, source.view(offset, length), 0);
    if (isDirect(read)) {
      const start = units.targetAt(read.firstUnit) / 8;
      const { bytes } = this.#open.get(units.transfer(read.firstUnit).tensor)!;
      return readInto(source, offset, bytes.subarray(start, start + length), { signal });
    }
    // Kept at the same place within eight bytes as in the source, so that aligned elements stay aligned.
    const lead = offset % 8;
    const scratch = this.#pool.take(lead + length);
    await readInto(source, offset, scratch.subarray(lead, lead + length), { signal });
    this.#scatter(read, scratch, lead);
    this.#pool.give(scratch);
  }

  /** Moves what a read brought to where it belongs. */
  #scatter({ units, firstUnit, endUnit, offset }: PlannedRead, bytes: Uint8Array, lead: number): void {
    for (let place = firstUnit; place < endUnit; place++) {
      const transfer = units.transfer(place);
      const target = this.#open.get(transfer.tensor)!.bytes;
      const at = units.sourceAt(place) - (offset - lead) * 8;
      copyTransfer(bytes, at, target, units.targetAt(place), transfer);
    }
  }

  #arrived(tensor: number): void {
    const entry = this.#open.get(tensor)!;
    entry.waiting--;
    if (entry.waiting > 0) return;
    this.#open.delete(tensor);
    this.#deliver(tensor, entry.bytes);
  }

  #deliver(tensor: number, bytes: Uint8Array): void {
    this.#ready.push({ tensor, bytes });
    this.#advance({ tensors: this.#progress.tensors + 1 });
  }

  /** The caller is done with a tensor, or has made it its own. */
  #release({ tensor, bytes }: DeliveredTensor): void {
    if (this.#options.targetOf?.(tensor)) return;
    this.#held -= bytes.length;
    if (this.#options.borrowed && bytes.length > 0) this.#pool.give(new Uint8Array(bytes.buffer));
  }

  #advance(change: Partial<Progress>): void {
    this.#progress = { ...this.#progress, ...change };
    this.#options.onProgress?.(this.#progress);
  }

  /** Names the first tensor that the failed read was for. */
  #explain(error: unknown, { units, firstUnit, offset, length }: PlannedRead): unknown {
    if (!(error instanceof SafetensorsError) || error.details.tensor !== undefined) return error;
    const tensor = this.#options.nameOf?.(units.transfer(firstUnit).tensor);
    if (tensor === undefined) return error;
    const text = `${error.reason} (reading tensor ${quote(tensor)}, bytes ${offset} to ${offset + length})`;
    return new SafetensorsError(error.code, text, { at: offset, ...error.details, tensor, cause: error });
  }
}

/** Whether a read brings just one unit, whole bytes in the order in which they are wanted: it needs no other memory. */
function isDirect({ units, firstUnit, endUnit, length }: PlannedRead): boolean {
  if (endUnit - firstUnit !== 1) return false;
  const { axes, bits } = units.transfer(firstUnit);
  const [axis] = axes;
  const inOrder = !axis || (axes.length === 1 && axis.source === bits && axis.target === bits);
  return inOrder && units.targetAt(firstUnit) % 8 === 0 && units.span(firstUnit) === length * 8;
}
