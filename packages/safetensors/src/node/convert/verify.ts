import { crc32 } from "node:zlib";
import type { Checkpoint } from "../../checkpoint/checkpoint.ts";
import { readHead } from "../../checkpoint/safetensors.ts";
import type { TensorHandle } from "../../checkpoint/tensor.ts";
import { quote, SafetensorsError } from "../../errors.ts";
import { checksumOf } from "../../save/tensor-sum.ts";
import { openZip } from "../../zip/archive.ts";
import { inflateChecked } from "../../zip/inflate.ts";
import { openFile } from "../file-source.ts";
import { openWeights } from "../open-path.ts";

const BUFFER_BYTES = 1 << 20;

/**
 * Compares those members of a ZIP archive, as PyTorch and NumPy files are, with their checksums that will not be compared
 * while they are copied. Other files have none.
 *
 * @param checkpoint what the file was opened as.
 * @param copied the tensors that will be copied, of this file and of others.
 * @throws `INVALID_ARCHIVE` if a member is damaged
 */
export async function verifyRest(
  path: string,
  checkpoint: Checkpoint,
  copied: readonly TensorHandle[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const views = new Set(copied.map(({ view }) => view));
  const ends = new Set<number>();
  for (const tensor of checkpoint) {
    const checksum = views.has(tensor.view) && checksumOf(tensor);
    if (checksum) ends.add(checksum.start + checksum.length);
  }
  await verifyMembers(path, ends, signal);
}

/** Compares the members of a ZIP archive with their checksums, but for those that end at the places in `passed`. */
async function verifyMembers(
  path: string,
  passed: ReadonlySet<number>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const source = await openFile(path, { blocking: true });
  try {
    const head = await readHead(source);
    if (head[0] !== 0x50 || head[1] !== 0x4b) return;
    const zip = await openZip(source);
    const offsets = await zip.dataOffsets();
    const buffer = new Uint8Array(BUFFER_BYTES);
    for (const name of zip.names()) {
      const entry = zip.find(name)!;
      const { crc32: expected, size, row } = entry;
      const offset = offsets[row]!;
      if (entry.method !== 0) {
        for await (const _ of inflateChecked(source, { ...entry, offset })) signal?.throwIfAborted();
        continue;
      }
      // 0: it has none.
      if (expected === 0 || passed.has(offset + size)) continue;
      let sum = 0;
      for (let done = 0; done < size; done += buffer.length) {
        signal?.throwIfAborted();
        const chunk = buffer.subarray(0, Math.min(buffer.length, size - done));
        source.readInto(offset + done, chunk);
        sum = crc32(chunk, sum);
      }
      if (sum === expected) continue;
      const text = `${quote(name)} is damaged: its checksum is not the one that the archive has; get the file again`;
      throw new SafetensorsError("INVALID_ARCHIVE", text, { at: offset });
    }
  } finally {
    await source.close();
  }
}

/**
 * Reads a PyTorch or NumPy archive again, which has the checksums of what was to be written.
 *
 * @param temporary where it is; `path` is where it will be, for the message.
 * @throws `IO` if it holds something else
 */
export async function verifyWritten(
  temporary: string,
  path: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  try {
    await verifyMembers(temporary, new Set(), signal);
  } catch (cause) {
    if (!(cause instanceof SafetensorsError) || cause.code !== "INVALID_ARCHIVE") throw cause;
    const text = `${path} could not be written: it reads back differently; is the disk failing?`;
    throw new SafetensorsError("IO", text, { file: path, cause });
  }
}

/**
 * Reads a safetensors file again.
 *
 * @param temporary where it is; `path` is where it will be, for the message.
 * @param sums checksums of its tensors, taken while they were written.
 * @throws `IO` if a tensor of the file is not what was to be written
 */
export async function readBack(
  temporary: string,
  path: string,
  sums: ReadonlyMap<string, number>,
  signal: AbortSignal | undefined,
): Promise<void> {
  await using written = await openWeights(temporary, { blocking: true, readers: [] });
  const buffer = new Uint8Array(BUFFER_BYTES);
  for (const [name, expected] of sums) {
    let sum = 0;
    for await (const chunk of written.get(name).chunks(buffer, { signal })) sum = crc32(chunk, sum);
    if (sum === expected) continue;
    const text = `${path} could not be written: tensor ${quote(name)} reads back differently; is the disk failing?`;
    throw new SafetensorsError("IO", text, { file: path, tensor: name });
  }
}
