import { SafetensorsError } from "../../src/errors.ts";
import { fromBytes } from "../../src/source/memory.ts";
import type { ByteSource, ReadOptions } from "../../src/source/source.ts";
import type { FileStore } from "../../src/source/store.ts";
import { type HandMade, handMade, noise } from "../support.ts";

/** A store in memory without a list, which keeps count of what is asked of it. */
export class CountedStore implements FileStore {
  readonly name = "the store";
  /** The files asked for so far, in order, also those that are not there. */
  readonly asked: string[] = [];
  /** The files that are open now. */
  readonly held: Set<string> = new Set();
  /** Most calls of `open` that were under way at the same time. */
  mostAtOnce = 0;
  /** Called for each file that is opened. */
  onOpen?: (file: string) => void;
  readonly files: ReadonlyMap<string, Uint8Array>;
  #underWay = 0;

  constructor(files: Readonly<Record<string, Uint8Array>>) {
    this.files = new Map(Object.entries(files));
  }

  async open(file: string, options?: ReadOptions): Promise<ByteSource> {
    this.asked.push(file);
    this.mostAtOnce = Math.max(this.mostAtOnce, ++this.#underWay);
    await new Promise(setImmediate);
    this.#underWay--;
    this.onOpen?.(file);
    options?.signal?.throwIfAborted();
    const bytes = this.files.get(file);
    if (!bytes) throw new SafetensorsError("NOT_FOUND", `there is no ${file}`);
    if (this.held.has(file)) throw new Error(`${file} is opened twice`);
    this.held.add(file);
    const close = (): void => {
      if (!this.held.delete(file)) throw new Error(`${file} is closed twice`);
    };
    return { ...fromBytes(bytes, file), close };
  }
}

/** The same with a list. */
export class ListedStore extends CountedStore {
  listed = 0;

  async list(options?: ReadOptions): Promise<string[]> {
    this.listed++;
    options?.signal?.throwIfAborted();
    return [...this.files.keys()];
  }
}

/** A file with tensors of these names; the data of each is told by `dataOf`. */
export function shard(...names: readonly string[]): Uint8Array {
  const tensor = (name: string): HandMade => ({ dtype: "U8", shape: [3], data: dataOf(name) });
  return handMade(Object.fromEntries(names.map((name) => [name, tensor(name)])));
}

/** What the tensor of that name holds in `shard`. */
export const dataOf = (name: string): Uint8Array =>
  noise(
    3,
    [...name].reduce((sum, character) => sum * 31 + character.charCodeAt(0), 7),
  );

/** An index that places these tensors. */
export const indexOf = (weightMap: Readonly<Record<string, string>>): Uint8Array =>
  new TextEncoder().encode(JSON.stringify({ metadata: { total_size: 1 }, weight_map: weightMap }));
