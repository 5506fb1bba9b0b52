import {
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  linkSync,
  openSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { flushFolder } from "../write/file-sink.ts";

/** Longest single write: from two gigabytes on Node refuses it. */
const WRITE_BYTES = 1 << 30;

/** Errors of file systems that have no links. */
const NO_LINKS: ReadonlySet<string | undefined> = new Set([
  "EPERM",
  "ENOTSUP",
  "EOPNOTSUPP",
  "ENOSYS",
  "EISDIR",
]);

/**
 * Every step by which an edit changes a disk. Tests stop after each of them, to see that what is left is always whole.
 */
export interface Disk {
  /** Makes a file that is not there yet, to be written. */
  create(path: string, mode: number): number;
  /** Opens a file that is there, and no link, to be read and written. */
  open(path: string): number;
  write(fd: number, bytes: Uint8Array, offset: number): void;
  /** Brings what was written to the disk itself. */
  flush(fd: number): void;
  close(fd: number): void;
  /** Gives a file a second name, never that of another file: `EEXIST` then. */
  link(path: string, name: string): void;
  rename(from: string, to: string): void;
  /** Removes a file, if it is there. */
  remove(path: string): void;
  /** Makes new, changed and removed names last. */
  flushFolder(folder: string): void;
}

/** The disk of this machine. */
export const realDisk: Disk = {
  create: (path, mode) => openSync(path, "wx", mode),
  open(path) {
    const { O_RDWR, O_NOFOLLOW = 0, O_NONBLOCK = 0 } = constants;
    return openSync(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK);
  },
  write(fd, bytes, offset) {
    for (let done = 0; done < bytes.length; ) {
      done += writeSync(fd, bytes, done, Math.min(bytes.length - done, WRITE_BYTES), offset + done);
    }
  },
  flush: fsyncSync,
  close: closeSync,
  link(path, name) {
    try {
      linkSync(path, name);
    } catch (error) {
      if (!NO_LINKS.has((error as NodeJS.ErrnoException).code) || existsSync(name)) throw error;
      // Two that come here at the same moment would not see each other: such file systems are for one machine.
      renameSync(path, name);
    }
  },
  rename: renameSync,
  remove: (path) => rmSync(path, { force: true }),
  flushFolder,
};
