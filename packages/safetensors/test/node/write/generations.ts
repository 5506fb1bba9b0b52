import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { open } from "../../../src/checkpoint/open.ts";
import { openPath } from "../../../src/node/open-path.ts";
import {
  type OutputOptions,
  type WrittenOutputs,
  writeOutputs,
} from "../../../src/node/write/write-outputs.ts";
import type { TensorStream } from "../../../src/save/save.ts";
import { shardName } from "../../../src/save/split.ts";

/** Names of the tensors of every checkpoint here. Each value of each says which generation it is of. */
const NAMES = ["a", "b", "c", "d", "e", "f"];

function tensor(generation: number): TensorStream {
  const bytes = new Uint8Array(new Float32Array(8).fill(generation).buffer);
  return {
    dtype: "F32",
    shape: [8],
    *chunks() {
      yield bytes;
    },
  };
}

/** Writes a checkpoint of as many files; with an index, unless there is only one. */
export function writeGeneration(
  folder: string,
  generation: number,
  count: number,
  { stem = "model", ...options }: OutputOptions & { readonly stem?: string } = {},
): Promise<WrittenOutputs> {
  const files = Array.from({ length: count }, (_, position) => ({
    path: join(folder, shardName(stem, "safetensors", position + 1, count)),
    tensors: new Map(
      NAMES.filter((_name, index) => index % count === position).map((name) => [name, tensor(generation)]),
    ),
    metadata: new Map([["format", "pt"]]),
    dataLength: (32 * NAMES.length) / count,
  }));
  const index = { path: join(folder, `${stem}.safetensors.index.json`), metadata: {} };
  return writeOutputs(folder, files, count > 1 ? index : undefined, options);
}

/** Files in the folder of any checkpoint, and what is hidden there. */
export function listed(folder: string): string[] {
  return readdirSync(folder).sort();
}

/** Paths of what is visible. */
export function visiblePaths(folder: string): string[] {
  return listed(folder)
    .filter((name) => !name.startsWith("."))
    .map((name) => join(folder, name));
}

/** Which generation a reader sees; throws unless it sees all of one. */
export type Reader = (folder: string, stem: string) => Promise<number>;

/** As this library opens a folder. */
const ours: Reader = async (folder) => {
  await using checkpoint = await openPath(folder);
  const values: Values = new Map();
  for (const { name } of checkpoint) values.set(name, await checkpoint.get(name).toFloat32());
  return generationOf(values);
};

/** As those do who follow an index, and load all files where there is none. */
const byIndex: Reader = async (folder, stem) => {
  const index = join(folder, `${stem}.safetensors.index.json`);
  if (existsSync(index)) return followed(folder, index);
  const files = visiblePaths(folder).filter((path) => path.endsWith(".safetensors"));
  return generationOf(await valuesIn(files));
};

/** As those do who take the single file where there is one. */
const bySingle: Reader = async (folder, stem) => {
  const single = join(folder, `${stem}.safetensors`);
  return existsSync(single) ? generationOf(await valuesIn([single])) : byIndex(folder, stem);
};

/** The readers of the field. */
export const READERS: Readonly<Record<"ours" | "byIndex" | "bySingle", Reader>> = { ours, byIndex, bySingle };

type Values = Map<string, Float32Array>;

async function followed(folder: string, index: string): Promise<number> {
  const { weight_map } = JSON.parse(readFileSync(index, "utf8")) as { weight_map: Record<string, string> };
  const values: Values = new Map();
  for (const [name, file] of Object.entries(weight_map)) {
    const checkpoint = await open(readFileSync(join(folder, file)));
    values.set(name, await checkpoint.get(name).toFloat32());
  }
  return generationOf(values);
}

async function valuesIn(files: readonly string[]): Promise<Values> {
  const values: Values = new Map();
  for (const file of files) {
    for (const handle of await open(readFileSync(file))) {
      if (values.has(handle.name)) throw new Error(`${handle.name} is in two files`);
      values.set(handle.name, await handle.toFloat32());
    }
  }
  return values;
}

function generationOf(values: Values): number {
  if ([...values.keys()].sort().join() !== NAMES.join()) throw new Error(`only ${[...values.keys()]}`);
  const all = new Set([...values.values()].flatMap((array) => [...array]));
  if (all.size !== 1) throw new Error(`a mix of ${[...all]}`);
  return [...all][0]!;
}
