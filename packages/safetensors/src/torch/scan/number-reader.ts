import type { Part, Scan } from "./part.ts";

/** Numbers nearer to each other than this are read together. */
const WINDOW_BYTES = 1 << 16;

/** Numbers that stand between data: near ones share a read. */
export class NumberReader {
  readonly #scan: Scan;
  readonly #part: Part;
  #offset = 0;
  #view: DataView = new DataView(new ArrayBuffer(0));

  constructor(scan: Scan, part: Part) {
    this.#scan = scan;
    this.#part = part;
  }

  /** A number, exact where it is safe; nothing beyond the end of the part. */
  async int64(at: number): Promise<number | undefined> {
    return (await this.#has(at, 8)) ? Number(this.#view.getBigInt64(at - this.#offset, true)) : undefined;
  }

  async int32(at: number): Promise<number | undefined> {
    return (await this.#has(at, 4)) ? this.#view.getInt32(at - this.#offset, true) : undefined;
  }

  async #has(at: number, length: number): Promise<boolean> {
    const { size } = this.#part.source;
    if (at + length > size) return false;
    const windowEnd = this.#offset + this.#view.byteLength;
    if (at >= this.#offset && at + length <= windowEnd) return true;
    // Far from the last one: a large storage lies between, and the next one may be large too.
    const wanted = at - windowEnd < WINDOW_BYTES ? WINDOW_BYTES : length;
    const bytes = await this.#scan.read(this.#part, at, Math.min(wanted, size - at));
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#offset = at;
    return true;
  }
}
