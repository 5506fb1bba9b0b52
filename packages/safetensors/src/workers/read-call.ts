import { LoadedTensor } from "../checkpoint/read-tensors.ts";
import type { Dtype } from "../dtype/dtype.ts";
import { SafetensorsError } from "../errors.ts";
import type { Progress } from "../plan/execute.ts";
import { type Group, type GroupOptions, groupsOf, type PlacedTensor, type WantedTensor } from "./groups.ts";
import { SharedMemory, type TakenMemory } from "./memory.ts";
import type { Job, TensorForm } from "./messages.ts";

/** A batch for a worker. */
export interface Work extends TakenMemory {
  /** Number of the call that it belongs to. */
  readonly call: number;
  readonly form: TensorForm;
  readonly jobs: readonly Job[];
  /** To be called when it has been read, or with what has gone wrong. Never throws. */
  readonly finish: (error?: unknown) => void;
}

/** What a call is to do. */
export interface CallOptions extends GroupOptions {
  readonly budget: number;
  /** Memory serves again as soon as more is asked for. */
  readonly borrowed: boolean;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: ((progress: Progress) => void) | undefined;
}

/** A group that has its memory. */
interface OpenGroup extends Group {
  readonly memory: SharedArrayBuffer;
  /** Batches that are not finished. */
  left: number;
}

/** One call of `read`: hands out work as far ahead as the budget allows, and the tensors in their order. */
export class ReadCall {
  readonly #id: number;
  readonly #options: CallOptions;
  readonly #pump: () => void;
  readonly #groups: Iterator<Group, void>;
  /** The next group to be opened. */
  #next: Group | undefined;
  /** Groups with tensors that have not been handed out, the oldest one first. */
  readonly #open: OpenGroup[] = [];
  /** Work that no worker has taken, the next one last. */
  #waiting: Work[] = [];
  readonly #memory: SharedMemory;
  #failure: { readonly error: unknown } | undefined;
  #wake = (): void => {};
  #progress: Progress;

  /** @param pump gives work to the workers that have room for it. */
  constructor(id: number, wanted: readonly WantedTensor[], options: CallOptions, pump: () => void) {
    this.#id = id;
    this.#options = options;
    this.#pump = pump;
    this.#memory = new SharedMemory(options.budget);
    this.#groups = groupsOf(wanted, options.budget, options);
    this.#next = this.#groups.next().value ?? undefined;
    const totalBytes = wanted.reduce((sum, { chosen }) => sum + chosen.byteLength, 0);
    this.#progress = { bytes: 0, totalBytes, tensors: 0, totalTensors: wanted.length };
  }

  /** The tensors, each when it is complete and all before it have been handed out. */
  async *tensors(): AsyncGenerator<LoadedTensor, void, undefined> {
    const { signal } = this.#options;
    const abort = (): void => this.fail(signal?.reason);
    signal?.throwIfAborted();
    signal?.addEventListener("abort", abort);
    try {
      for (;;) {
        this.#pump();
        this.#throwIfFailed();
        const group = this.#open[0];
        if (group?.left === 0) yield* this.#handOut(group);
        else if (group || this.#next) await new Promise<void>((resolve) => (this.#wake = resolve));
        else return;
      }
    } finally {
      signal?.removeEventListener("abort", abort);
      this.fail(new SafetensorsError("CLOSED", "reading has been given up"));
    }
  }

  /** The next batch for a worker, if there is one and the budget has room for it. */
  nextWork(): Work | undefined {
    if (this.#failure) return undefined;
    if (this.#waiting.length === 0) this.#openGroup();
    return this.#waiting.pop();
  }

  /** Ends the call; of several failures the first one counts. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#waiting = [];
    this.#wake();
  }

  #openGroup(): void {
    const group = this.#next;
    if (!group) return;
    let taken: TakenMemory | undefined;
    try {
      taken = this.#memory.take(group.size, group.scratch);
    } catch (error) {
      // More than the machine has or the engine allows.
      return this.fail(error);
    }
    if (!taken) return;
    const { memory, isNew } = taken;
    this.#next = this.#groups.next().value ?? undefined;
    const open: OpenGroup = { ...group, memory, left: group.batches.length };
    this.#open.push(open);
    const { form } = this.#options;
    this.#waiting = group.batches
      .map(({ jobs, bytes }) => {
        const finish = (error?: unknown): void => this.#finish(open, bytes, error);
        return { call: this.#id, form, memory, isNew, jobs, finish };
      })
      .reverse();
  }

  #finish(group: OpenGroup, bytes: number, error: unknown): void {
    if (error !== undefined) this.fail(error);
    if (this.#failure) return;
    group.left--;
    const isComplete = group.left === 0;
    if (isComplete) this.#memory.release(group.scratch);
    this.#progress = {
      ...this.#progress,
      bytes: this.#progress.bytes + bytes,
      tensors: this.#progress.tensors + (isComplete ? group.tensors.length : 0),
    };
    try {
      this.#options.onProgress?.(this.#progress);
    } catch (thrown) {
      this.fail(thrown);
    }
    this.#wake();
  }

  /** The memory of a group counts until more is asked for than its tensors. */
  *#handOut({ tensors, memory }: OpenGroup): Generator<LoadedTensor, void, undefined> {
    this.#open.shift();
    for (const tensor of tensors) {
      this.#throwIfFailed();
      yield this.#load(tensor, memory);
    }
    if (this.#options.borrowed) this.#memory.give(memory);
    else this.#memory.release(memory.byteLength);
  }

  #load({ wanted, at, length }: PlacedTensor, memory: SharedArrayBuffer): LoadedTensor {
    const { name, dtype, shape } = wanted.chosen;
    const bytes = new Uint8Array(memory, at, length);
    if (this.#options.form === "bytes") return new LoadedTensor<Dtype>(name, dtype, shape, bytes);
    return new LoadedTensor<Dtype>(name, "F32", dtype === "C64" ? [...shape, 2] : shape, bytes);
  }

  #throwIfFailed(): void {
    if (this.#failure) throw this.#failure.error;
  }
}
