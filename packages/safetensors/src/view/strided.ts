import { DTYPES } from "../dtype/dtype.ts";
import { readInto } from "../source/read-into.ts";
import type { ByteSource, ReadOptions } from "../source/source.ts";
import { type Block, narrow, spanOf } from "./block.ts";
import { copyBlock } from "./copy.ts";
import { byteLength, contiguousStrides, type StridedView } from "./view.ts";

/** Bytes read at once for elements that do not lie side by side. */
const SPAN_BYTES = 4 << 20;

/** A gap of more bytes than this is skipped by another read: a read costs about as much as copying so many bytes. */
const GAP_BYTES = 16 << 10;

/**
 * Bytes of output made at once by `stridedChunks`. Each block of output may have to read a little of every row, so
 * that small blocks would read very many small pieces.
 */
const BLOCK_BYTES = 32 << 20;

/** Reads the elements of a strided view, packed in row-major order. */
export async function readStrided(view: StridedView, options?: ReadOptions): Promise<Uint8Array> {
  const { source, dtype, shape, strides, bitOffset } = view;
  const target = new Uint8Array(byteLength(view));
  if (target.length === 0) return target;
  const reader = new StridedReader(source, DTYPES[dtype].bits, bitOffset, target, options);
  await reader.read({ shape, strides, offset: 0 }, { shape, strides: contiguousStrides(shape), offset: 0 });
  return target;
}

/** The same in pieces of at most `most` bytes, made from blocks of at most `BLOCK_BYTES`. */
export async function* stridedChunks(
  view: StridedView,
  most: number,
  options?: ReadOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  for (const part of splitForOutput(view)) {
    const block = await readStrided(part, options);
    for (let at = 0; at < block.length; at += most) yield block.subarray(at, at + most);
  }
}

/** Cuts a view along its leading axes into views of at most `BLOCK_BYTES`, in output order. */
function* splitForOutput(view: StridedView): Generator<StridedView, void, undefined> {
  const { bits } = DTYPES[view.dtype];
  // Pieces of elements below a byte would not start on whole bytes.
  if (byteLength(view) <= BLOCK_BYTES || bits < 8) return yield view;
  const axis = view.shape.findIndex((size) => size > 1);
  const rest = byteLength(view) / view.shape[axis]!;
  const step = Math.max(1, Math.floor(BLOCK_BYTES / rest));
  for (let start = 0; start < view.shape[axis]!; start += step) {
    const count = Math.min(step, view.shape[axis]! - start);
    const part = narrow({ ...view, offset: 0 }, axis, start, count);
    yield* splitForOutput({ ...view, shape: part.shape, bitOffset: view.bitOffset + part.offset * bits });
  }
}

/**
 * Reads a block whose elements do not lie in order: span by span into scratch memory, and from there to their places.
 * A block that spans too much is cut along the axis that goes furthest in the source.
 */
class StridedReader {
  readonly #source: ByteSource;
  readonly #bits: number;
  readonly #bitOffset: number;
  readonly #target: Uint8Array;
  readonly #options: ReadOptions | undefined;
  #scratch = new Uint8Array(0);

  constructor(
    source: ByteSource,
    bits: number,
    bitOffset: number,
    target: Uint8Array,
    options: ReadOptions | undefined,
  ) {
    this.#source = source;
    this.#bits = bits;
    this.#bitOffset = bitOffset;
    this.#target = target;
    this.#options = options;
  }

  async read(block: Block, output: Block): Promise<void> {
    const parts = this.#parts(block);
    if (!parts) return this.#readSpan(block, output);
    for (let start = 0; start < block.shape[parts.axis]!; start += parts.step) {
      const count = Math.min(parts.step, block.shape[parts.axis]! - start);
      await this.read(narrow(block, parts.axis, start, count), narrow(output, parts.axis, start, count));
    }
  }

  /** How to cut the block, or nothing if its span can be read at once. */
  #parts(block: Block): { axis: number; step: number } | undefined {
    const { shape, strides } = block;
    let axis = -1;
    for (let i = 0; i < shape.length; i++) {
      if (shape[i]! > 1 && strides[i] !== 0 && (axis < 0 || Math.abs(strides[i]!) > Math.abs(strides[axis]!)))
        axis = i;
    }
    if (axis < 0) return undefined;
    const stride = (Math.abs(strides[axis]!) * this.#bits) / 8;
    const inner = (spanOf(narrow(block, axis, 0, 1)).length * this.#bits) / 8;
    if (stride - inner > GAP_BYTES) return { axis, step: 1 };
    const step = Math.max(1, Math.floor((SPAN_BYTES - inner) / stride) + 1);
    return step < shape[axis]! ? { axis, step } : undefined;
  }

  async #readSpan(block: Block, output: Block): Promise<void> {
    const { first, length } = spanOf(block);
    const startBit = this.#bitOffset + first * this.#bits;
    const startByte = Math.floor(startBit / 8);
    const bytes = Math.ceil((startBit + length * this.#bits) / 8) - startByte;
    const span = await this.#load(startByte, bytes);
    copyBlock(
      span,
      { ...block, offset: block.offset - first },
      this.#target,
      output,
      this.#bits,
      startBit % 8,
    );
  }

  async #load(start: number, bytes: number): Promise<Uint8Array> {
    this.#options?.signal?.throwIfAborted();
    if (this.#source.view) return this.#source.view(start, bytes);
    if (this.#scratch.length < bytes) this.#scratch = new Uint8Array(bytes);
    const span = this.#scratch.subarray(0, bytes);
    await readInto(this.#source, start, span, this.#options);
    return span;
  }
}
