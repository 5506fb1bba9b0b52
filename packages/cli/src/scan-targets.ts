import type { Dirent } from "node:fs";
import { readdir, realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { type ByteSource, observed, SafetensorsError, type Traffic } from "safetensors.js";
import { openFile } from "safetensors.js/node";
import { placeOf } from "./address.ts";
import { expandInputs } from "./inputs.ts";
import { nameText } from "./output/text.ts";

/** A file to be scanned. */
export interface ScanTarget {
  /** What to call it: its path or address. */
  readonly file: string;
  readonly open: () => Promise<ByteSource>;
}

/**
 * The files that an input stands for: itself or those that match it, all files of a folder and below it, or those of a
 * repository or bucket. What leads to no file is a target that fails.
 */
export async function* targetsOf(
  input: string,
  traffic: Traffic,
): AsyncGenerator<ScanTarget, void, undefined> {
  let paths: readonly string[];
  try {
    paths = await expandInputs([input]);
  } catch (error) {
    return yield failing(input, error);
  }
  for (const path of paths) {
    try {
      yield* filesOf(path, traffic);
    } catch (error) {
      yield failing(path, error);
    }
  }
}

const failing = (file: string, error: unknown): ScanTarget => ({ file, open: () => Promise.reject(error) });

async function* filesOf(input: string, traffic: Traffic): AsyncGenerator<ScanTarget, void, undefined> {
  if (!/^[a-z0-9]+:\/\//i.test(input) && (await isFolder(input))) {
    let found = false;
    for await (const target of filesBelow(input, traffic)) {
      found = true;
      yield target;
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

/**
 * Whatever is in a folder and the folders in it, in order, `.git` aside. What is neither file nor folder (a pipe, a device,
 * a link to nothing) and a folder that cannot be listed come too, as targets that fail. Links are followed, those to folders
 * last and to each folder once, however it is reached.
 */
async function* filesBelow(folder: string, traffic: Traffic): AsyncGenerator<ScanTarget, void, undefined> {
  const seen = new Set<string>();
  const waiting: string[] = [];
  const links: string[] = [];
  for (let next: string | undefined = folder; next !== undefined; next = waiting.pop() ?? links.shift()) {
    let entries: Dirent[];
    try {
      const place = await realpath(next);
      if (seen.has(place)) continue;
      seen.add(place);
      entries = await readdir(next, { withFileTypes: true });
    } catch (cause) {
      const text = `cannot list ${nameText(next)}: ${(cause as Error).message}`;
      yield failing(next, new SafetensorsError("IO", text, { file: next, cause }));
      continue;
    }
    const files: string[] = [];
    const folders: string[] = [];
    for (const entry of entries.sort(byName)) {
      const path = join(next, entry.name);
      if (entry.isDirectory()) {
        if (entry.name !== ".git") folders.push(path);
      } else if (entry.isSymbolicLink() && (await isFolder(path))) links.push(path);
      else files.push(path);
    }
    for (const file of files)
      yield { file, open: async () => observed(await openFile(file, { blocking: true }), traffic) };
    for (const path of folders.reverse()) waiting.push(path);
  }
}

const byName = (a: Dirent, b: Dirent): number => (a.name < b.name ? -1 : 1);
