import { realpathSync } from "node:fs";
import { withoutDigests } from "../../checkpoint/digest-keys.ts";
import { readHeader } from "../../checkpoint/safetensors.ts";
import { inFile, quote, SafetensorsError } from "../../errors.ts";
import { checkedByteLength } from "../../format/encode.ts";
import { type Header, LENGTH_BYTES, type TensorInfo } from "../../format/header.ts";
import { editHeader } from "../../save/edit.ts";
import {
  chunksOfInput,
  counted,
  entriesOf,
  type SaveInput,
  type SaveInputs,
  type SaveOptions,
  transferBuffer,
} from "../../save/save.ts";
import { exactly } from "../../save/writer.ts";
import { readExactly } from "../../source/read-into.ts";
import { openFile } from "../file-source.ts";
import { type Disk, realDisk } from "./disk.ts";
import { commitEdits } from "./edit-commit.ts";
import { journalOf } from "./journal-look.ts";
import type { NewBytes } from "./ranges.ts";

/** Options of `writeTensors`. */
export type WriteTensorsOptions = Pick<SaveOptions, "signal" | "onProgress">;

/**
 * Writes other data into tensors of a safetensors file, where they lie. Names, dtypes and shapes stay, and must be given as they
 * are. The data first goes into a journal beside the file, so that a run that dies leaves the old tensors, or the next one
 * to open the file here writes all new ones; other programs may meanwhile see some old and some new. Takes the room of the
 * tensors on the disk once more, for as long as it runs. Memory stays at a few MiB. Digests in the metadata are taken out.
 *
 * @throws `TENSOR_NOT_FOUND`, `DUPLICATE_NAME`; `SIZE_MISMATCH` for another dtype or shape, or data that does not fill
 *   them; `IO`, `SOURCE_CHANGED`. The file is as it was then, unless the message says that the edit will be finished.
 */
export function writeTensors(
  path: string,
  tensors: SaveInputs,
  options: WriteTensorsOptions = {},
): Promise<void> {
  return writeTensorsOn(realDisk, path, tensors, options);
}

/** `writeTensors` on a disk of the caller. */
export async function writeTensorsOn(
  disk: Disk,
  path: string,
  tensors: SaveInputs,
  options: WriteTensorsOptions,
): Promise<void> {
  const source = await openFile(path);
  try {
    await inFile(path, async () => {
      const header = await readHeader(source, options);
      const parts = partsOf(header, entriesOf(tensors), options);
      if (parts.length === 0) return;
      const head = await readExactly(source, 0, header.byteLength, options);
      const target = realpathSync(path);
      const all = [...headerParts(header, head, source.size), ...parts];
      await commitEdits(disk, journalOf(target), [{ path: target, head, parts: all }], options);
    });
  } finally {
    await source.close();
  }
}

/** The header without digests, which are of the old data; nothing where it has none. */
function headerParts(header: Header, head: Uint8Array, fileSize: number): NewBytes[] {
  const kept = withoutDigests(header.metadata);
  const removeMetadata = [...header.metadata.keys()].filter((key) => !kept.has(key));
  if (removeMetadata.length === 0) return [];
  const json = head.subarray(LENGTH_BYTES);
  // With less in it, it always fits.
  const bytes = editHeader(json, fileSize - head.length, { removeMetadata }).bytes!;
  return [{ begin: 0, end: bytes.length, chunks: () => [bytes] }];
}

/** The tensors in the order of the file, as new bytes of it. */
function partsOf(
  header: Header,
  tensors: readonly (readonly [name: string, tensor: SaveInput])[],
  options: WriteTensorsOptions,
): NewBytes[] {
  const wanted = new Map(tensors);
  if (wanted.size < tensors.length) {
    throw new SafetensorsError("DUPLICATE_NAME", "a tensor was given twice");
  }
  for (const [name, input] of wanted) checkSame(name, header.find(name), input);
  const infos = Array.from(wanted.keys(), (name) => header.find(name)!);
  const total = infos.reduce((sum, info) => sum + sizeOf(info), 0);
  const buffer = transferBuffer(total);
  let before = 0;
  return infos
    .sort((a, b) => a.dataOffsets[0] - b.dataOffsets[0])
    .map((info) => {
      const start = before;
      before += sizeOf(info);
      const chunks = (): AsyncGenerator<Uint8Array> => {
        const bytes = chunksOfInput(info.name, wanted.get(info.name)!, buffer, options);
        return counted(exactly(info.name, sizeOf(info), bytes), start, total, options);
      };
      const [begin, end] = info.dataOffsets;
      return { begin: header.byteLength + begin, end: header.byteLength + end, chunks };
    });
}

const sizeOf = ({ dataOffsets: [begin, end] }: TensorInfo): number => end - begin;

function checkSame(name: string, info: TensorInfo | undefined, input: SaveInput): void {
  if (!info) {
    throw new SafetensorsError("TENSOR_NOT_FOUND", `there is no tensor named ${quote(name)} to write`, {
      tensor: name,
    });
  }
  const mismatch = (text: string): SafetensorsError =>
    new SafetensorsError("SIZE_MISMATCH", `tensor ${quote(name)} ${text}`, { tensor: name });
  if (input.dtype !== info.dtype || String(input.shape) !== String(info.shape)) {
    const [is, was] = [input, info].map(({ dtype, shape }) => `${dtype} of shape [${shape}]`);
    throw mismatch(`is ${was} in the file, and ${is} was given; to change that, write the file anew`);
  }
  checkedByteLength(name, input.dtype, input.shape);
  const given = "data" in input ? (input.data as { readonly byteLength?: unknown }).byteLength : undefined;
  if (typeof given === "number" && given !== sizeOf(info)) {
    throw mismatch(`has ${sizeOf(info)} bytes, but ${given} came`);
  }
}
