import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { SafetensorsError } from "../errors.ts";
import { orClose } from "../source/or-close.ts";
import { checkRange } from "../source/range.ts";
import type { ByteSource, ReadOptions } from "../source/source.ts";
import { hasJournal } from "./edit/journal-look.ts";
import { ioError } from "./io-error.ts";

/** Largest single read: two gigabytes or more in one call abort Node, and smaller pieces run side by side. */
const PIECE_BYTES = 16 << 20;

/** Pieces of one read in flight: as many as Node has threads for file work. */
const PIECES_IN_FLIGHT = 4;

/** Options of `openFile`. */
export interface FileOptions {
  /**
   * Open and read without giving way to other work. For many small reads one after another this is 5 to 10 times faster;
   * for a server it is wrong, as nothing else runs meanwhile. A source that is not closed then stays open until the process
   * ends.
   */
  readonly blocking?: boolean | undefined;
}

/**
 * A file as a source, by positional reads. Close it when done. An edit of it that was interrupted (see `editFile`) is
 * finished first; one that is under way is waited for.
 *
 * A file that changes while it is open is an error, never mixed data: size and time of modification are looked at again
 * after every read, so that what a read gives is from the file as it was opened. Bytes that are gone are `SHORT_READ`,
 * any other change is `SOURCE_CHANGED`. No change are: another file that takes the name (the old one goes on being
 * read), `unlink`, `chmod` and links.
 *
 * This sees what the file system says. A write goes unseen where the time of modification stays as it was when the file
 * was opened: a call of `write` that had begun by then; one right after, where the clock for such times is coarse (some
 * milliseconds on Linux before 6.13); memory that maps the file; a time that is set back; and, for some seconds, network
 * file systems that remember times.
 */
export async function openFile(path: string, options: FileOptions = {}): Promise<FileSource> {
  for (;;) {
    const source = await openAsIs(path, options);
    if (!(await orClose(source, async () => hasJournal(path) && finish(path)))) return source;
    await source.close();
  }
}

/** Finishes edits that were interrupted; loaded apart, as it is hardly ever needed. */
async function finish(path: string): Promise<boolean> {
  const { finishEdits } = await import("./edit/journal-finish.ts");
  return finishEdits(path);
}

/** A pipe would wait for its other end before it could be seen that it is no file. */
const OPEN_FLAGS = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

async function openAsIs(path: string, { blocking }: FileOptions): Promise<FileSource> {
  let file: FileHandle | number | undefined;
  try {
    file = blocking ? openSync(path, OPEN_FLAGS) : await open(path, OPEN_FLAGS);
    const status = fstatSync(descriptorOf(file));
    if (!status.isFile()) throw new SafetensorsError("IO", `${path} is not a file`, { file: path });
    return new FileSource(path, file, status);
  } catch (cause) {
    if (file !== undefined) await closeOpened(file);
    throw ioError(path, "open", cause);
  }
}

function descriptorOf(file: FileHandle | number): number {
  return typeof file === "number" ? file : file.fd;
}

function closeOpened(file: FileHandle | number): void | Promise<void> {
  return typeof file === "number" ? closeSync(file) : file.close();
}

/** See `openFile`. */
export class FileSource implements ByteSource {
  readonly name: string;
  readonly size: number;
  /** Measured, with the look at the time: a read that blocks takes three microseconds, one that does not, twenty. */
  readonly cost: { readonly operation: number; readonly byte: number };
  readonly #file: FileHandle | number;
  readonly #modified: number;
  readonly #underWay = new Set<Promise<void>>();
  #closed = false;

  /**
   * @param file the opened file; a descriptor if reads are to block.
   * @param status size and time of modification that the file is to keep.
   */
  constructor(name: string, file: FileHandle | number, status: Pick<Stats, "size" | "mtimeMs">) {
    this.name = name;
    this.size = status.size;
    this.cost = { operation: typeof file === "number" ? 3e-6 : 20e-6, byte: 0.1e-9 };
    this.#file = file;
    this.#modified = status.mtimeMs;
  }

