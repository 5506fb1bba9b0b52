import { type FloatDtype, isFloatDtype } from "../dtype/cast.ts";
import { DTYPES } from "../dtype/dtype.ts";
import { SafetensorsError } from "../errors.ts";
import type { KernelCall } from "../quant/kernels/call.ts";
import { checkCall } from "../quant/kernels/check.ts";
import { sharedMemory } from "./memory.ts";
import {
  type CastMessage,
  type ComputeMessage,
  type FromWorker,
  receiveError,
  type SentBytes,
} from "./messages.ts";
import { PoolMemory } from "./pool-memory.ts";
import { inSharedMemory, shared } from "./shared-arrays.ts";
import { startThread, type Thread, workerCount } from "./thread.ts";

/** Calls of fewer values are done by one worker: sending takes about as long as the work. */
const PART_VALUES = 1 << 18;

/** Options of `openKernelPool`. */
export interface KernelPoolOptions {
  /** Number of workers; unless said otherwise one for each processor, 4 at most. */
  readonly workers?: number | undefined;
  /** Bytes that are set apart for `allocate`, less than 4 GiB; none unless given. They take room once they are used. */
  readonly memory?: number | undefined;
  /** Ends the pool; what it does fails with the reason. */
  readonly signal?: AbortSignal | undefined;
  /** See `PoolOptions`. */
  readonly program?: URL | undefined;
}

/** A part of a call that a worker does. */
interface Waiting {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

type Work = Omit<ComputeMessage, "batch"> | Omit<CastMessage, "batch">;

/** A worker, and what it is doing. */
interface Hand {
  readonly thread: Thread;
  readonly waiting: Map<number, Waiting>;
}

/**
 * Workers that do the work of kernel calls, each a part of every large one. They keep a process alive only while they
 * work. Close the pool when done (`await using` does).
 *
 * @throws `UNSUPPORTED` where there are no workers or no shared memory, as `openPool` does; `OUT_OF_RANGE` for a number of
 *   workers or an amount of memory that there cannot be; the signal's reason
 */
export function openKernelPool(options: KernelPoolOptions = {}): KernelPool {
  const { memory = 0, signal, program } = options;
  signal?.throwIfAborted();
  return new KernelPool(workerCount(options.workers), memory, program, signal);
}

/** See `openKernelPool`. */
export class KernelPool implements AsyncDisposable {
  readonly #hands: Hand[] = [];
  readonly #signal: AbortSignal | undefined;
  readonly #memory: PoolMemory | undefined;
  #nextBatch = 0;
  /** Who begins, so that small calls are shared out. */
  #nextHand = 0;
  /** Why it has ended. */
  #over: unknown;

  constructor(workers: number, memory: number, program: URL | undefined, signal: AbortSignal | undefined) {
    this.#signal = signal;
    this.#memory = PoolMemory.of(memory, workers);
    try {
      while (this.#hands.length < workers) this.#hands.push(this.#start(program));
    } catch (error) {
      void this.#end(error);
      throw error;
    }
    signal?.addEventListener("abort", this.#abort);
  }

  /**
   * The values of a call as packed floats of a dtype, in shared memory. Calls that are made one after the other need not
   * wait for each other, and are done in this order. Arrays of a large call that are not in shared memory are copied there
   * first.
   *
   * @param into shared memory of this size; new memory unless given
   * @throws `SIZE_MISMATCH` if the arrays have other sizes than the call says; as `castFloats`; `IO` if a worker dies;
   *   `CLOSED`; the signal's reason
   */
  async dense(call: KernelCall, dtype: FloatDtype, into?: Uint8Array): Promise<Uint8Array> {
    if (this.#over !== undefined) throw this.#over;
    const values = call.rows * call.columns;
    checkCall(call, values);
    const result = resultOf((values * floatBits(dtype)) / 8, into);
    const parts = this.#partsOf(values);
    const sent = parts > 1 ? inSharedMemory(call) : call;
    await this.#share(parts, (part) => ({
      kind: "compute",
      call: sent,
      dtype,
      result,
      part: { part, parts },
    }));
    return result;
  }

