import { Checkpoint } from "../checkpoint/checkpoint.ts";
import { quote, SafetensorsError } from "../errors.ts";
import { checkedByteLength } from "../format/encode.ts";
import {
  chunksOfInput,
  counted,
  type SaveInput,
  type SaveInputs,
  type SaveOptions,
  transferBuffer,
} from "../save/save.ts";
import type { Sink } from "../save/sink.ts";
import { TensorSum } from "../save/tensor-sum.ts";
import type { Chunks } from "../save/writer.ts";
import type { Crc32 } from "../zip/crc32.ts";
import { canBeMember, ZipWriter } from "../zip/writer.ts";
import { type NpyOptions, npyHeader } from "./header-text.ts";
import { MEMBER_ENDING } from "./npz.ts";

/** Options of `writeNpy` and `writeNpz`. */
export interface WriteNumpyOptions extends NpyOptions, Pick<SaveOptions, "signal" | "onProgress"> {
  /** A CRC-32 faster than the library's own, such as that of node:zlib, with the checksum of the bytes before. */
  readonly crc32?: Crc32 | undefined;
}

/**
 * Writes one tensor as a `.npy` file into a sink and commits it, byte for byte as numpy.save does. Any error aborts the
 * sink.
 *
 * @throws `UNSUPPORTED` for what NumPy does not have: see `npyHeader`; `SIZE_MISMATCH`; `INVALID_TENSOR`; `INVALID_ARCHIVE`
 *   for a tensor that does not have its checksum, see `save`; what reading and the sink throw
 */
export async function writeNpy(sink: Sink, input: SaveInput, options: WriteNumpyOptions = {}): Promise<void> {
  await committed(sink, async () => {
    const array = prepare("arr_0", input, options);
    const progress = { done: 0, total: array.byteLength, buffer: transferBuffer(array.byteLength) };
    let written = 0;
    for await (const chunk of chunksOf(array, progress, options)) {
      written += chunk.length;
      if (written > array.size) break;
      await sink.write(chunk);
    }
    if (written === array.size) return;
    const amount = written > array.size ? "more" : `only ${written - array.header.length}`;
    const text = `the tensor was declared with ${array.byteLength} bytes, but ${amount} came`;
    throw new SafetensorsError("SIZE_MISMATCH", text);
  });
}

/**
 * Writes tensors, or those of a checkpoint, as a `.npz` archive like numpy.savez: not compressed, in the order given. It is
 * written as a stream, so memory stays at one buffer of 1 MiB (52 MiB more for tensors that are strided in their source), and the same tensors
 * give the same bytes. Elements begin at multiples of 64 bytes. Any error aborts the sink.
 *
 * @throws as `writeNpy`; `INVALID_NAME` for names that lead out of a folder, as a member's name would; `DUPLICATE_NAME`, also
 *   for `a` beside `a.npy`, of which numpy.load gives one only
 */
export async function writeNpz(
  sink: Sink,
  inputs: SaveInputs | Checkpoint,
  options: WriteNumpyOptions = {},
): Promise<void> {
  await committed(sink, async () => {
    // All of them before the first byte.
    const arrays = preparedArchive(entriesOf(inputs), options);
    const total = arrays.reduce((sum, { byteLength }) => sum + byteLength, 0);
    const progress = { done: 0, total, buffer: transferBuffer(total) };
    const zip = new ZipWriter((bytes) => sink.write(bytes), options.crc32);
    for (const array of arrays) {
      const { name, size, byteLength } = array;
      await zip.add(name + MEMBER_ENDING, size, chunksOf(array, progress, options));
      progress.done += byteLength;
    }
    await zip.finish();
  });
}

/**
 * Bytes of the tensors of a `.npz` archive.
 *
 * @throws what `writeNpz` throws before it writes anything
 */
export function npzSizes(
  inputs: Iterable<readonly [name: string, input: SaveInput]>,
  options: NpyOptions = {},
): number[] {
  return preparedArchive(inputs, options).map(({ byteLength }) => byteLength);
}

function preparedArchive(
  inputs: Iterable<readonly [name: string, input: SaveInput]>,
  options: NpyOptions,
): PreparedArray[] {
  const names = new Set<string>();
  return Array.from(inputs, ([name, input]) => {
    const refuse = (code: "INVALID_NAME" | "DUPLICATE_NAME", reason: string): never => {
      throw new SafetensorsError(code, `tensor ${quote(name)} ${reason}`, { tensor: name });
    };
    if (!canBeMember(name + MEMBER_ENDING))
      refuse("INVALID_NAME", "has a name that no array in an archive can have");
    const without = name.endsWith(MEMBER_ENDING) ? name.slice(0, -MEMBER_ENDING.length) : name;
    if ([name, name + MEMBER_ENDING, without].some((other) => names.has(other)))
      refuse("DUPLICATE_NAME", "has the name of another one, as NumPy reads it");
    names.add(name);
    return prepare(name, input, options);
  });
}

function entriesOf(inputs: SaveInputs | Checkpoint): (readonly [name: string, input: SaveInput])[] {
  if (inputs instanceof Checkpoint) return Array.from(inputs, (tensor) => [tensor.name, tensor]);
  return Symbol.iterator in inputs ? [...inputs] : Object.entries(inputs);
}

async function committed(sink: Sink, write: () => Promise<void>): Promise<void> {
  try {
    await write();
    await sink.commit();
  } catch (error) {
    await sink.abort(error);
    throw error;
  }
}

/** A tensor that can be written. */
interface PreparedArray {
  readonly name: string;
  readonly input: SaveInput;
  readonly header: Uint8Array;
  /** Bytes of the elements, and with the header. */
  readonly byteLength: number;
  readonly size: number;
}

function prepare(name: string, input: SaveInput, options: NpyOptions): PreparedArray {
  const { dtype, shape } = input;
  const byteLength = checkedByteLength(name, dtype, shape);
  try {
    const header = npyHeader(dtype, shape, options);
    return { name, input, header, byteLength, size: header.length + byteLength };
  } catch (error) {
    if (!(error instanceof SafetensorsError)) throw error;
    const details = { ...error.details, tensor: name, cause: error };
    throw new SafetensorsError(error.code, `tensor ${quote(name)}: ${error.reason}`, details);
  }
}

async function* chunksOf(
  { name, input, header }: PreparedArray,
  { done, total, buffer }: { done: number; total: number; buffer: Uint8Array },
  options: WriteNumpyOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  yield header;
  const sum = TensorSum.of(name, input, { crc32: options.crc32 });
  const chunks: Chunks = chunksOfInput(name, input, buffer, options);
  for await (const chunk of counted(chunks, done, total, options)) {
    sum?.add(chunk);
    yield chunk;
  }
  sum?.finish();
}
