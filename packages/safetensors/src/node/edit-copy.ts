import { closeSync, constants, fchmodSync, fsyncSync, openSync, statSync } from "node:fs";
import { copyFile, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { transferBuffer } from "../save/save.ts";
import { readInto } from "../source/read-into.ts";
import { realDisk } from "./edit-disk.ts";
import type { EditOptions } from "./edit-file.ts";
import { fileSink, flushFolder, followLinks } from "./file-sink.ts";
import type { FileSource } from "./file-source.ts";
import { ioError } from "./io-error.ts";
import { temporaryFor } from "./litter.ts";

/**
 * Writes a file with another header of the same length. Where the file system can share blocks it is a clone, whose data is
 * not copied; the bytes are the same either way.
 */
export async function copyWith(
  header: Uint8Array,
  source: FileSource,
  output: string,
  options: EditOptions,
): Promise<void> {
  if (await cloneWith(header, source.name, output)) return;
  const sink = await fileSink(output);
  try {
    sink.begin?.(source.size, options);
    await sink.write(header);
    for await (const chunk of dataOf(source, header.length, options)) await sink.write(chunk);
    await sink.commit();
  } catch (error) {
    await sink.abort(error);
    throw error;
  }
}

async function cloneWith(header: Uint8Array, path: string, output: string): Promise<boolean> {
  const target = await followLinks(output);
  if (statSync(target, { throwIfNoEntry: false })?.isFile() === false) return false;
  const temporary = temporaryFor(target);
  try {
    await copyFile(path, temporary, constants.COPYFILE_FICLONE_FORCE | constants.COPYFILE_EXCL);
  } catch {
    return false;
  }
  try {
    const fd = openSync(temporary, "r+");
    try {
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
