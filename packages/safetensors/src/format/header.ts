import { DTYPE_ORDER, type Dtype } from "../dtype/dtype.ts";
import { SafetensorsError } from "../errors.ts";
import { MAX_HEADER_BYTES } from "../limits.ts";
import type { TensorTable } from "./tensor-table.ts";

/** Bytes before the header's JSON: its length, an unsigned 64-bit little-endian number. */
export const LENGTH_BYTES = 8;

/** What a header says of one tensor. */
export interface TensorInfo {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Begin and end in bytes, from the first byte after the header. */
  readonly dataOffsets: readonly [begin: number, end: number];
}

/** What a reader has found in the JSON of a header. */
interface HeaderParts {
  readonly table: TensorTable;
  /** Rows of the table in the order of the data. */
  readonly order: Uint32Array;
  readonly metadata: ReadonlyMap<string, string>;
  readonly problems?: readonly SafetensorsError[];
}

/** A header that has been read and checked. Names and shapes are decoded when they are asked for. */
export class Header {
  /** Bytes before the data: eight of length, and the JSON with its padding. */
  readonly byteLength: number;
  /** The `__metadata__` of the file. */
  readonly metadata: ReadonlyMap<string, string>;
  /** In lenient mode: everything that is wrong. */
  readonly problems: readonly SafetensorsError[];
  readonly #table: TensorTable;
  readonly #order: Uint32Array;

  constructor({ table, order, metadata, problems = [] }: HeaderParts) {
    this.byteLength = LENGTH_BYTES + table.json.length;
    this.metadata = metadata;
    this.problems = problems;
    this.#table = table;
    this.#order = order;
  }

  /** Number of tensors. */
  get size(): number {
    return this.#order.length;
  }

  /** The names, in the order of the data. */
  names(): string[] {
    const { json, nameStart, nameEnd, plainNames } = this.#table;
    const order = this.#order;
    const names = new Array<string>(order.length);
    // Where a byte is a character, cutting one decoded text is 3 times faster than decoding each name, and a list 3 times
    // faster than a generator (measured).
    const text = plainNames ? new TextDecoder().decode(json) : undefined;
    for (let at = 0; at < order.length; at++) {
      const row = order[at]!;
      names[at] = text?.slice(nameStart[row], nameEnd[row]) ?? this.#table.name(row);
    }
    return names;
  }

  /** What the header says of the tensor of that name. */
  find(name: string): TensorInfo | undefined {
    const number = this.#table.find(name);
    if (number < 0) return undefined;
    const { dtype, begin, end } = this.#table;
    return {
      name,
      dtype: DTYPE_ORDER[dtype[number]!]!,
      shape: this.#table.shape(number),
      dataOffsets: [begin[number]!, end[number]!],
    };
  }

  /** All tensors, in the order of the data. */
  *[Symbol.iterator](): IterableIterator<TensorInfo> {
    for (const name of this.names()) yield this.find(name)!;
  }
}

/**
 * Length of the header's JSON, from the first eight bytes of a file of `fileSize` bytes.
 *
 * @throws `HEADER_TOO_SMALL`, `HEADER_TOO_LARGE`, `INVALID_HEADER_LENGTH`
 */
export function readHeaderLength(prefix: Uint8Array, fileSize: number): number {
  if (fileSize < LENGTH_BYTES || prefix.length < LENGTH_BYTES) {
    throw new SafetensorsError(
      "HEADER_TOO_SMALL",
      `a file of ${fileSize} bytes has no room for the length of a header`,
    );
  }
  const words = new DataView(prefix.buffer, prefix.byteOffset, LENGTH_BYTES);
  const length = words.getUint32(0, true) + words.getUint32(4, true) * 2 ** 32;
  if (length > MAX_HEADER_BYTES) {
    const text = `a header of ${length} bytes is announced, at most ${MAX_HEADER_BYTES} are allowed`;
    throw new SafetensorsError("HEADER_TOO_LARGE", text, { limit: "MAX_HEADER_BYTES" });
  }
  if (length > fileSize - LENGTH_BYTES) {
    const text = `a header of ${length} bytes is announced, but only ${fileSize - LENGTH_BYTES} bytes follow`;
    throw new SafetensorsError("INVALID_HEADER_LENGTH", text);
  }
  return length;
}
