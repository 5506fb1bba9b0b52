import { quote, SafetensorsError } from "../errors.ts";
import type { ReadMode } from "../format/mode.ts";
import type { TensorView } from "../view/tiling.ts";
import { Checkpoint, type TensorIndex } from "./checkpoint.ts";

/**
 * Joins the files of a sharded checkpoint into one.
 *
 * @param shards the opened files by name, in the order in which their tensors are to come.
 * @param weightMap which tensor the index places in which file; without an index, what the files have is what there is.
 * @throws `INDEX_MISMATCH` when index and files disagree, or two files have the same tensor. In `lenient` mode these
 *   become problems; in `compat` mode the index counts, and what it does not name is passed over.
 */
export function joinShards(
  shards: ReadonlyMap<string, Checkpoint>,
  weightMap?: ReadonlyMap<string, string>,
  mode: ReadMode = "strict",
): Checkpoint {
  const problems = [...shards.values()].flatMap((shard) => shard.problems);
  const report = (text: string, tensor: string, file: string): void => {
    const error = new SafetensorsError("INDEX_MISMATCH", text, { tensor, file });
    if (mode === "strict") throw error;
    if (mode === "lenient") problems.push(error);
  };

  const owners = new Map<string, string>();
  /** The same for tensors that have other names here than in their file, and in the index. */
  const wholes = new Map<string, string>();
  let asPlaced = 0;
  const isTaken = (name: string, file: string): boolean => {
    const place = weightMap ? weightMap.get(name) : (owners.get(name) ?? wholes.get(name) ?? file);
    if (place !== file) {
      const wrong = !weightMap
        ? `is in both ${place} and ${file}`
        : place === undefined
          ? `of ${file} is not in the index`
          : `is in ${file}, but the index places it in ${place}`;
      report(`tensor ${quote(name)} ${wrong}`, name, file);
    } else asPlaced++;
    return place === file || (place === undefined && mode === "lenient");
  };
  const renamed = new Map<string, readonly string[]>();
  for (const [file, shard] of shards) {
    const wholeOf = new Map<string, string>();
    for (const [whole, parts] of shard.renamed) {
      // What was left out may be no tensor, of which an index knows nothing.
      if (parts.length === 0 ? weightMap?.get(whole) === file : isTaken(whole, file)) wholes.set(whole, file);
      if (parts.length > 0 || !renamed.has(whole)) renamed.set(whole, parts);
      for (const part of parts) wholeOf.set(part, whole);
    }
    for (const name of shard.keys()) {
      const whole = wholeOf.get(name);
      if (whole === undefined ? !isTaken(name, file) : wholes.get(whole) !== file) continue;
      const other = owners.get(name);
      if (other === undefined) owners.set(name, file);
      // Only a part can have the name of another tensor; no index says which one is meant.
      else {
        const text = `tensor ${quote(name)} is in both ${other} and ${file}`;
        if (mode === "compat") throw new SafetensorsError("INDEX_MISMATCH", text, { tensor: name, file });
        report(text, name, file);
      }
    }
  }
  // An index may have half a million names: they are gone through again only if one was not found.
  const isComplete = asPlaced === weightMap?.size && renamed.size === 0;
  for (const [name, file] of isComplete ? [] : (weightMap ?? [])) {
    if (owners.has(name) || wholes.has(name)) continue;
    const text = `the index places tensor ${quote(name)} in ${file}, which does not have it`;
    if (mode === "compat") throw new SafetensorsError("INDEX_MISMATCH", text, { tensor: name, file });
    report(text, name, file);
  }

  return new Checkpoint({
    format: commonFormat(shards),
    metadata: mergeMetadata(shards.values()),
    renamed,
    problems,
    tensors: new ShardedIndex(shards, owners),
    close: async () => {
      await Promise.all([...shards.values()].map((shard) => shard.close()));
    },
  });
}

function commonFormat(shards: ReadonlyMap<string, Checkpoint>): string {
  const formats = new Set([...shards.values()].map((shard) => shard.format));
  return [...formats].join("+");
}

/** The metadata of all files; where two disagree on a key, the first one counts. */
export function mergeMetadata(files: Iterable<Pick<Checkpoint, "metadata">>): Map<string, string> {
  const merged = new Map<string, string>();
  for (const { metadata } of files) {
    for (const [key, value] of metadata) if (!merged.has(key)) merged.set(key, value);
  }
  return merged;
}

/** The tensors of all shards, in the order of the shards. */
class ShardedIndex implements TensorIndex {
  readonly #shards: ReadonlyMap<string, Checkpoint>;
  readonly #owners: ReadonlyMap<string, string>;

  constructor(shards: ReadonlyMap<string, Checkpoint>, owners: ReadonlyMap<string, string>) {
    this.#shards = shards;
    this.#owners = owners;
  }

  get size(): number {
    return this.#owners.size;
  }

  names(): Iterable<string> {
    return this.#owners.keys();
  }

  find(name: string): TensorView | undefined {
    const file = this.#owners.get(name);
    return file === undefined ? undefined : this.#shards.get(file)?.get(name).view;
  }
}
