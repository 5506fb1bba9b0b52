import { opendir, stat } from "node:fs/promises";
import { join } from "node:path";
import { type ByteSource, observed, SafetensorsError, type Traffic } from "safetensors.js";
import { openFile } from "safetensors.js/node";
import { placeOf } from "./address.ts";

/** A file to be scanned. */
export interface ScanTarget {
  /** What to call it: its path or address. */
  readonly file: string;
  readonly open: () => Promise<ByteSource>;
}

/** The files that an input stands for: itself, all files of a folder and below it, or those of a repository or bucket. */
export async function* filesOf(input: string, traffic: Traffic): AsyncGenerator<ScanTarget, void, undefined> {
  if (!/^[a-z0-9]+:\/\//i.test(input) && (await isFolder(input))) {
    let found = false;
    for await (const file of filesBelow(input)) {
      found = true;
      yield { file, open: async () => observed(await openFile(file, { blocking: true }), traffic) };
    }
    if (!found) throw new SafetensorsError("NOT_FOUND", "there are no files in the folder");
    return;
  }
  const { store, file } = await placeOf(input, traffic);
  if (file !== undefined) return yield { file: input, open: () => store.open(file) };
  if (!store.list) throw new SafetensorsError("UNSUPPORTED", "its files cannot be listed: name one of them");
  const base = input.replace(/\/+$/, "");
  for (const name of [...(await store.list())].sort())
    yield { file: `${base}/${name}`, open: () => store.open(name) };
}

async function isFolder(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return found?.isDirectory() ?? false;
}

/** Files of a folder and the folders in it, in order. Links to files are followed, as caches are made of them; links to folders are not. */
async function* filesBelow(folder: string): AsyncGenerator<string, void, undefined> {
  const waiting = [folder];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const files: string[] = [];
    const folders: string[] = [];
    for await (const entry of await opendir(next)) {
      const path = join(next, entry.name);
      if (entry.isDirectory()) {
        if (entry.name !== ".git") folders.push(path);
      } else if (entry.isFile() || (entry.isSymbolicLink() && !(await isFolder(path)))) {
        files.push(path);
      }
    }
    yield* files.sort();
    for (const path of folders.sort().reverse()) waiting.push(path);
  }
}
