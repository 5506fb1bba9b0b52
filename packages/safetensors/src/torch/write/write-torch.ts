import type { Checkpoint } from "../../checkpoint/checkpoint.ts";
import { quote, SafetensorsError } from "../../errors.ts";
import { chunksOfInput, counted, type SaveInputs, transferBuffer } from "../../save/save.ts";
import type { Sink } from "../../save/sink.ts";
import { checkSum } from "../../save/tensor-sum.ts";
import type { ReadOptions } from "../../source/source.ts";
import type { Crc32 } from "../../zip/crc32.ts";
import type { Aliases } from "./aliases.ts";
import { entriesOf, type TensorEntry } from "./entries.ts";
import { Output } from "./output.ts";
import { pickleStateDict, storageKey } from "./state-dict.ts";
import { ZipWriter } from "./zip-writer.ts";

/** Folder of all records: the name that torch.save takes where it knows no file name. */
const ROOT = "archive";

/** Options of `writeTorch`. */
export interface WriteTorchOptions extends ReadOptions {
  /**
   * More names for tensors, alias → name: in PyTorch these are tensors over one storage ("tied weights"). Of a checkpoint
   * they are found by themselves: in its metadata, as conversion to safetensors leaves them, and where two names are the
   * same view of the same data.
   */
  readonly aliases?: Aliases | undefined;
  /** A CRC-32 faster than the library's own, such as that of node:zlib, with the checksum of the bytes before. */
  readonly crc32?: Crc32 | undefined;
  /** Called after every piece with the bytes of data written so far, and in all. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * Writes a state dict as a PyTorch file, the ZIP archive of torch.save since PyTorch 1.6, into a sink and commits it:
 * `torch.load(file, weights_only=True)` gives a dict of contiguous tensors on the CPU, in the given order. Metadata has
 * no place in it. Memory stays at one buffer of 1 MiB and a few hundred bytes for each tensor. Any error aborts the sink.
 *
 * @param inputs tensors by name, or a checkpoint.
 * @throws `UNSUPPORTED` for dtypes and shapes that PyTorch lacks (6-bit floats, odd rows of 4-bit ones), `INVALID_NAME`,
 *   `DUPLICATE_NAME`, `TENSOR_NOT_FOUND` (of an alias), `INVALID_TENSOR`, `MISALIGNED`, `SIZE_OVERFLOW`: before anything
 *   is written; `SIZE_MISMATCH`; `INVALID_ARCHIVE` for a tensor that does not have its checksum, see `save`; errors of the sources and the sink
 */
export async function writeTorch(
  sink: Sink,
  inputs: SaveInputs | Checkpoint,
  options: WriteTorchOptions = {},
): Promise<void> {
  try {
    const entries = entriesOf(inputs, options.aliases);
    const zip = new ZipWriter(new Output(sink), ROOT, options.crc32);
    await addBytes(zip, "data.pkl", pickleStateDict(entries));
    await addText(zip, ".format_version", "1");
    await addText(zip, ".storage_alignment", "64");
    await addText(zip, "byteorder", "little");
    await addStorages(zip, entries, options);
    await addText(zip, "version", "3\n");
    await addText(zip, ".data/serialization_id", zip.serializationId);
    await zip.finish();
    await sink.commit();
  } catch (error) {
    await sink.abort(error);
    throw error;
  }
}

async function addStorages(
  zip: ZipWriter,
  entries: readonly TensorEntry[],
  options: WriteTorchOptions,
): Promise<void> {
  const total = entries.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const buffer = transferBuffer(total);
  let before = 0;
  for (const [index, { names, input, byteLength }] of entries.entries()) {
    const name = names[0]!;
    const chunks = counted(chunksOfInput(name, input, buffer, options), before, total, options);
    const { written, checksum } = await zip.add(`data/${storageKey(index)}`, byteLength, chunks);
    if (written !== byteLength) {
      const amount = written > byteLength ? "more" : `only ${written}`;
      const text = `tensor ${quote(name)} was declared with ${byteLength} bytes, but ${amount} came`;
      throw new SafetensorsError("SIZE_MISMATCH", text, { tensor: name });
    }
    checkSum(name, input, checksum);
    before += byteLength;
  }
}

function addText(zip: ZipWriter, record: string, text: string): Promise<unknown> {
  return addBytes(zip, record, new TextEncoder().encode(text));
}

function addBytes(zip: ZipWriter, record: string, bytes: Uint8Array): Promise<unknown> {
  return zip.add(record, bytes.length, [bytes]);
}
