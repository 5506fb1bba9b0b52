import fs from "node:fs";
import fsp from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import { after, before } from "node:test";
import { ownPlace, writerTag } from "../../../src/node/write/litter-writer.ts";

/** What changes a disk, and is worth a look. Reading, and closing, is left alone. */
const CALLS = ["writeSync", "fchmodSync", "openSync"] as const;
const PROMISES = ["rename", "rm", "unlink", "link", "copyFile", "mkdir", "rmdir", "open"] as const;

/** What changes the names in a folder: what half a temporary file holds does not matter. */
const NAMING: ReadonlySet<string> = new Set(["openSync", "rename", "unlink", "link", "copyFile"]);

type Patched = Record<string, (...args: unknown[]) => unknown>;

/** Decides before a call whether it is made: by throwing, if not. */
export type Before = (call: string, args: readonly unknown[]) => void;

/** Runs work with a say in every call that changes the disk. Nothing is flushed. */
export async function withDisk<T>(beforeCall: Before, work: () => Promise<T>): Promise<T> {
  const undo: (() => void)[] = [];
  const patch = (module: Patched, calls: readonly string[], isAsync: boolean): void => {
    for (const call of calls) {
      const original = module[call]!;
      module[call] = (...args) => {
        if (/^open/.test(call) && (args[1] ?? "r") === "r") return original(...args);
        if (!isAsync) {
          beforeCall(call, args);
          return original(...args);
        }
        return (async () => {
          beforeCall(call, args);
          return original(...args);
        })();
      };
      undo.push(() => {
        module[call] = original;
      });
    }
  };
  patch(fs as unknown as Patched, CALLS, false);
  patch(fsp as unknown as Patched, PROMISES, true);
  const { fsyncSync } = fs;
  fs.fsyncSync = (...args) => beforeCall("fsyncSync", args);
  undo.push(() => {
    fs.fsyncSync = fsyncSync;
  });
  syncBuiltinESMExports();
  try {
    return await work();
  } finally {
    for (const action of undo) action();
    syncBuiltinESMExports();
  }
}

/** Flushes nothing in the tests of this file: it takes most of the time, and changes nothing that a process can see. */
export function flushNothing(): void {
  const { fsyncSync } = fs;
  const put = (fsync: typeof fsyncSync): void => {
    fs.fsyncSync = fsync;
    syncBuiltinESMExports();
  };
  before(() => put(() => {}));
  after(() => put(fsyncSync));
}

/** Thrown instead of every call that a killed process would not have come to. */
export class Killed extends Error {}

/**
 * Runs work up to its call number `step` that changes names, which is the first one that is not made any more.
 *
 * @returns whether it came that far; if not, it was done before
 */
export async function killedAt(step: number, work: () => Promise<unknown>): Promise<boolean> {
  let calls = 0;
  const beforeCall: Before = (call) => {
    if (NAMING.has(call) && calls++ >= step) throw new Killed("killed");
    if (calls > step) throw new Killed("killed");
  };
  try {
    await withDisk(beforeCall, work);
  } catch (error) {
    if (calls <= step) throw error;
  }
  return calls > step;
}

/** Makes what this process has left in a folder that of a process which is gone, or of one that ran elsewhere. */
export function bury(folder: string, place: string = ownPlace()): void {
  const [own = ""] = /^\d+-\d+-/.exec(writerTag()) ?? [];
  const rename = (text: string): string =>
    text
      .replaceAll(`.${own}${ownPlace()}`, `.999999999-1-${place}`)
      .replaceAll(`"${ownPlace()}"`, `"${place}"`);
  for (const name of fs.readdirSync(folder)) {
    const path = join(folder, name);
    if (/\.json(\..*\.tmp)?$/.test(name)) fs.writeFileSync(path, rename(fs.readFileSync(path, "utf8")));
    fs.renameSync(path, join(folder, rename(name)));
  }
}
