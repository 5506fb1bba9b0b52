import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import type { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { type OpenedRanks, openRanks, type RanksOptions } from "../../src/consolidate/open-ranks.ts";
import { ListedStore } from "../checkpoint/counted-store.ts";
import { fixture, fixturePath } from "../fixtures.ts";
import { type HandMade, handMade } from "../support.ts";

/** Files as names and bytes. */
export type Files = Readonly<Record<string, Uint8Array>>;

/** The files of a fixture. */
export function fixtureFiles(folder: string): Record<string, Uint8Array> {
  const names = readdirSync(fixturePath(`consolidate/${folder}`)).filter((name) =>
    name.endsWith(".safetensors"),
  );
  return Object.fromEntries(names.map((name) => [name, fixture(`consolidate/${folder}/${name}`)]));
}

/** Opens files in memory and closes them after `use`, or after an error; checks that all are closed then. */
export async function withRanks<T>(
  files: Files,
  options: RanksOptions,
  use: (opened: OpenedRanks) => Promise<T> | T,
): Promise<T> {
  const store = new ListedStore(files);
  try {
    const opened = await openRanks(store, options);
    await using _ = opened.checkpoint;
    return await use(opened);
  } finally {
    assert.deepEqual([...store.held], []);
  }
}

/** Opens files in memory for their report alone. */
export function reportOf(files: Files, options: RanksOptions = {}): Promise<OpenedRanks["report"]> {
  return withRanks(files, options, ({ report }) => report);
}

/** A file of PyTorch's distributed checkpoint, with the index at which each tensor begins. */
export function placedFile(
  tensors: Readonly<Record<string, HandMade & { at: readonly number[] }>>,
): Uint8Array {
  const info = Object.fromEntries(
    Object.entries(tensors).map(([name, { at }]) => [name, { saved_offsets: at }]),
  );
  return handMade(tensors, { DCP_SHARDING_INFO: JSON.stringify(info), DCP_VERSION: "1.0", format: "pt" });
}

/** The name of a file of PyTorch's distributed checkpoint. */
export function shardName(rank: number, part = 1, parts = 1): string {
  const digits = (value: number): string => String(value).padStart(5, "0");
  return `shard-${digits(rank)}-model-${digits(part)}-of-${digits(parts)}.safetensors`;
}

/** Name, dtype, shape and hash of every tensor, sorted by name. */
export async function describe(checkpoint: Checkpoint): Promise<unknown[]> {
  const found = [];
  for (const tensor of checkpoint) {
    const sha256 = createHash("sha256")
      .update(await tensor.bytes())
      .digest("hex");
    found.push({ name: tensor.name, dtype: tensor.dtype, shape: [...tensor.shape], sha256 });
  }
  return sorted(found);
}

export function sorted<T extends { name: string }>(tensors: readonly T[]): T[] {
  return tensors.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}
