import { lstatSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { checkNumbering } from "../../checkpoint/shard-index.ts";
import { openWeights } from "../open-path.ts";
import { writeIndexFile } from "./commit-note.ts";
import { ownPlace } from "./litter-writer.ts";

/**
 * Writes an index for an old checkpoint that has none, so that new files beside its own belong to nobody. If the process
 * is killed before the new index takes its place, it stays until the next save: what it says is true.
 *
 * @param index where it goes.
 * @param old names of files in the folder: those that are to be replaced or removed.
 * @returns whether it did
 */
export async function leadWithOld(index: string, old: readonly string[]): Promise<boolean> {
  const folder = dirname(index);
  const there = [basename(index), ...old].filter((name) => exists(join(folder, name)));
  if (there.length === 0 || there.some((name) => name.endsWith(".json"))) return false;
  const weightMap = await weightMapOf(folder, there).catch(() => undefined);
  // Files that make no checkpoint together have no old state to keep.
  if (!weightMap) return false;
  const note = { place: ownPlace(), id: "0".repeat(12), arrivals: [], drop: [] };
  await writeIndexFile(index, {}, weightMap, note);
  return true;
}

async function weightMapOf(folder: string, files: readonly string[]): Promise<Map<string, string>> {
  checkNumbering(files);
  const weightMap = new Map<string, string>();
  for (const file of files) {
    await using checkpoint = await openWeights(join(folder, file), { readers: [] });
    for (const name of checkpoint.keys()) {
      if (weightMap.has(name)) throw new Error(`${name} is in two files`);
      weightMap.set(name, file);
    }
  }
  return weightMap;
}

function exists(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}
