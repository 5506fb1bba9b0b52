import { DTYPES } from "../dtype/dtype.ts";
import { readInto } from "../source/read-into.ts";
import type { ByteSource, ReadOptions } from "../source/source.ts";
import { range } from "../view/index-items.ts";
import { sliceView } from "../view/slice.ts";
import type { TensorView } from "../view/tiling.ts";
import { byteLength, isContiguous } from "../view/view.ts";
import { executePlan } from "./execute.ts";
import { planReads } from "./plan.ts";

/**
 * Bytes of output made at once from a tensor that does not lie in order. Each block of output may have to read a
 * little of every row, so that small blocks would read very many small pieces.
 */
const BLOCK_BYTES = 32 << 20;

/** The packed bytes of a tensor, in row-major order. See `TensorHandle.bytes` for who owns them. */
export async function readView(view: TensorView, options?: ReadOptions): Promise<Uint8Array> {
  const size = byteLength(view);
  if (size === 0) return new Uint8Array(0);
  const packed = packedPlace(view);
  if (!packed) {
    const target = new Uint8Array(size);
    await readViewInto(view, target, options);
    return target;
  }
  options?.signal?.throwIfAborted();
  const { source, start } = packed;
  return source.view ? source.view(start, size) : source.read(start, size, options);
}

/** Fills `target`, which has the tensor's size, with its packed bytes. */
export async function readViewInto(
  view: TensorView,
  target: Uint8Array,
  options?: ReadOptions,
): Promise<void> {
  const packed = packedPlace(view);
  if (packed) return readInto(packed.source, packed.start, target, options);
  // The plan has one tensor, and all it brings goes into `target`.
  for await (const _ of executePlan(planReads([view]), { ...options, targetOf: () => target }));
}

/**
 * The packed bytes of a tensor in order, in pieces of at most `buffer.length` bytes that are valid until the next
 * piece is asked for. One that lies in order needs no memory but `buffer`; another needs up to 48 MiB more.
 */
export async function* chunksOf(
  view: TensorView,
  buffer: Uint8Array,
  options?: ReadOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  const packed = packedPlace(view);
  if (!packed) return yield* chunksOfBlocks(view, buffer.length, options);
  const size = byteLength(view);
  for (let done = 0; done < size; done += buffer.length) {
    const chunk = buffer.subarray(0, Math.min(buffer.length, size - done));
    options?.signal?.throwIfAborted();
    const wait = readInto(packed.source, packed.start + done, chunk, options);
    if (wait) await wait;
    yield chunk;
  }
}

async function* chunksOfBlocks(
  view: TensorView,
  most: number,
  options?: ReadOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  for (const block of splitForOutput(view)) {
    const bytes = await readView(block, options);
    for (let at = 0; at < bytes.length; at += most) yield bytes.subarray(at, at + most);
  }
}

/** Cuts a tensor along its leading axes into views of at most `BLOCK_BYTES`, in output order. */
function* splitForOutput(view: TensorView): Generator<TensorView, void, undefined> {
  const size = byteLength(view);
  // Pieces of elements below a byte would not start on whole bytes.
  if (size <= BLOCK_BYTES || DTYPES[view.dtype].bits < 8) return yield view;
  const axis = view.shape.findIndex((length) => length > 1);
  const length = view.shape[axis]!;
  const step = Math.max(1, Math.floor((BLOCK_BYTES * length) / size));
  const before = view.shape.slice(0, axis).map(() => null);
  for (let start = 0; start < length; start += step) {
    yield* splitForOutput(sliceView(view, [...before, range(start, start + step)]));
  }
}

/** Where the packed bytes already lie, if they do. */
function packedPlace(view: TensorView): { source: ByteSource; start: number } | undefined {
  const lies = !("pieces" in view) && view.bitOffset % 8 === 0 && isContiguous(view);
  return lies ? { source: view.source, start: view.bitOffset / 8 } : undefined;
}
