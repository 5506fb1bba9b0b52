import { readFile, stat } from "node:fs/promises";
import { checkShardFileName, parseShardIndex, type ShardIndex } from "../../checkpoint/shard-index.ts";
import { MAX_INDEX_BYTES } from "../../limits.ts";
import { createSink } from "./file-sink.ts";
import { encodeIndex } from "./index-text.ts";

/** Key in the metadata of an index under which a commit says what is left to do. */
const KEY = "safetensors.js";

/** A new file of a commit that has not taken its place yet. */
export interface Arrival {
  /** Its visible name. */
  readonly name: string;
  /** Its temporary name in the same folder, if it was there. */
  readonly temporary: string | undefined;
  /** See `stampOf`. */
  readonly stamp: string;
}

/** What an index says of the commit that wrote it, as long as that is not finished. */
export interface CommitNote {
  /** Where its process ran: see `ownPlace`. */
  readonly place: string;
  /** Part of the names that its new files have until the old ones of the same names are replaced. */
  readonly id: string;
  /** New files. If the index has only its temporary name, they are to go again. */
  readonly arrivals: readonly Arrival[];
  /** Names of files to remove, once the index has its place: those of the old checkpoint, perhaps the index itself. */
  readonly drop: readonly string[];
}

/** An index that says what is left to do. */
export interface NotedIndex {
  readonly index: ShardIndex;
  readonly note: CommitNote;
}

/** The index in a file; undefined if there is none that can be read. */
export async function readIndexFile(path: string): Promise<ShardIndex | undefined> {
  const text = await readSmall(path);
  return text && parsed(text);
}

/** An index that has a note; undefined for any other, which is known without parsing it. */
export async function readNotedIndex(path: string): Promise<NotedIndex | undefined> {
  const text = await readSmall(path);
  const index = text?.includes(`"${KEY}"`) ? parsed(text) : undefined;
  const note = noteOf(index?.metadata[KEY]);
  return index && note && { index, note };
}

async function readSmall(path: string): Promise<Buffer | undefined> {
  try {
    return (await stat(path)).size > MAX_INDEX_BYTES ? undefined : await readFile(path);
  } catch {
    return undefined;
  }
}

function parsed(text: Uint8Array): ShardIndex | undefined {
  try {
    return parseShardIndex(text);
  } catch {
    return undefined;
  }
}

/** Writes an index; it replaces the one that is there as a whole. */
export async function writeIndexFile(
  path: string,
  metadata: Readonly<Record<string, unknown>>,
  weightMap: ReadonlyMap<string, string>,
  note?: CommitNote,
): Promise<void> {
  const sink = await createSink(path);
  try {
    await sink.write(encodeNotedIndex(metadata, weightMap, note));
    await sink.commit();
  } catch (error) {
    await sink.abort();
    throw error;
  }
}

/** The text of an index with a note, or without any. */
export function encodeNotedIndex(
  metadata: Readonly<Record<string, unknown>>,
  weightMap: ReadonlyMap<string, string>,
  note?: CommitNote,
): Uint8Array {
  const { [KEY]: _, ...others } = metadata;
  return encodeIndex(note ? { ...others, [KEY]: { unfinished: note } } : others, weightMap);
}

/** By this a file is known again after a rename: its size and when it was written. */
export async function stampOf(path: string): Promise<string> {
  const { size, mtimeNs } = await stat(path, { bigint: true });
  return `${size} ${mtimeNs}`;
}

function noteOf(value: unknown): CommitNote | undefined {
  const { unfinished } = recordOf(value);
  const { place, id, arrivals, drop } = recordOf(unfinished);
  if (typeof place !== "string" || typeof id !== "string" || !/^[0-9a-f]{12}$/.test(id)) return undefined;
  if (!Array.isArray(arrivals) || !Array.isArray(drop) || !drop.every(isName)) return undefined;
  const described = arrivals.map((entry: unknown): Arrival | undefined => {
    const { name, temporary, stamp } = recordOf(entry);
    if (!isName(name) || typeof stamp !== "string") return undefined;
    return temporary === undefined || isName(temporary) ? { name, temporary, stamp } : undefined;
  });
  if (!described.every((entry) => entry !== undefined)) return undefined;
  return { place, id, arrivals: described, drop };
}

function recordOf(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function isName(value: unknown): value is string {
  if (typeof value !== "string") return false;
  try {
    checkShardFileName(value);
    return true;
  } catch {
    return false;
  }
}