  async read(offset: number, length: number, options?: ReadOptions): Promise<Uint8Array> {
    checkRange(this, offset, length);
    const target = new Uint8Array(length);
    await this.readInto(offset, target, options);
    return target;
  }

  readInto(offset: number, target: Uint8Array, options?: ReadOptions): void | Promise<void> {
    checkRange(this, offset, target.length);
    if (this.#closed)
      throw new SafetensorsError("CLOSED", `${this.name} has been closed`, { file: this.name });
    options?.signal?.throwIfAborted();
    if (typeof this.#file !== "number") return this.#readLater(this.#file, offset, target, options);
    this.#readNow(this.#file, offset, target);
    this.#checkUnchanged();
  }

  /** Waits for the reads that are under way. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.allSettled(this.#underWay);
    await closeOpened(this.#file);
  }

  #readNow(descriptor: number, offset: number, target: Uint8Array): void {
    let done = 0;
    while (done < target.length) {
      const length = Math.min(target.length - done, PIECE_BYTES);
      let count: number;
      try {
        count = readSync(descriptor, target, done, length, offset + done);
      } catch (cause) {
        throw ioError(this.name, "read", cause);
      }
      if (count === 0) throw this.#shortRead(offset + done, target.length - done);
      done += count;
    }
  }

  #readLater(handle: FileHandle, offset: number, target: Uint8Array, options?: ReadOptions): Promise<void> {
    const read = this.#readInPieces(handle, offset, target, options).finally(() => {
      this.#underWay.delete(read);
    });
    this.#underWay.add(read);
    return read;
  }

  async #readInPieces(
    handle: FileHandle,
    offset: number,
    target: Uint8Array,
    options?: ReadOptions,
  ): Promise<void> {
    let next = 0;
    const worker = async (): Promise<void> => {
      while (next < target.length) {
        const start = next;
        next = Math.min(start + PIECE_BYTES, target.length);
        try {
          options?.signal?.throwIfAborted();
          await this.#readPiece(handle, offset + start, target.subarray(start, next));
        } catch (error) {
          next = target.length;
          throw error;
        }
      }
    };
    const pieces = Math.ceil(target.length / PIECE_BYTES);
    const workers = Array.from({ length: Math.min(pieces, PIECES_IN_FLIGHT) }, worker);
    // After a failure too, nothing may write into the caller's memory any more: so wait for all.
    for (const result of await Promise.allSettled(workers))
      if (result.status === "rejected") throw result.reason;
    this.#checkUnchanged();
  }

  async #readPiece(handle: FileHandle, offset: number, target: Uint8Array): Promise<void> {
    let done = 0;
    while (done < target.length) {
      const { bytesRead } = await handle
        .read(target, done, target.length - done, offset + done)
        .catch((cause: unknown) => {
          throw ioError(this.name, "read", cause);
        });
      if (bytesRead === 0) throw this.#shortRead(offset + done, target.length - done);
      done += bytesRead;
    }
  }

  /**
   * Systems set the time before they write the bytes: if it is still the same after a read, all it brought is of one
   * version. The call blocks, because the answer lies in memory: it takes a microsecond, and a whole read's time if
   * it waits for a thread.
   */
  #checkUnchanged(): void {
    let status: Stats;
    try {
      status = fstatSync(descriptorOf(this.#file));
    } catch (cause) {
      throw ioError(this.name, "read", cause);
    }
    const { size, mtimeMs } = status;
    if (size === this.size && mtimeMs === this.#modified) return;
    const what =
      size === this.size ? "it has been written to" : `it had ${this.size} bytes and now has ${size}`;
    const text = `${this.name} changed while it was open: ${what}`;
    throw new SafetensorsError("SOURCE_CHANGED", text, { file: this.name });
  }

  #shortRead(at: number, missing: number): SafetensorsError {
    const text = `${this.name} ends at byte ${at}, ${missing} bytes short: it was cut while it was being read`;
    return new SafetensorsError("SHORT_READ", text, { file: this.name, at });
  }
}
