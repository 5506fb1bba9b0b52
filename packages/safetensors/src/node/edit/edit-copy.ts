import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  fsyncSync,
  openSync,
  statSync,
} from "node:fs";
import { copyFile, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { SafetensorsError } from "../../errors.ts";
import { transferBuffer } from "../../save/save.ts";
import { readInto } from "../../source/read-into.ts";
import type { FileSource } from "../file-source.ts";
import { ioError } from "../io-error.ts";
import { fileSink, flushFolder, followLinks } from "../write/file-sink.ts";
import { temporaryFor } from "../write/litter.ts";
import { realDisk } from "./disk.ts";
import type { EditOptions } from "./edit-file.ts";
import { readAt } from "./ranges.ts";

/**
 * Writes a file with another header of the same length. Where the file system can share blocks it is a clone, whose data is
 * not copied; the bytes are the same either way.
 *
 * @param head the header that the file has.
 */
export async function copyWith(
  head: Uint8Array,
  header: Uint8Array,
  source: FileSource,
  output: string,
  options: EditOptions,
): Promise<void> {
  if (await cloneWith(head, header, source, output)) return;
  const sink = await fileSink(output);
  try {
    await sink.write(header);
    for await (const chunk of dataOf(source, header.length, options)) await sink.write(chunk);
    await sink.commit();
  } catch (error) {
    await sink.abort(error);
    throw error;
  }
}

async function cloneWith(
  head: Uint8Array,
  header: Uint8Array,
  { name: path, size }: FileSource,
  output: string,
): Promise<boolean> {
  const target = await followLinks(output);
  if (statSync(target, { throwIfNoEntry: false })?.isFile() === false) return false;
  const temporary = temporaryFor(target);
  try {
    await copyFile(path, temporary, constants.COPYFILE_FICLONE_FORCE | constants.COPYFILE_EXCL);
  } catch {
    return false;
  }
  try {
    // The clone has the mode of the file, which may be one that nobody may write.
    chmodSync(temporary, 0o600);
    const fd = openSync(temporary, "r+");
    try {
      // Another file may have taken the name since the header was read.
      const isSame = fstatSync(fd).size === size && Buffer.compare(readAt(fd, 0, head.length), head) === 0;
      if (!isSame)
        throw new SafetensorsError("SOURCE_CHANGED", `${path} is not as it was read`, { file: path });
      realDisk.write(fd, header, 0);
      const { mode } = statSync(target, { throwIfNoEntry: false }) ?? { mode: 0o666 & ~process.umask() };
      fchmodSync(fd, mode & 0o7777);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    await rename(temporary, target);
    flushFolder(dirname(target));
    return true;
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => {});
    throw ioError(target, "write", cause);
  }
}

async function* dataOf(
  source: FileSource,
  start: number,
  { signal, onProgress }: EditOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  const total = source.size - start;
  const buffer = transferBuffer(total);
  for (let done = 0; done < total; ) {
    const piece = buffer.subarray(0, Math.min(buffer.length, total - done));
    await readInto(source, start + done, piece, { signal });
    yield piece;
    done += piece.length;
    onProgress?.(done, total);
  }
}
