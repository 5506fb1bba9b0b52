import { MAX_PICKLE_BYTES } from "../../limits.ts";
import { type Steps, steadily } from "../steps.ts";
import type { Part, Scan } from "./part.ts";
import { PickleStart } from "./pickle-start.ts";
import { type PickleScan, scanPickle } from "./scan-pickle.ts";
import { sweepPickle } from "./sweep.ts";

/** Scans a pickle; nothing if a sweep shows that it goes on where the bytes end, and they are not the last. */
function* scanUnlessCut(
  bytes: Uint8Array,
  start: number,
  isLast: boolean,
  isData: boolean,
): Steps<PickleScan | undefined> {
  if (!isLast && (yield* sweepPickle(bytes, start)).why === "cut") return undefined;
  return yield* scanPickle(bytes, start, isData);
}

/** Reads grow until the pickle ends, so that little is read of what is none. */
const WINDOWS = [...[16, 18, 20, 22, 24, 26, 28].map((bits) => 2 ** bits), MAX_PICKLE_BYTES];

/** The first read of what is a pickle to its end. */
const WHOLE_WINDOW = 2 ** 22;

/** The first read where data goes on after the last window. */
const FIRST_LOOK = 4096;

/** The bytes of a part from some place on, as many as a pickle needs. */
export class PickleWindow {
  readonly #scan: Scan;
  readonly #part: Part;
  readonly #windows: readonly number[];
  readonly #isData: boolean;
  #bytes: Uint8Array = new Uint8Array(0);
  /** Place of the first byte of the window in the part. */
  offset = 0;

  /**
   * @param isWhole whether the part is known as one pickle: all of it is read at once unless it is large.
   * @param isData whether it may be no pickle at all, see `scanPickle`.
   */
  constructor(scan: Scan, part: Part, isWhole: boolean, isData: boolean) {
    this.#scan = scan;
    this.#part = part;
    this.#isData = isData;
    this.#windows = isWhole ? WINDOWS.filter((size) => size >= WHOLE_WINDOW) : WINDOWS;
  }

  /** Scans the pickle at a place of the part. Places in the result are those in the window. */
  async scan(at: number): Promise<PickleScan> {
    for (const size of this.#windows) {
      const result = await this.#scanOf(at, size);
      if (result) return result;
    }
    throw new Error("the last window is the largest");
  }

  /** Scans the pickle in a window; nothing if it needs a larger one. */
  async #scanOf(at: number, size: number): Promise<PickleScan | undefined> {
    await this.#fill(at, size);
    const isLast = this.#isWhole() || size === MAX_PICKLE_BYTES;
    const steps = scanUnlessCut(this.#bytes, at - this.offset, isLast, this.#isData);
    const result = await steadily(steps, this.#scan.options.signal);
    return isLast || !result?.wantsMore ? result : undefined;
  }

  /** Whether the part begins there as pickles of protocol 2 to 5 do. */
  begins(at: number): boolean {
    const place = at - this.offset;
    return this.#bytes[place] === 0x80 && this.#bytes[place + 1]! >= 2 && this.#bytes[place + 1]! <= 5;
  }

  /** Whether the pickle goes on where reading had to end. */
  isCut({ ended }: PickleScan): boolean {
    return ended === "cut" && !this.#isWhole();
  }

  /** Whether data goes on as a pickle where reading had to end, so that nobody knows what it does there. */
  async goesOn(at: number, result: PickleScan): Promise<boolean> {
    if (!this.isCut(result)) return false;
    const size = this.#part.source.size - at;
    const start = new PickleStart(size);
    let found = start.read(this.#from(at), 0);
    for (let length = FIRST_LOOK; typeof found === "number"; length *= 4) {
      const wanted = Math.min(length, size - found);
      if (!this.#scan.spend(this.#part, wanted)) return true;
      found = start.read(await this.#scan.read(this.#part, at + found, wanted), found);
    }
    return found !== "harmless";
  }

  /** Whether data can do nothing as a pickle, by what was read of it. */
  isHarmless(at: number): boolean {
    return new PickleStart(this.#part.source.size - at).read(this.#from(at), 0) === "harmless";
  }

  #from(at: number): Uint8Array {
    return this.#bytes.subarray(at - this.offset);
  }

  #isWhole(): boolean {
    return this.offset + this.#bytes.length >= this.#part.source.size;
  }

  /** Has at least one byte from `at` on; reads `size` unless the window has some. */
  async #fill(at: number, size: number): Promise<void> {
    const there = this.offset + this.#bytes.length - at;
    const isInside = at >= this.offset && this.#bytes.length > 0;
    if (isInside && (this.#isWhole() || (there > 0 && size === this.#windows[0]) || there >= size)) return;
    this.#bytes = await this.#scan.read(this.#part, at, Math.min(size, this.#part.source.size - at));
    this.offset = at;
  }
}
