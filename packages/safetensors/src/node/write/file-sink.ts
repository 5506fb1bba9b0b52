import { closeSync, fchmodSync, fsyncSync, openSync, statSync, writeSync } from "node:fs";
import { readlink, realpath, rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { SafetensorsError } from "../../errors.ts";
import type { ByteRange, CopyOptions, Sink } from "../../save/sink.ts";
import { ioError } from "../io-error.ts";
import { copyBuffers, copyRange } from "./copy-range.ts";
import { removeLitter, temporaryFor } from "./litter.ts";

/** Links followed from one to the next: as many as Linux follows. */
const MOST_LINKS = 40;

/** Longest single write: from two gigabytes on Node refuses it. */
const WRITE_BYTES = 1 << 30;

/** A sink that writes a file. */
export interface FileSink extends Sink {
  copy(range: ByteRange, options: CopyOptions): Promise<void>;
  /** Where the bytes are until `commit`. */
  readonly temporary: string;
  /** Flushes and closes the file, which still has its temporary name: `commit` has nothing left to do but to rename. */
  prepare(): void;
}

/**
 * A file that appears whole or not at all: written beside its target under a name of its own, flushed to the disk, then
 * renamed over the target. Links are followed. The mode is that of the file it replaces, else what the umask gives.
 * Temporary files for the same target whose process was killed are removed first.
 *
 * Writes block, which is the fastest for small pieces; `copy` is for large ones.
 */
export async function fileSink(path: string): Promise<FileSink> {
  const target = await followLinks(path);
  await removeLitter(dirname(target), (name) => name === basename(target));
  return createSink(target);
}

/** `fileSink` without the look for litter. */
export async function createSink(path: string): Promise<FileSink> {
  const target = await followLinks(path);
  const temporary = temporaryFor(target);
  let fd: number;
  try {
    // A device or pipe would be replaced by a file, not written to.
    if (statSync(target, { throwIfNoEntry: false })?.isFile() === false) {
      throw new SafetensorsError("IO", `${target} is not a file, and only a file can be replaced`, {
        file: target,
      });
    }
    fd = openSync(temporary, "wx", 0o666);
  } catch (cause) {
    throw ioError(target, "write", cause);
  }
  let position = 0;
  let buffers: readonly Uint8Array[] | undefined;
  let open = true;
  const close = (): void => {
    if (!open) return;
    open = false;
    closeSync(fd);
  };
  const prepare = (): void => {
    if (!open) return;
    try {
      const replaced = statSync(target, { throwIfNoEntry: false });
      if (replaced) fchmodSync(fd, replaced.mode & 0o7777);
      fsyncSync(fd);
      close();
    } catch (cause) {
      throw ioError(target, "write", cause);
    }
  };
  return {
    temporary,
    write(bytes) {
      try {
        for (let done = 0; done < bytes.length; ) {
          const count = writeSync(fd, bytes, done, Math.min(bytes.length - done, WRITE_BYTES), position);
          done += count;
          position += count;
        }
      } catch (cause) {
        throw ioError(target, "write", cause);
      }
    },
    async copy(range, options) {
      buffers ??= copyBuffers();
      await copyRange(fd, target, position, range, buffers, options);
      position += range.length;
    },
    prepare,
    async commit() {
      prepare();
      try {
        await rename(temporary, target);
        flushFolder(dirname(target));
      } catch (cause) {
        throw ioError(target, "write", cause);
      }
    },
    async abort() {
      try {
        close();
      } catch {
        // The file goes anyway.
      }
      await rm(temporary, { force: true }).catch(() => {});
    },
  };
}

/** The file that a path leads to, which need not exist yet, even where links point at it. */
export async function followLinks(path: string): Promise<string> {
  let target = path;
  for (let links = 0; links < MOST_LINKS; links++) {
    // Before "..", links to folders must be resolved as the system does, not as text.
    const folder = await realpath(dirname(target)).catch(() => resolve(dirname(target)));
    target = join(folder, basename(target));
    const link = await readlink(target).catch(() => undefined);
    if (link === undefined) return target;
    target = resolve(folder, link);
  }
  throw new SafetensorsError("IO", `cannot write ${path}: it is a link that leads back to itself`, {
    file: path,
  });
}

/** Makes new names in a folder last through a power cut. Not every system can open a folder for that; then it is left. */
export function flushFolder(folder: string): void {
  let fd: number | undefined;
  try {
    fd = openSync(folder, "r");
    fsyncSync(fd);
  } catch {
    // The file is complete and in place; only its name may be lost with the power.
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
