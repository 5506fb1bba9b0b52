import { DTYPE_ORDER, type Dtype } from "../dtype/dtype.ts";
import { SafetensorsError } from "../errors.ts";
import { MAX_HEADER_BYTES } from "../limits.ts";
import { type EntryScanner, HeaderScanner, readShapeAt } from "./header-scanner.ts";
import { checkLayout } from "./layout.ts";
import type { ReadMode } from "./mode.ts";
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

  constructor(scanner: HeaderScanner, order: Uint32Array) {
    this.byteLength = LENGTH_BYTES + scanner.table.json.length;
    this.metadata = scanner.metadata;
    this.problems = scanner.problems;
    this.#table = scanner.table;
    this.#order = order;
  }

  /** Number of tensors. */
  get size(): number {
    return this.#order.length;
  }

  /** The names, in the order of the data. */
  *names(): IterableIterator<string> {
    const { json, nameStart, nameEnd, plainNames } = this.#table;
    // Where a byte is a character, cutting one decoded text is 3 times faster than decoding each name (measured).
    const text = plainNames ? new TextDecoder().decode(json) : undefined;
    for (const number of this.#order) {
      yield text?.slice(nameStart[number], nameEnd[number]) ?? this.#table.name(number);
    }
  }

  /** What the header says of the tensor of that name. */
  find(name: string): TensorInfo | undefined {
    const number = this.#table.find(name);
    if (number < 0) return undefined;
    const { json, dtype, shapeAt, begin, end } = this.#table;
    return {
      name,
      dtype: DTYPE_ORDER[dtype[number]!]!,
      shape: readShapeAt(json, shapeAt[number]!),
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

/** Options of `parseHeader`. */
export interface ParseOptions {
  /** How strictly the header is read; `strict` unless said otherwise. */
  readonly mode?: ReadMode | undefined;
  /** `CanonicalScanner`, to read a header of thousands of tensors faster. */
  readonly Entries?: (new (table: TensorTable) => EntryScanner) | undefined;
}

/**
 * Reads and checks a header.
 *
 * @param json the header's JSON with its padding. It is kept, and must not change.
 * @param dataLength bytes in the file after the header.
 * @throws the first thing that is wrong, unless the mode is `lenient`.
 */
export function parseHeader(json: Uint8Array, dataLength: number, options: ParseOptions = {}): Header {
  const { mode = "strict", Entries } = options;
  const scanner = new HeaderScanner(json, mode, Entries);
  const isWhole = scanner.scan();
  let order = scanner.table.rows();
  scanner.attempt(() => {
    // Where the JSON breaks off, the offsets of what was read say nothing.
    order = checkLayout(scanner.table, dataLength, (error) => isWhole && scanner.report(error));
  });
  return new Header(scanner, order);
}
