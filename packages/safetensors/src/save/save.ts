import { type EncodedHeader, encodeHeader, type HeaderOptions, type TensorSpec } from "../format/encode.ts";
import type { ReadOptions } from "../source/source.ts";
import { BUFFER_BYTES, chunksOfData, type InputData, type LazyData } from "./input.ts";
import type { Sink } from "./sink.ts";
import { type Chunks, exactly } from "./writer.ts";

/**
 * Large memory comes from the system 16 bytes after the begin of a page. There, AMD's Zen 3 copies from the kernel at a
 * third of its speed, so the buffer begins later.
 */
const BUFFER_START = 64;

/**
 * A tensor with its packed little-endian elements in row-major order. Tensors are written in the order of the format, not
 * of the input; what is no memory is only begun when its turn comes, and not at all after an error.
 */
export interface TensorData extends TensorSpec {
  readonly data: InputData | LazyData;
}

/** A tensor whose bytes come as a stream: a `TensorHandle` is one. */
export interface TensorStream extends TensorSpec {
  /** The packed bytes in order, in pieces that fit `buffer` and are only valid until the next one is asked for. */
  chunks(buffer: Uint8Array, options?: ReadOptions): Chunks;
}

/** What can be saved: a tensor with its data, or one that is still in another checkpoint. */
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
 * that are strided in their source, 16 MiB for Blobs). The same tensors and metadata give the same bytes, in whatever
 * order they come. Any error aborts the sink.
 *
 * @throws what `encodeHeader` throws, before anything is written; `SIZE_MISMATCH` for data that does not fill its dtype
 *   and shape; see `InputData` for more; what the sink throws; the signal's reason
 */
export async function save(sink: Sink, inputs: SaveInputs, options: SaveOptions = {}): Promise<void> {
  try {
    const entries = entriesOf(inputs);
    const header = encodeHeader(entries, options);
    sink.begin?.(header.bytes.length + header.dataLength, options);
    for await (const chunk of fileChunks(header, new Map(entries), options)) {
      const wait = sink.write(chunk);
      if (wait) await wait;
    }
    await sink.commit();
  } catch (error) {
    await sink.abort(error);
    throw error;
  }
}

/** The tensors with their names. */
export function entriesOf(inputs: SaveInputs): (readonly [name: string, tensor: SaveInput])[] {
  return Symbol.iterator in inputs ? [...inputs] : Object.entries(inputs);
}

/** The bytes of a whole file, in pieces that are only valid until the next one is asked for. */
export async function* fileChunks(
  header: EncodedHeader,
  inputs: ReadonlyMap<string, SaveInput>,
  options: SaveOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  options.signal?.throwIfAborted();
  yield header.bytes;
  const buffer = transferBuffer(header.dataLength);
  for (const { name, dataOffsets } of header.tensors) {
    const [begin, end] = dataOffsets;
    const chunks = exactly(name, end - begin, chunksOfInput(name, inputs.get(name)!, buffer, options));
    yield* counted(chunks, begin, header.dataLength, options);
  }
  options.signal?.throwIfAborted();
}

/** The buffer through which `total` bytes of data go. */
export function transferBuffer(total: number): Uint8Array {
  return new Uint8Array(BUFFER_START + Math.min(BUFFER_BYTES, total)).subarray(BUFFER_START);
}

/** The bytes of a tensor to save, as many as there are: see `exactly`. */
export function chunksOfInput(
  name: string,
  input: SaveInput,
  buffer: Uint8Array,
  options: ReadOptions,
): Chunks {
  if ("chunks" in input) return input.chunks(buffer, options);
  return chunksOfData(name, input.data, options);
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
