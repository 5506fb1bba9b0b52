import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { open } from "safetensors.js";
import { openPath } from "safetensors.js/node";
import { LENGTH, NAMES } from "./tensors.mjs";

/** Which generation a folder holds, as one kind of reader sees it. Throws unless it is all of one. */
export const READERS = {
  /** As this library opens a folder. */
  async ours(folder) {
    const checkpoint = await openPath(folder);
    try {
      return await generationOf([...checkpoint]);
    } finally {
      await checkpoint.close();
    }
  },
  /** As those do who follow an index, and load all files where there is none. */
  async byIndex(folder) {
    const index = join(folder, "model.safetensors.index.json");
    const files = existsSync(index)
      ? Object.values(JSON.parse(readFileSync(index, "utf8")).weight_map)
      : readdirSync(folder).filter((name) => /^[^.].*\.safetensors$/.test(name));
    const shards = await Promise.all(
      [...new Set(files)].map((file) => open(readFileSync(join(folder, file)))),
    );
    return generationOf(shards.flatMap((shard) => [...shard]));
  },
  /** As those do who take the single file where there is one. */
  async bySingle(folder) {
    const single = join(folder, "model.safetensors");
    if (!existsSync(single)) return READERS.byIndex(folder);
    return generationOf([...(await open(readFileSync(single)))]);
  },
};

async function generationOf(handles) {
  const names = handles.map(({ name }) => name).sort();
  if (names.join() !== [...NAMES].sort().join()) throw new Error(`the tensors are ${names}`);
  const values = new Set();
  for (const handle of handles) {
    const data = await handle.toFloat32();
    if (data.length !== LENGTH) throw new Error(`${handle.name} has ${data.length} elements`);
    for (const value of data) values.add(value);
  }
  if (values.size !== 1) throw new Error(`a mix of ${[...values]}`);
  return [...values][0];
}
