import { quote, SafetensorsError } from "../errors.ts";
import type { HeaderOptions, TensorSpec } from "../format/encode.ts";
import type { ReadOptions } from "../source/source.ts";
import type { Sink } from "./sink.ts";
import { type Chunks, SafetensorsWriter } from "./writer.ts";

/** Bytes moved at once. A buffer of this size stays in the processor's cache, which fresh memory does not. */
const BUFFER_BYTES = 1 << 20;

/**
 * Large memory comes from the system 16 bytes after the begin of a page. There, AMD's Zen 3 copies from the kernel at a
 * third of its speed, so the buffer begins later.
 */
const BUFFER_START = 64;

/** A tensor in memory: packed little-endian elements in row-major order. */
export interface TensorData extends TensorSpec {
  readonly data: ArrayBufferView | ArrayBufferLike;
}

/** A tensor whose bytes come as a stream: a `TensorHandle` is one. */
export interface TensorStream extends TensorSpec {
  /** The packed bytes in order, in pieces that fit `buffer` and are only valid until the next one is asked for. */
  chunks(buffer: Uint8Array, options?: ReadOptions): Chunks;
}

/** What can be saved: a tensor in memory, or one that is still in another checkpoint. */
export type SaveInput = TensorData | TensorStream;

/** Tensors by name. */
export type SaveInputs =
  | Iterable<readonly [name: string, tensor: SaveInput]>
  | Readonly<Record<string, SaveInput>>;

/** Options of saving. */
export interface SaveOptions extends HeaderOptions, ReadOptions {
  /** Called after every piece with the bytes of data written so far, and in all. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * Writes a safetensors file into a sink and commits it. Memory stays at one buffer of 1 MiB (52 MiB more for tensors
 * that are strided in their source). Any error aborts the sink.
 */
export async function save(sink: Sink, inputs: SaveInputs, options: SaveOptions = {}): Promise<void> {
  try {
    const entries = Symbol.iterator in inputs ? [...inputs] : Object.entries(inputs);
    const writer = await SafetensorsWriter.begin(sink, entries, options);
    const tensors = new Map(entries);
    const total = writer.tensors.at(-1)?.dataOffsets[1] ?? 0;
    const buffer = transferBuffer(total);
    for (const { name, dataOffsets } of writer.tensors) {
      const chunks = chunksOfInput(name, tensors.get(name)!, buffer, options);
      await writer.write(name, counted(chunks, dataOffsets[0], total, options));
    }
    await writer.finish();
  } catch (error) {
    await sink.abort();
    throw error;
  }
}

/** The buffer through which `total` bytes of data go. */
export function transferBuffer(total: number): Uint8Array {
  return new Uint8Array(BUFFER_START + Math.min(BUFFER_BYTES, total)).subarray(BUFFER_START);
}

/** The bytes of a tensor to save. `INVALID_TENSOR` if its data is no memory. */
export function chunksOfInput(
  name: string,
  input: SaveInput,
  buffer: Uint8Array,
  options: ReadOptions,
): Chunks {
  if ("chunks" in input) return input.chunks(buffer, options);
  const { data } = input;
  if (ArrayBuffer.isView(data)) return pieces(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  // A web page may have no SharedArrayBuffer at all, so that `instanceof` would fail there.
  if (/^\[object (Shared)?ArrayBuffer]$/.test(Object.prototype.toString.call(data))) {
    return pieces(new Uint8Array(data));
  }
  throw new SafetensorsError(
    "INVALID_TENSOR",
    `the data of tensor ${quote(name)} is no typed array and no buffer`,
    { tensor: name },
  );
}

/** Cuts bytes in memory, so that progress and cancellation have steps and no sink gets gigabytes at once. */
function* pieces(bytes: Uint8Array): Generator<Uint8Array, void, undefined> {
  for (let at = 0; at < bytes.length; at += BUFFER_BYTES) yield bytes.subarray(at, at + BUFFER_BYTES);
}

/** Passes the chunks on, reports progress after each and stops when the caller has given up. */
export async function* counted(
  chunks: Chunks,
  start: number,
  total: number,
  { signal, onProgress }: Pick<SaveOptions, "signal" | "onProgress">,
): AsyncGenerator<Uint8Array, void, undefined> {
  let done = start;
  for await (const chunk of chunks) {
    signal?.throwIfAborted();
    yield chunk;
    done += chunk.length;
    onProgress?.(done, total);
  }
}
