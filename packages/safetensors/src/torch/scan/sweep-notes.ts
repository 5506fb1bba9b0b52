import { MAX_NESTED_LITERALS } from "../limits.ts";
import type { Steps } from "../steps.ts";
import { type BytesPlace, type Oddity, type SweepResult, type SweepVisitor, sweepPickle } from "./sweep.ts";

/** A place in a pickle. */
export type Literal = readonly [start: number, end: number, isText: boolean];

/** Indices that are noted; where a pickle has more, all of its memo is kept. */
const MAX_RECALLED = 2 ** 20;

/** What a sweep over a pickle shows before it is carried out. */
export class SweepNotes implements SweepVisitor {
  #ended: SweepResult | undefined;
  readonly oddities: (readonly [oddity: Oddity, at: number])[] = [];
  readonly #recalled = new Set<number>();
  /** Literals that begin as what can be loaded; texts whose characters stand for such bytes (`_codecs.encode`). */
  readonly literals: Literal[] = [];
  readonly #bytes: Uint8Array;

  private constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  static *take(bytes: Uint8Array, start: number, passed: readonly BytesPlace[] = []): Steps<SweepNotes> {
    const notes = new SweepNotes(bytes);
    notes.#ended = yield* sweepPickle(bytes, start, notes, passed);
    return notes;
  }

  get ended(): SweepResult {
    return this.#ended!;
  }

  /** Indices of the memo that the pickle asks for; nothing if there are too many. */
  get recalled(): ReadonlySet<number> | undefined {
    return this.#recalled.size < MAX_RECALLED ? this.#recalled : undefined;
  }

  oddity(oddity: Oddity, at: number): void {
    this.oddities.push([oddity, at]);
  }

  recall(index: number): void {
    if (this.#recalled.size < MAX_RECALLED) this.#recalled.add(index);
  }

  literal(start: number, end: number, isText: boolean): void {
    const bytes = this.#bytes;
    // In UTF-8 the character 0x80 has two bytes.
    const looksSo = isText
      ? bytes[start] === 0xc2 && bytes[start + 1] === 0x80 && isProtocol(bytes[start + 2]) && end - start > 2
      : looksLoadable(bytes, start, end);
    if (looksSo && this.literals.length <= MAX_NESTED_LITERALS) this.literals.push([start, end, isText]);
  }
}

/** Whether bytes begin like a pickle of protocol 2 to 5, or like a ZIP archive. */
export function looksLoadable(bytes: Uint8Array, start = 0, end: number = bytes.length): boolean {
  if (bytes[start] === 0x80) return end - start > 1 && isProtocol(bytes[start + 1]);
  const isZip =
    bytes[start] === 0x50 &&
    bytes[start + 1] === 0x4b &&
    bytes[start + 2] === 0x03 &&
    bytes[start + 3] === 0x04;
  return isZip && end - start > 3;
}

/** Whether bytes begin like an array of NumPy, which may hold a pickle: it loads any member of a ZIP archive so. */
export function looksLikeNpy(bytes: Uint8Array, start = 0, end: number = bytes.length): boolean {
  // Asked for each member of an archive, so most answers come from the first byte.
  return (
    bytes[start] === NPY[0] &&
    end - start >= NPY.length &&
    NPY.every((byte, index) => bytes[start + index] === byte)
  );
}

const NPY = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];

function isProtocol(version: number | undefined): boolean {
  return version !== undefined && version >= 2 && version <= 5;
}
