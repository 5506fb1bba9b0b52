import { realpath, rm } from "node:fs/promises";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Sink } from "../save/sink.ts";
import { type FileSink, fileSink } from "./file-sink.ts";

/** How long blocking writes may keep other events waiting, such as the signal that is to stop them. */
const BUSY_MILLISECONDS = 50;

interface Member {
  readonly path: string;
  readonly sink: FileSink;
  readonly isNew: boolean;
}

/**
 * Files that belong together: all are written under temporary names, and only when the last one is complete do they
 * take their places, in the order in which they were added. Until then, what was there before stays as it was.
 */
export class FileGroup {
  readonly #members: Member[] = [];
  #lastTurn = performance.now();

  /** Begins a file. Its own `commit` brings all of it to the disk; that of the group gives it its name. */
  async add(path: string): Promise<Sink & Pick<FileSink, "temporary">> {
    const isNew = (await realpath(path).catch(() => undefined)) === undefined;
    const sink = await fileSink(path);
    this.#members.push({ path, sink, isNew });
    return {
      temporary: sink.temporary,
      write: (bytes) => {
        sink.write(bytes);
        return this.#giveWay();
      },
      commit: async () => sink.prepare(),
      abort: () => sink.abort(),
    };
  }

  /** Puts all files in their places. If one cannot be, those that are in place are removed unless they replaced one. */
  async commit(): Promise<void> {
    let done = 0;
    try {
      for (const { sink } of this.#members) {
        await sink.commit();
        done++;
      }
    } catch (error) {
      for (const { path, isNew } of this.#members.slice(0, done)) {
        if (isNew)
          await realpath(path)
            .then(rm)
            .catch(() => {});
      }
      throw error;
    }
  }

  /** Gives up all files that are not in their places. */
  async abort(): Promise<void> {
    for (const { sink } of this.#members) await sink.abort();
  }

  #giveWay(): void | Promise<void> {
    if (performance.now() - this.#lastTurn < BUSY_MILLISECONDS) return;
    return nextTurn().then(() => {
      this.#lastTurn = performance.now();
    });
  }
}