  /**
   * Shared memory that `cast` need not copy from or into, which makes it up to twice as fast: out of what `openKernelPool` was
   * told to set apart, and other shared memory when there is no more. It stays valid when the pool is closed.
   *
   * @throws `CLOSED`; the signal's reason
   */
  allocate(bytes: number): Uint8Array {
    if (this.#over !== undefined) throw this.#over;
    return this.#memory?.allocate(bytes) ?? new Uint8Array(sharedMemory(bytes));
  }

  /** Takes back memory from `allocate`, which others get then. Not to be called while `cast` or `dense` works on it. */
  release(memory: Uint8Array): void {
    this.#memory?.release(memory);
  }

  /**
   * What `castFloats` gives, in shared memory. Bytes that are not in shared memory are copied there first.
   *
   * @param into shared memory of the size of the result, none of which is `bytes`; new memory unless given
   * @throws as `dense`; `SIZE_MISMATCH` as `castFloats`
   */
  async cast(from: FloatDtype, to: FloatDtype, bytes: Uint8Array, into?: Uint8Array): Promise<Uint8Array> {
    if (this.#over !== undefined) throw this.#over;
    const [bits, bitsAfter] = [floatBits(from), floatBits(to)];
    const count = (bytes.length * 8) / bits;
    const size = (count * bitsAfter) / 8;
    if (!Number.isInteger(count) || !Number.isInteger(size)) {
      const text = `${bytes.length} bytes of ${from} are no whole elements, or no whole bytes as ${to}`;
      throw new SafetensorsError("SIZE_MISMATCH", text);
    }
    const result = resultOf(size, into);
    const parts = this.#partsOf(count);
    const send = (array: Uint8Array): SentBytes => this.#memory?.send(array) ?? array;
    const next = new Int32Array(new SharedArrayBuffer(4));
    const work = { kind: "cast", from, to, bytes: send(shared(bytes)), result: send(result), next } as const;
    await this.#share(parts, () => work);
    return result;
  }

  /** How many workers share so many values. */
  #partsOf(values: number): number {
    return Math.max(1, Math.min(this.#hands.length, Math.floor(values / PART_VALUES)));
  }

  async #share(parts: number, workOf: (part: number) => Work): Promise<void> {
    const first = this.#nextHand;
    this.#nextHand = (first + parts) % this.#hands.length;
    const working = Array.from({ length: parts }, (_, part) => {
      return this.#send(this.#hands[(first + part) % this.#hands.length]!, workOf(part));
    });
    // None of them works on the memory any more, even if one has failed.
    const failed = (await Promise.allSettled(working)).find(({ status }) => status === "rejected");
    if (failed) throw (failed as PromiseRejectedResult).reason;
  }

  /** Ends the workers; what they are doing fails, once they have stopped. */
  async close(): Promise<void> {
    await this.#end(new SafetensorsError("CLOSED", "the pool has been closed"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  readonly #abort = (): void => void this.#end(this.#signal?.reason);

  #start(program: URL | undefined): Hand {
    const waiting: Hand["waiting"] = new Map();
    const thread = startThread(program, {
      message: (message) => this.#receive({ thread, waiting }, message),
      died: (reason) => {
        const text = `a worker of the pool has died, which closes the pool: ${reason}`;
        void this.#end(new SafetensorsError("IO", text));
      },
    });
    thread.hold(false);
    if (this.#memory) thread.post({ kind: "memory", range: this.#memory.rangeOf(this.#hands.length) });
    return { thread, waiting };
  }

  #send(hand: Hand, work: Work): Promise<void> {
    return new Promise((resolve, reject) => {
      const batch = this.#nextBatch++;
      hand.thread.post({ batch, ...work });
      hand.waiting.set(batch, { resolve, reject });
      hand.thread.hold(true);
    });
  }

  #receive({ thread, waiting }: Hand, message: FromWorker): void {
    if (message.kind === "opened" || message.batch === undefined) return;
    const one = waiting.get(message.batch);
    waiting.delete(message.batch);
    if (waiting.size === 0) thread.hold(false);
    if (message.kind === "done") one?.resolve();
    else one?.reject(receiveError(message.error));
  }

  async #end(error: unknown): Promise<void> {
    this.#over ??= error;
    this.#signal?.removeEventListener("abort", this.#abort);
    // Before a call fails its memory is nobody's: whoever gave it may put it to another use then.
    await Promise.allSettled(this.#hands.map(({ thread }) => thread.stop()));
    for (const { waiting } of this.#hands) {
      for (const { reject } of waiting.values()) reject(this.#over);
      waiting.clear();
    }
  }
}

/**
 * The memory for a result.
 *
 * @throws `UNSUPPORTED`, `SIZE_MISMATCH` if the one that is given is not shared or not of that size
 */
function resultOf(size: number, into: Uint8Array = new Uint8Array(sharedMemory(size))): Uint8Array {
  if (!(into.buffer instanceof SharedArrayBuffer))
    throw new SafetensorsError("UNSUPPORTED", "workers write only into a SharedArrayBuffer");
  if (into.length === size) return into;
  throw new SafetensorsError("SIZE_MISMATCH", `there are ${into.length} bytes for a result of ${size}`);
}

function floatBits(dtype: FloatDtype): number {
  if (isFloatDtype(dtype)) return DTYPES[dtype].bits;
  throw new SafetensorsError("UNSUPPORTED", `${dtype as string} is no dtype of floats: it is not cast`);
}
