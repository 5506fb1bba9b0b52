import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { quote, SafetensorsError } from "../errors.ts";
import { JsonCursor } from "../format/json-cursor.ts";
import { isJsonError } from "../format/json-error.ts";

/** Where a file of PyTorch's distributed checkpoint says which part of each tensor it has. */
export const SHARDING_INFO = "DCP_SHARDING_INFO";

/** All that PyTorch says of itself in the metadata of these files: of no use outside them. */
export const DCP_KEYS: ReadonlySet<string> = new Set([SHARDING_INFO, "DCP_VERSION"]);

/**
 * Reads where the tensors of a file of PyTorch's distributed checkpoint begin in the whole ones: the index of their first
 * element, by name.
 *
 * @throws `INVALID_INDEX` if the metadata does not say that of each tensor; `INDEX_MISMATCH` for one that the file does
 *   not have
 */
export function readShardingInfo(checkpoint: Checkpoint): ReadonlyMap<string, readonly number[]> {
  const text = checkpoint.metadata.get(SHARDING_INFO);
  if (text === undefined) throw invalid(`the metadata has no ${SHARDING_INFO}`);
  const offsets = new Map<string, readonly number[]>();
  try {
    readObject(new JsonCursor(new TextEncoder().encode(text)), (name, cursor) => {
      if (offsets.has(name)) throw invalid(`tensor ${quote(name)} appears twice`);
      if (!checkpoint.has(name)) {
        const text = `its sharding information names tensor ${quote(name)}, which it does not have`;
        throw new SafetensorsError("INDEX_MISMATCH", text, { tensor: name });
      }
      offsets.set(name, readOffsets(name, checkpoint.get(name).shape.length, cursor));
    });
  } catch (error) {
    if (!isJsonError(error)) throw error;
    throw invalid(error.reason);
  }
  for (const name of offsets.size === checkpoint.size ? [] : checkpoint.keys()) {
    if (!offsets.has(name)) throw invalid(`tensor ${quote(name)} is missing`);
  }
  return offsets;
}

/** The whole text as one object: `visit` steps over the value of each key. */
function readObject(cursor: JsonCursor, visit: (key: string, cursor: JsonCursor) => void): void {
  cursor.beginObject("the text");
  for (let first = true; cursor.nextKey(first); first = false) visit(cursor.text(), cursor);
  if (cursor.peek() !== -1) cursor.malformed("nothing but white space after the object");
}

/** `{"saved_offsets": [0, 8]}`, with as many numbers as the tensor has dimensions. */
function readOffsets(name: string, rank: number, cursor: JsonCursor): number[] {
  let offsets: number[] | undefined;
  cursor.beginObject(`what is said of tensor ${quote(name)}`);
  for (let first = true; cursor.nextKey(first); first = false) {
    if (!cursor.is("saved_offsets")) {
      cursor.skipValue(2);
      continue;
    }
    if (offsets) throw invalid(`tensor ${quote(name)} has saved_offsets twice`);
    offsets = [];
    cursor.beginArray("saved_offsets");
    for (let start = true; cursor.nextItem(start); start = false) {
      if (offsets.push(cursor.integer("an offset")) > rank) break;
    }
    if (offsets.length !== rank) {
      throw invalid(
        `the saved_offsets of tensor ${quote(name)} are not ${rank} numbers, as many as it has dimensions`,
      );
    }
    const tooLarge = offsets.find((offset) => !Number.isSafeInteger(offset));
    if (tooLarge !== undefined) {
      const text = `an offset of tensor ${quote(name)} is above 2^53 - 1`;
      throw new SafetensorsError("UNSAFE_INTEGER", text, { tensor: name });
    }
  }
  if (!offsets) throw invalid(`tensor ${quote(name)} has no saved_offsets`);
  return offsets;
}

function invalid(problem: string): SafetensorsError {
  return new SafetensorsError("INVALID_INDEX", `the sharding information is not valid: ${problem}`);
}
