import { lstatSync } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Sink } from "../../save/sink.ts";
import { ioError } from "../io-error.ts";
import { type FileSink, fileSink, flushFolder, followLinks } from "./file-sink.ts";

/** How long blocking writes may keep other events waiting, such as the signal that is to stop them. */
const BUSY_MILLISECONDS = 50;

/** A file that is complete, but still has its temporary name. */
export interface PreparedFile {
  readonly path: string;
  readonly temporary: string;
}

interface Member extends PreparedFile {
  /** Undefined for a file that was complete when it was added. */
  readonly sink: FileSink | undefined;
}

/**
 * Files that belong together: all are written under temporary names, and only when the last one is complete do they
 * take their places. Until then, what was there before stays as it was.
 */
export class FileGroup {
  readonly #members: Member[] = [];
  #lastTurn = performance.now();

  /** Begins a file. Its own `commit` brings all of it to the disk; that of the group gives it its name. */
  async add(path: string): Promise<Sink & Pick<FileSink, "temporary" | "copy">> {
    const sink = await fileSink(path);
    this.#members.push({ path, temporary: sink.temporary, sink });
    return {
      temporary: sink.temporary,
      write: (bytes) => {
        sink.write(bytes);
        return this.#giveWay();
      },
      copy: (range, options) => sink.copy(range, options),
      commit: async () => sink.prepare(),
      abort: () => sink.abort(),
    };
  }

  /** Adds a file that is complete already. */
  adopt(file: PreparedFile): void {
    this.#members.push({ ...file, sink: undefined });
  }

  /** Brings all files to the disk, where they still have their temporary names. */
  prepare(): readonly PreparedFile[] {
    for (const { sink } of this.#members) sink?.prepare();
    return this.#members;
  }

  /**
   * Puts all files in their places, in the order in which they were added. If one cannot be, those that are in place are
   * removed unless they replaced one.
   */
  async commit(): Promise<void> {
    const added: string[] = [];
    try {
      for (const { path, temporary } of this.prepare()) {
        const target = await followLinks(path);
        const isNew = !lstatSync(target, { throwIfNoEntry: false });
        await rename(temporary, target).catch((cause: unknown) => {
          throw ioError(target, "write", cause);
        });
        if (isNew) added.push(target);
        flushFolder(dirname(target));
      }
    } catch (error) {
      for (const target of added) await rm(target).catch(() => {});
      throw error;
    }
  }

  /** Gives up all files that are not in their places. */
  async abort(): Promise<void> {
    for (const { sink, temporary } of this.#members) {
      await sink?.abort();
      await rm(temporary, { force: true }).catch(() => {});
    }
  }

  #giveWay(): void | Promise<void> {
    if (performance.now() - this.#lastTurn < BUSY_MILLISECONDS) return;
    return nextTurn().then(() => {
      this.#lastTurn = performance.now();
    });
  }
}
