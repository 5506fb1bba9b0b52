import { quote, SafetensorsError } from "../errors.ts";
import { JsonCursor } from "../format/json-cursor.ts";
import { MAX_SHARDS } from "../limits.ts";

const QUOTE = 0x22;

/** The content of an index such as `model.safetensors.index.json`: which tensor lies in which file. */
export interface ShardIndex {
  readonly weightMap: ReadonlyMap<string, string>;
  /** The distinct files, in order of name. */
  readonly files: readonly string[];
  /** The `metadata` object as it stands. Its `total_size` is often wrong, so nothing is built on it. */
  readonly metadata: Readonly<Record<string, unknown>>;
}

/**
 * Reads an index. Names of files are checked: an index is as untrusted as any file, and must not lead out of its folder.
 *
 * @throws `INVALID_INDEX`, `UNSAFE_FILE_NAME`, `INDEX_MISMATCH` (the numbers in the files' names), `LIMIT_EXCEEDED`
 */
export function parseShardIndex(json: Uint8Array): ShardIndex {
  try {
    return readIndex(json);
  } catch (error) {
    if (!(error instanceof SafetensorsError) || !/JSON|HEADER|UTF8/.test(error.code)) throw error;
    throw new SafetensorsError("INVALID_INDEX", `the index is not valid: ${error.reason}`, error.details);
  }
}

function readIndex(json: Uint8Array): ShardIndex {
  const cursor = new JsonCursor(json);
  const seen = new Set<string>();
  const weightMap = new Map<string, string>();
  const files = new Set<string>();
  let metadata: Record<string, unknown> = {};
  cursor.beginObject("the index");
  for (let first = true; cursor.nextKey(first); first = false) {
    const key = cursor.text();
    if (seen.has(key)) throw invalid(`${quote(key)} appears twice`, cursor.stringStart);
    seen.add(key);
    if (key === "weight_map") {
      readWeightMap(cursor, weightMap, files);
    } else {
      cursor.peek();
      const start = cursor.at;
      cursor.skipValue(1);
      if (key === "metadata") metadata = asRecord(json.subarray(start, cursor.at));
    }
  }
  if (cursor.peek() !== -1) cursor.malformed("nothing but white space after the index");
  cursor.checkUtf8();
  if (!seen.has("weight_map")) throw invalid('it has no "weight_map"', 0);
  const sorted = [...files].sort();
  checkNumbering(sorted);
  return { weightMap, files: sorted, metadata };
}

function readWeightMap(cursor: JsonCursor, weightMap: Map<string, string>, files: Set<string>): void {
  cursor.beginObject("the weight_map");
  let file = "";
  let isAscii = false;
  for (let first = true; cursor.nextKey(first); first = false) {
    const at = cursor.stringStart;
    const name = cursor.text();
    if (cursor.peek() !== QUOTE) cursor.mismatch(`the file of tensor ${quote(name)} to be a string`);
    cursor.string();
    // Neighbours mostly lie in one file; decoding its name for each again takes two fifths of the time (measured).
    if (!(isAscii && cursor.is(file))) {
      file = cursor.text();
      isAscii = file.length === cursor.stringEnd - cursor.stringStart;
      addFile(files, file);
    }
    const { size } = weightMap;
    if (weightMap.set(name, file).size === size) throw invalid(`tensor ${quote(name)} appears twice`, at);
  }
}

function addFile(files: Set<string>, file: string): void {
  if (files.has(file)) return;
  checkShardFileName(file);
  files.add(file);
  if (files.size > MAX_SHARDS) {
    throw new SafetensorsError("LIMIT_EXCEEDED", `the index names more than ${MAX_SHARDS} files`, {
      limit: "MAX_SHARDS",
    });
  }
}

function asRecord(json: Uint8Array): Record<string, unknown> {
  const value: unknown = JSON.parse(new TextDecoder().decode(json));
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : {};
}

function invalid(problem: string, at: number): SafetensorsError {
  return new SafetensorsError("INVALID_INDEX", `the index is not valid: ${problem}`, { at });
}

/** Separators of paths, and characters that steer a terminal or the direction of text. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
const NOT_IN_NAMES = /[/\\:\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069]/;

/** Throws `UNSAFE_FILE_NAME` unless this is the bare name of a file: no folder, no drive, nothing that steers a path. */
export function checkShardFileName(name: string): void {
  if (name !== "" && name !== "." && name !== ".." && !NOT_IN_NAMES.test(name)) return;
  const text = `the index names the file ${quote(name)}; only the bare name of a file beside the index is allowed`;
  throw new SafetensorsError("UNSAFE_FILE_NAME", text, { file: name });
}

/** The name of a file with a star for its number in a set, as in `model-*-of-00003.safetensors`. */
export function withoutNumber(file: string): string {
  return file.replace(/-\d{5,6}-of-(?=\d{5,6}\.)/, "-*-of-");
}

/**
 * Of a set of files named `…-00001-of-00003…` there must be as many as their names say. Files without such a number
 * may stand beside them: quantisers add one for the layers that they leave alone.
 *
 * @throws `INDEX_MISMATCH`
 */
export function checkNumbering(files: readonly string[]): void {
  const sets = new Map<string, number>();
  for (const file of files) {
    const set = withoutNumber(file);
    sets.set(set, (sets.get(set) ?? 0) + 1);
  }
  for (const [set, count] of sets) {
    const said = /-\*-of-(\d+)\./.exec(set)?.[1];
    if (said === undefined || Number(said) === count) continue;
    throw new SafetensorsError(
      "INDEX_MISMATCH",
      `there are ${count} files ${quote(set)}, but their names say ${Number(said)}`,
    );
  }
}
