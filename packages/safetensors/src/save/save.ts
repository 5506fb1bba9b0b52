import { readingTensor, TensorHandle } from "../checkpoint/tensor.ts";
import { type EncodedHeader, encodeHeader, type HeaderOptions, type TensorSpec } from "../format/encode.ts";
import type { TensorInfo } from "../format/header.ts";
import { packedPlace } from "../plan/read.ts";
import { readInto } from "../source/read-into.ts";
import type { ReadOptions } from "../source/source.ts";
import { BUFFER_BYTES, chunksOfData, type InputData, type LazyData } from "./input.ts";
import type { ByteRange, Sink } from "./sink.ts";
import { type SumOptions, TensorSum } from "./tensor-sum.ts";
import { type Chunks, exactly } from "./writer.ts";

/**
 * Large memory comes from the system 16 bytes after the begin of a page. There, AMD's Zen 3 copies from the kernel at a
 * third of its speed, so the buffer begins later.
 */
const BUFFER_START = 64;

/** Bytes of a tensor from which on it is worth the effort that a sink copies them by itself. */
const COPY_FROM = 4 << 20;

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
export interface SaveOptions extends HeaderOptions, ReadOptions, SumOptions {
  /** Called after every piece with the bytes of data written so far, and in all. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * Writes a safetensors file into a sink and commits it. Memory stays at one buffer of 1 MiB (52 MiB more for tensors
 * that are strided in their source, 16 MiB for Blobs). The same tensors and metadata give the same bytes, in whatever
 * order they come. Any error aborts the sink.
 *
 * Tensors of PyTorch and NumPy files are compared with the checksums in these files while they are copied, as far as they
 * have one: a tensor that is all of a member that is not compressed, in its order. (What is compressed is always compared
 * when it is read to its end.) A part of a member, or another order of its elements, has no checksum.
 *
 * @throws what `encodeHeader` throws, before anything is written; `SIZE_MISMATCH` for data that does not fill its dtype
 *   and shape; `INVALID_ARCHIVE` for a tensor that does not have its checksum; see `InputData` for more; what the
 *   sink throws; the signal's reason
 */
export async function save(sink: Sink, inputs: SaveInputs, options: SaveOptions = {}): Promise<void> {
  try {
    const entries = entriesOf(inputs);
    const header = encodeHeader(entries, options);
    sink.begin?.(header.bytes.length + header.dataLength, options);
    await writeFile(sink, header, new Map(entries), options);
    await sink.commit();
  } catch (error) {
    await sink.abort(error);
    throw error;
  }
}

async function writeFile(
  sink: Sink,
  header: EncodedHeader,
  inputs: ReadonlyMap<string, SaveInput>,
  options: SaveOptions,
): Promise<void> {
  const { signal, onProgress } = options;
  const total = header.dataLength;
  signal?.throwIfAborted();
  await sink.write(header.bytes);
  const buffer = transferBuffer(total);
  for (const tensor of header.tensors) {
    const input = inputs.get(tensor.name)!;
    const sum = TensorSum.of(tensor.name, input, options);
    const range = sink.copy && rangeOf(input, sum);
    if (range) {
      let [done] = tensor.dataOffsets;
      const onCopied = (bytes: number): void => {
        done += bytes;
        onProgress?.(done, total);
      };
      await sink.copy!(range, { signal, onCopied });
    } else {
      for await (const chunk of tensorChunks(tensor, input, buffer, total, options)) {
        sum?.add(chunk);
        const wait = sink.write(chunk);
        if (wait) await wait;
      }
    }
    sum?.finish();
  }
  signal?.throwIfAborted();
}

/** The bytes of an input, if they lie in order and are so many that the sink should copy them by itself. */
function rangeOf(input: SaveInput, sum: TensorSum | undefined): ByteRange | undefined {
  if (!(input instanceof TensorHandle) || input.byteLength < COPY_FROM) return undefined;
  const length = input.byteLength;
  const place = packedPlace(input.view);
  if (!place) return undefined;
  const read: ByteRange["read"] = async (offset, target, options) => {
    try {
      await readInto(place.source, place.start + offset, target, options);
    } catch (error) {
      throw readingTensor(error, input.name);
    }
    // The pieces before are being written meanwhile.
    sum?.addBefore(target, length - offset - target.length);
  };
  return { length, read };
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
  for (const tensor of header.tensors) {
    const input = inputs.get(tensor.name)!;
    const sum = TensorSum.of(tensor.name, input, options);
    for await (const chunk of tensorChunks(tensor, input, buffer, header.dataLength, options)) {
      sum?.add(chunk);
      yield chunk;
    }
    sum?.finish();
  }
  options.signal?.throwIfAborted();
}

/** The bytes of a tensor, as many as the header says, with progress. */
function tensorChunks(
  { name, dataOffsets: [begin, end] }: TensorInfo,
  input: SaveInput,
  buffer: Uint8Array,
  total: number,
  options: SaveOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  const chunks = exactly(name, end - begin, chunksOfInput(name, input, buffer, options));
  return counted(chunks, begin, total, options);
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
