import { quote, SafetensorsError } from "../errors.ts";
import { fromBlob } from "./blob.ts";
import type { FileStore } from "./store.ts";

/**
 * Files that a person picked or dropped, as a place: the shards of a checkpoint with its index. Of two with the same name
 * the first one counts.
 */
export function blobStore(files: Iterable<File>): FileStore {
  const byName = new Map<string, File>();
  for (const file of files) if (!byName.has(file.name)) byName.set(file.name, file);
  return {
    name: "the chosen files",
    list: async () => [...byName.keys()],
    async open(name) {
      const file = byName.get(name);
      if (file) return fromBlob(file);
      throw new SafetensorsError("NOT_FOUND", `${quote(name)} is not among the chosen files`, { file: name });
    },
  };
}
