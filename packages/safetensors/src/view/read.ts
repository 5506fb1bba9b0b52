import { SafetensorsError } from "../errors.ts";
import { readExactly, readInto } from "../source/read-into.ts";
import type { ReadOptions } from "../source/source.ts";
import { byteLength, isContiguous, type StridedView } from "./view.ts";

/** The packed bytes of a view, in row-major order. See `TensorHandle.bytes` for who owns them. */
export async function readView(view: StridedView, options?: ReadOptions): Promise<Uint8Array> {
  const { source } = view;
  const size = byteLength(view);
  if (size === 0) return new Uint8Array(0);
  const start = packedAt(view);
  if (start === undefined) return (await strided()).readStrided(view, options);
  options?.signal?.throwIfAborted();
  return source.view ? source.view(start, size) : readExactly(source, start, size, options);
}

/**
 * The packed bytes of a view in order, in pieces of at most `buffer.length` bytes that are valid until the next piece
 * is asked for. A contiguous view needs no memory but `buffer`; a strided one needs up to 36 MiB more.
 */
export async function* chunksOf(
  view: StridedView,
  buffer: Uint8Array,
  options?: ReadOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  const size = byteLength(view);
  if (size > 0 && buffer.length === 0) {
    throw new SafetensorsError("OUT_OF_RANGE", "the buffer for the pieces of a tensor has no room");
  }
  const start = packedAt(view);
  if (start === undefined) return yield* (await strided()).stridedChunks(view, buffer.length, options);
  for (let done = 0; done < size; done += buffer.length) {
    const chunk = buffer.subarray(0, Math.min(buffer.length, size - done));
    options?.signal?.throwIfAborted();
    const wait = readInto(view.source, start + done, chunk, options);
    if (wait) await wait;
    yield chunk;
  }
}

/** Byte at which the view's packed bytes already lie in the source, if they do. */
function packedAt(view: StridedView): number | undefined {
  return view.bitOffset % 8 === 0 && isContiguous(view) ? view.bitOffset / 8 : undefined;
}

/** Loaded when first needed: tensors of safetensors files are contiguous. */
function strided(): Promise<typeof import("./strided.ts")> {
  return import("./strided.ts");
}
