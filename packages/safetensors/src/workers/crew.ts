import type { LoadedTensor } from "../checkpoint/read-tensors.ts";
import type { ReadMode } from "../format/mode.ts";
import type { WantedTensor } from "./groups.ts";
import { WorkerLink } from "./link.ts";
import type { SentIndex, SentInput } from "./messages.ts";
import { type CallOptions, ReadCall, type Work } from "./read-call.ts";

/** Batches that a worker has: one that it reads, and one so that it need not wait for the next. */
const DEPTH = 2;

/** The workers of a pool, and the calls that they work for in turn. */
export class Crew {
  readonly #links: WorkerLink[] = [];
  readonly #calls: ReadCall[] = [];
  #nextCall = 0;
  /** Why it has ended. */
  #over: unknown;

  /** @throws `UNSUPPORTED`, see `startThread` */
  constructor(size: number, program: URL | undefined) {
    const events = { idle: () => this.#pump(), died: (error: unknown) => void this.end(error) };
    try {
      while (this.#links.length < size) this.#links.push(new WorkerLink(program, events));
    } catch (error) {
      void this.end(error);
      throw error;
    }
  }

  get size(): number {
    return this.#links.length;
  }

  /** Batches that all of them have together. */
  get slots(): number {
    return this.size * DEPTH;
  }

  /** Has each of them open the input; one tells what is in it. */
  async open(input: SentInput, mode: ReadMode | undefined): Promise<SentIndex> {
    const opening = this.#links.map((link, i) =>
      link.open({ kind: "open", input, mode, wantsIndex: i === 0 }),
    );
    const [index] = await Promise.all(opening);
    return index!;
  }

  /** Reads these tensors; the caller has asked `throwIfOver`. */
  async *read(
    wanted: readonly WantedTensor[],
    options: CallOptions,
  ): AsyncGenerator<LoadedTensor, void, undefined> {
    const id = this.#nextCall++;
    const call = new ReadCall(id, wanted, options, () => this.#pump());
    this.#calls.push(call);
    try {
      yield* call.tensors();
    } finally {
      this.#calls.splice(this.#calls.indexOf(call), 1);
      for (const link of this.#links) link.abort(id);
    }
  }

  throwIfOver(): void {
    if (this.#over !== undefined) throw this.#over;
  }

  /** Ends the workers; what is being read fails with this error. */
  async end(error: unknown): Promise<void> {
    this.#over ??= error;
    for (const call of this.#calls) call.fail(error);
    await Promise.all(this.#links.map((link) => link.stop(error)));
  }

  /** Gives work to the workers that have room, first to those that have least. */
  #pump(): void {
    for (let load = 0; load < DEPTH; load++) {
      for (const link of this.#links) {
        if (link.load !== load) continue;
        const work = this.#nextWork();
        if (!work) return;
        link.start(work);
      }
    }
  }

  /** Work of the call whose turn it is. */
  #nextWork(): Work | undefined {
    for (let asked = 0; asked < this.#calls.length; asked++) {
      const call = this.#calls.shift()!;
      this.#calls.push(call);
      const work = call.nextWork();
      if (work) return work;
    }
    return undefined;
  }
}
