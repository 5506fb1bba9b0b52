import { closeSync, fstatSync, openSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { SafetensorsError } from "../../errors.ts";
import type { TensorSpec } from "../../format/encode.ts";
import type { Sink } from "../../save/sink.ts";
import { type Chunks, SafetensorsWriter } from "../../save/writer.ts";
import type { ReadOptions } from "../../source/source.ts";
import { ioError } from "../io-error.ts";
import { removeLitter, temporaryFor } from "../write/litter.ts";
import type { Disk } from "./disk.ts";
import { JOURNAL_FORMAT, type JournalFile, SECTOR_BYTES } from "./journal.ts";
import { ownOwner } from "./journal-owner.ts";
import { bytesAfter, type NewBytes, type SectorRange, sumsBefore, toSectors } from "./ranges.ts";

/** How long blocking reads and writes may keep other events waiting, such as the signal that is to stop them. */
const BUSY_MILLISECONDS = 50;

/** What an edit does to one file, which is no link: new bytes for parts of it, or a file beside it that takes its place. */
export interface FileEdit {
  readonly path: string;
  /** What the file must still begin with when the journal is there. */
  readonly head: Uint8Array;
  readonly parts?: readonly NewBytes[];
  /** Bare name of the file that takes its place. */
  readonly next?: string;
  /** For a file that was copied into that one: when it was last written to, in nanoseconds since 1970. */
  readonly modified?: bigint;
}

/**
 * Writes a journal: under a temporary name, flushed, and then at once under its own, if that is free.
 *
 * @param edits of files in the folder of the journal.
 * @throws `IO` if another edit is under way; what reading the new bytes throws. No journal is left then.
 */
export async function writeJournal(
  disk: Disk,
  path: string,
  edits: readonly FileEdit[],
  { signal }: ReadOptions = {},
): Promise<void> {
  const opened: number[] = [];
  const tensors = new Map<string, { readonly spec: TensorSpec; chunks(): Chunks }>();
  let mode = 0o666;
  try {
    const files = edits.map((edit, number): Omit<JournalFile, "ranges"> => {
      const fd = onDisk(edit.path, "open", () => openSync(edit.path, "r"));
      opened.push(fd);
      const status = fstatSync(fd, { bigint: true });
      const size = Number(status.size);
      mode &= Number(status.mode);
      const file = { name: basename(edit.path), size, inode: String(status.ino) };
      for (const range of toSectors(edit.parts ?? [], size)) addRange(tensors, number, fd, range);
      if (edit.next === undefined) return file;
      const next = join(dirname(path), edit.next);
      const { ino } = onDisk(next, "open", () => statSync(next, { bigint: true }));
      return { ...file, next: { name: edit.next, inode: String(ino) } };
    });
    const metadata = {
      format: JOURNAL_FORMAT,
      owner: JSON.stringify(ownOwner()),
      files: JSON.stringify(files),
    };
    await removeLitter(dirname(path), (name) => name === basename(edits[0]!.path));
    // Named like a file that is being saved, so that whoever clears away after those clears this away too.
    const sink = journalSink(disk, temporaryFor(edits[0]!.path), path, mode);
    try {
      const specs = Array.from(tensors, ([name, { spec }]) => [name, spec] as const);
      const writer = await SafetensorsWriter.begin(sink, specs, { metadata });
      for (const { name } of writer.tensors) {
        await writer.write(name, stoppable(tensors.get(name)!.chunks(), signal));
      }
      signal?.throwIfAborted();
      await writer.finish();
    } catch (error) {
      await sink.abort();
      throw error;
    }
  } finally {
    for (const fd of opened) closeSync(fd);
  }
}

function addRange(
  tensors: Map<string, { readonly spec: TensorSpec; chunks(): Chunks }>,
  file: number,
  fd: number,
  range: SectorRange,
): void {
  const length = range.end - range.begin;
  tensors.set(`${file}.before.${range.begin}`, {
    spec: { dtype: "U32", shape: [Math.ceil(length / SECTOR_BYTES)] },
    chunks: () => sumsBefore(fd, range),
  });
  tensors.set(`${file}.after.${range.begin}`, {
    spec: { dtype: "U8", shape: [length] },
    chunks: () => bytesAfter(fd, range),
  });
}

/** Passes chunks on, stops when the caller has given up, and lets other events come between. */
async function* stoppable(chunks: Chunks, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
  let lastTurn = performance.now();
  for await (const chunk of chunks) {
    if (performance.now() - lastTurn > BUSY_MILLISECONDS) {
      await nextTurn();
      lastTurn = performance.now();
    }
    signal?.throwIfAborted();
    yield chunk;
  }
}

/** An error of the system becomes one that names the file; what else is thrown, such as the reason of a signal, stays. */
function onDisk<T>(path: string, action: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    throw typeof (cause as NodeJS.ErrnoException).code === "string" ? ioError(path, action, cause) : cause;
  }
}

function journalSink(disk: Disk, temporary: string, path: string, mode: number): Sink {
  let at = 0;
  let fd: number | undefined = onDisk(path, "write", () => disk.create(temporary, mode));
  const close = (): void => {
    if (fd !== undefined) disk.close(fd);
    fd = undefined;
  };
  const link = (): void => {
    try {
      disk.link(temporary, path);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== "EEXIST") throw cause;
      const text = `another edit is under way: ${path} has just appeared`;
      throw new SafetensorsError("IO", text, { file: path, cause });
    }
  };
  return {
    write(bytes) {
      onDisk(path, "write", () => disk.write(fd!, bytes, at));
      at += bytes.length;
    },
    async commit() {
      onDisk(path, "write", () => {
        disk.flush(fd!);
        close();
        link();
        disk.remove(temporary);
        disk.flushFolder(dirname(path));
      });
    },
    async abort() {
      try {
        close();
        disk.remove(temporary);
      } catch {
        // What could not be written can perhaps not be removed either.
      }
    },
  };
}
