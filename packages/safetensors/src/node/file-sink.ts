import { randomBytes } from "node:crypto";
import { closeSync, fchmodSync, fsyncSync, openSync, statSync, writeSync } from "node:fs";
import { readlink, realpath, rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import type { Sink } from "../save/sink.ts";
import { ioError } from "./io-error.ts";

/**
 * A file that appears whole or not at all: written beside its target under a name of its own, flushed to the disk, then
 * renamed over the target. Links are followed. The mode is that of the file it replaces, else what the umask gives.
 *
 * Writes block: one writer with pieces of 1 to 4 MiB is the fastest way to write a file from Node.
 */
export async function fileSink(path: string): Promise<Sink> {
  const target = await followLinks(path);
  const temporary = join(dirname(target), `.${basename(target)}.${randomBytes(6).toString("hex")}.tmp`);
  let fd: number;
  try {
    fd = openSync(temporary, "wx", 0o666);
  } catch (cause) {
    throw ioError(target, "write", cause);
  }
  let open = true;
  const close = (): void => {
    if (open) closeSync(fd);
    open = false;
  };
  return {
    write(bytes) {
      try {
        for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, bytes.length - done);
      } catch (cause) {
        throw ioError(target, "write", cause);
      }
    },
    async commit() {
      try {
        const replaced = statSync(target, { throwIfNoEntry: false });
        if (replaced) fchmodSync(fd, replaced.mode & 0o7777);
        fsyncSync(fd);
        close();
        await rename(temporary, target);
        flushFolder(dirname(target));
      } catch (cause) {
        throw ioError(target, "write", cause);
      }
    },
    async abort() {
      close();
      await rm(temporary, { force: true }).catch(() => {});
    },
  };
}

/** The file that a path leads to, which need not exist yet, even where a link points at it. */
async function followLinks(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch {
    const link = await readlink(path).catch(() => undefined);
    return link === undefined ? resolve(path) : resolve(dirname(path), link);
  }
}

/** Makes the rename itself last through a power cut. Not every system can open a folder for that; then it is left. */
function flushFolder(folder: string): void {
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
