import { parseShardIndex } from "../checkpoint/shard-index.ts";
import { JsonCursor } from "../format/json-cursor.ts";
import { type Patch, patched } from "./patch.ts";

/**
 * An index with other names of tensors; all else stays as it is written.
 *
 * @param rename new names by their old ones; names that the index does not have count for nothing.
 * @throws every error of `parseShardIndex`
 */
export function renameInIndex(json: Uint8Array, rename: ReadonlyMap<string, string>): Uint8Array {
  parseShardIndex(json);
  const patches: Patch[] = [];
  const cursor = new JsonCursor(json);
  cursor.beginObject("the index");
  for (let first = true; cursor.nextKey(first); first = false) {
    if (cursor.text() !== "weight_map") {
      cursor.skipValue(1);
      continue;
    }
    cursor.beginObject("the weight_map");
    for (let first = true; cursor.nextKey(first); first = false) {
      const name = rename.get(cursor.text());
      const [begin, end] = [cursor.stringStart - 1, cursor.stringEnd + 1];
      if (name !== undefined) patches.push({ begin, end, text: JSON.stringify(name) });
      cursor.skipValue(2);
    }
  }
  return patched(json, patches);
}
