import { SafetensorsError } from "../errors.ts";
import { readExactly, readInto } from "../source/read-into.ts";
import type { ByteSource, ReadOptions } from "../source/source.ts";
import type { TensorView } from "../view/tiling.ts";
import { byteLength, isContiguous } from "../view/view.ts";
import { viewExactly } from "./view-exactly.ts";

/** The packed bytes of a tensor, in row-major order. See `TensorHandle.bytes` for who owns them. */
export async function readView(view: TensorView, options?: ReadOptions): Promise<Uint8Array> {
  const size = byteLength(view);
  if (size === 0) return new Uint8Array(0);
  const packed = packedPlace(view);
  if (!packed) {
    const target = new Uint8Array(size);
    await (await gather()).gatherInto(view, target, options);
    return target;
  }
  options?.signal?.throwIfAborted();
  const { source, start } = packed;
  return viewExactly(source, start, size) ?? readExactly(source, start, size, options);
}

/**
 * Fills `target` with the packed bytes of a tensor.
 *
 * @throws `SIZE_MISMATCH` unless `target` has the tensor's size
 */
export async function readViewInto(
  view: TensorView,
  target: Uint8Array,
  options?: ReadOptions,
): Promise<void> {
  const size = byteLength(view);
  if (target.length !== size) {
    const text = `the memory for a tensor of ${size} bytes has ${target.length}`;
    throw new SafetensorsError("SIZE_MISMATCH", text);
  }
  if (size === 0) return;
  const packed = packedPlace(view);
  if (!packed) return (await gather()).gatherInto(view, target, options);
  options?.signal?.throwIfAborted();
  return readInto(packed.source, packed.start, target, options);
}

/**
 * The packed bytes of a tensor in order, in pieces of at most `buffer.length` bytes that are valid until the next
 * piece is asked for. One that lies in order needs no memory but `buffer`; another needs up to 52 MiB more.
 */
export async function* chunksOf(
  view: TensorView,
  buffer: Uint8Array,
  options?: ReadOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  const size = byteLength(view);
  if (size === 0) return;
  if (buffer.length === 0) {
    throw new SafetensorsError("OUT_OF_RANGE", "the buffer for the pieces of a tensor has no room");
  }
  const packed = packedPlace(view);
  if (!packed) return yield* (await gather()).gatherChunks(view, buffer, options);
  for (let done = 0; done < size; done += buffer.length) {
    const chunk = buffer.subarray(0, Math.min(buffer.length, size - done));
    options?.signal?.throwIfAborted();
    const wait = readInto(packed.source, packed.start + done, chunk, options);
    if (wait) await wait;
    yield chunk;
  }
}

/** Where the packed bytes already lie, if they do. */
export function packedPlace(view: TensorView): { source: ByteSource; start: number } | undefined {
  const lies = !("pieces" in view) && view.bitOffset % 8 === 0 && isContiguous(view);
  return lies ? { source: view.source, start: view.bitOffset / 8 } : undefined;
}

/** Loaded when first needed: tensors of safetensors files lie in order. */
function gather(): Promise<typeof import("./gather.ts")> {
  return import("./gather.ts");
}
