import { readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { parseShardIndex, type ShardIndex } from "../../checkpoint/shard-index.ts";
import { quote, SafetensorsError } from "../../errors.ts";
import { MAX_SHARDS } from "../../limits.ts";
import { pathPlace } from "../folder-store.ts";
import { ioError } from "../io-error.ts";
import { readSmallFile } from "../small-file.ts";
import { withoutNumbers } from "../write/litter.ts";
import type { Defect } from "./examine-file.ts";

/** The files that belong together, as far as they can be found. */
export interface DamagedSet {
  readonly folder: string;
  /** Names of the files that are there. */
  readonly files: readonly string[];
  /** Begin of their names, for the new ones. */
  readonly stem: string;
  /** What the index says, if it can be read. */
  readonly index?: ShardIndex;
  /** Name of the index, readable or not. */
  readonly indexFile?: string;
  readonly repairable: readonly Defect[];
  readonly fatal: readonly Defect[];
}

const INDEX_ENDING = ".safetensors.index.json";

/**
 * Finds the files of a damaged checkpoint: those of its index if it can be read, else the numbered set in the folder.
 *
 * @throws `NOT_FOUND`; `AMBIGUOUS` if the folder holds several checkpoints
 */
export async function findSet(path: string): Promise<DamagedSet> {
  const { folder, file } = await pathPlace(path);
  if (file !== undefined && !file.endsWith(".json")) {
    return { folder, files: [file], stem: stemOf(file), repairable: [], fatal: [] };
  }
  const names = (await list(folder)).filter((name) => !name.startsWith(".")).sort();
  const indexFile =
    file ??
    onlyOne(
      names.filter((name) => name.endsWith(INDEX_ENDING)),
      folder,
    );
  const stem = indexFile?.replace(/(\.safetensors)?(\.index)?\.json$/, "") ?? onlyStem(names, folder);
  const found = indexFile === undefined ? undefined : await readIndex(join(folder, indexFile));
  return found instanceof SafetensorsError || found === undefined
    ? fromNames(folder, names, stem, indexFile, found)
    : fromIndex(folder, names, stem, indexFile!, found);
}

function fromIndex(
  folder: string,
  names: readonly string[],
  stem: string,
  indexFile: string,
  index: ShardIndex,
): DamagedSet {
  const there = new Set(names);
  const files = index.files.filter((name) => there.has(name));
  const fatal = index.files
    .filter((name) => !there.has(name))
    .map((name) => ({ file: name, text: "it is missing" }));
  return { folder, files, stem, index, indexFile, repairable: [], fatal };
}

/** Files named `stem.safetensors` or `stem-00001-of-00003.safetensors`; the numbers must be those of one whole set. */
function fromNames(
  folder: string,
  names: readonly string[],
  stem: string,
  indexFile: string | undefined,
  error: SafetensorsError | undefined,
): DamagedSet {
  const files = names.filter((name) => name.endsWith(".safetensors") && stemOf(name) === stem);
  if (files.length === 0) {
    throw new SafetensorsError("NOT_FOUND", `${folder} holds no safetensors files of ${quote(stem)}`, {
      file: folder,
    });
  }
  if (files.length > MAX_SHARDS) {
    throw new SafetensorsError("LIMIT_EXCEEDED", `${folder} holds more than ${MAX_SHARDS} files`, {
      limit: "MAX_SHARDS",
    });
  }
  const isSharded = files.length > 1 || indexFile !== undefined || NUMBER.test(files[0]!);
  const repairable: Defect[] = [];
  if (error) {
    repairable.push({ file: indexFile!, text: `${error.reason}; a new one is made from the headers` });
  } else if (isSharded) repairable.push({ text: "there is no index; one is made from the headers" });
  const numbering = numberingDefect(files);
  const fatal = numbering === undefined ? [] : [{ text: numbering }];
  return { folder, files, stem, repairable, fatal, ...(indexFile !== undefined && { indexFile }) };
}

const NUMBER = /-(\d{5,6})-of-(\d{5,6})(?=\.safetensors$)/;

const stemOf = (file: string): string => basename(withoutNumbers(file), ".safetensors");

/** What the numbers in the names say is missing, or does not belong together. */
function numberingDefect(files: readonly string[]): string | undefined {
  const numbers = files.map((file) => NUMBER.exec(file));
  if (files.length === 1 && !numbers[0]) return undefined;
  const counts = new Set(numbers.map((found) => Number(found?.[2])));
  const [count] = counts;
  if (counts.size > 1 || Number.isNaN(count)) return "the files are not one numbered set";
  const there = new Set(numbers.map((found) => Number(found![1])));
  if (there.size === count && files.length === count) return undefined;
  const here = files.length === 1 ? "1 is" : `${files.length} are`;
  return `the names say that there are ${count} files, but ${here} here; which tensors are missing is not known`;
}

async function readIndex(path: string): Promise<ShardIndex | SafetensorsError> {
  try {
    return parseShardIndex(await readSmallFile(path));
  } catch (error) {
    if (error instanceof SafetensorsError && /INDEX|UNSAFE|LIMIT/.test(error.code)) return error;
    throw error;
  }
}

function onlyOne(candidates: readonly string[], folder: string): string | undefined {
  if (candidates.length < 2) return candidates[0];
  const text = `${folder} holds ${candidates.slice(0, 8).map(quote).join(", ")}; name the one to repair`;
  throw new SafetensorsError("AMBIGUOUS", text, { file: folder });
}

function onlyStem(names: readonly string[], folder: string): string {
  const stems = new Set(names.filter((name) => name.endsWith(".safetensors")).map(stemOf));
  const stem = onlyOne([...stems], folder);
  if (stem !== undefined) return stem;
  throw new SafetensorsError("NOT_FOUND", `${folder} holds no safetensors files`, { file: folder });
}

async function list(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (cause) {
    throw ioError(folder, "list", cause);
  }
}
