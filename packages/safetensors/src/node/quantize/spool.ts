import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, open, readFile, rename, rm, stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { TensorHandle } from "../../checkpoint/tensor.ts";
import { isDtype } from "../../dtype/dtype.ts";
import type { PartData } from "../../quant/weight.ts";
import { byteLength, contiguousStrides } from "../../view/view.ts";
import { type FileSource, openFile } from "../file-source.ts";
import { ioError } from "../io-error.ts";
import { leftoversIn, RECORD_ENDING, removeLitter, temporaryFor } from "../write/litter.ts";
import { nobodyTag } from "../write/litter-writer.ts";
import { makeFolder, removeFolder } from "../write/write-outputs.ts";

/** Bytes of the list that are read again: a line for each item, a few hundred bytes long. */
const MAX_LIST_BYTES = 1 << 28;

/** What lies in a spool of one item, and what the caller keeps with it. */
export interface SpoolEntry {
  readonly item: string;
  readonly tensors: readonly { name: string; dtype: string; shape: readonly number[]; at: number }[];
  readonly note: unknown;
  /** Where its bytes end. */
  readonly end: number;
}

/**
 * Results of slow work, one item after the other, in a hidden file that the final output is copied from, with a list of them
 * in a second one. With a name for the work both can be left behind, and are taken up by the next run of the same work: of a
 * line of the list, and the bytes that belong to it, a digest says whether they are whole, and from the first one on that is
 * not all is dropped.
 */
export class Spool {
  readonly #target: string;
  readonly #entries: Map<string, SpoolEntry>;
  readonly #handles: readonly [data: FileHandle, list: FileHandle];
  /** The folder that was made for it, if one was. */
  readonly #created: string | undefined;
  readonly #data: string;
  #end: number;

  private constructor(
    target: string,
    data: string,
    entries: readonly SpoolEntry[],
    handles: readonly [FileHandle, FileHandle],
    created: string | undefined,
  ) {
    this.#target = target;
    this.#data = data;
    this.#entries = new Map(entries.map((entry) => [entry.item, entry]));
    this.#handles = handles;
    this.#created = created;
    this.#end = entries.at(-1)?.end ?? 0;
  }

  /**
   * Makes a spool, or takes up the one of the same work whose process is gone. Others of the same target are removed.
   *
   * @param target a path that says where it lies and what it is called; folders are made
   * @param work names the work and all that it depends on; without it none is taken up
   */
  static async open(target: string, work: string | undefined): Promise<Spool> {
    const folder = dirname(target);
    const data = temporaryFor(target);
    const created = await makeFolder(folder);
    const isTarget = (name: string): boolean => name === basename(target);
    try {
      const first = `${sha256(work ?? "")}\n`;
      const kept = work === undefined ? undefined : await takeUp(folder, isTarget, data, first);
      await removeLitter(folder, isTarget);
      const handles = [await open(data, "a"), await open(data + RECORD_ENDING, "a")] as const;
      await handles[0].truncate(kept?.entries.at(-1)?.end ?? 0);
      await handles[1].truncate(kept?.listBytes ?? 0);
      if (!kept) await handles[1].appendFile(first);
      return new Spool(target, data, kept?.entries ?? [], handles, created);
    } catch (cause) {
      throw ioError(data, "write", cause);
    }
  }

  /** What is in it, in the order in which it came. */
  get entries(): Iterable<SpoolEntry> {
    return this.#entries.values();
  }

  has(item: string): boolean {
    return this.#entries.has(item);
  }

  /** Adds the result of an item: tensors by their names, and plain JSON. */
  async add(
    item: string,
    parts: Iterable<readonly [name: string, data: PartData]>,
    note: unknown,
  ): Promise<void> {
    const [data, list] = this.#handles;
    const hash = createHash("sha256");
    const tensors = [];
    try {
      for (const [name, { dtype, shape, bytes }] of parts) {
        tensors.push({ name, dtype, shape, at: this.#end });
        hash.update(bytes);
        await data.appendFile(bytes);
        this.#end += bytes.length;
      }
      const entry = { item, tensors, note, end: this.#end };
      const json = JSON.stringify(entry);
      await list.appendFile(`${hash.update(json).digest("hex")} ${json}\n`);
      this.#entries.set(item, entry);
    } catch (cause) {
      throw ioError(this.#data, "write", cause);
    }
  }

  /** The tensors in it, by item; the source is to be closed before the spool is. */
  async read(): Promise<{
    readonly items: ReadonlyMap<string, TensorHandle[]>;
    readonly source: FileSource;
  }> {
    const source = await openFile(this.#data, { blocking: true });
    const handleOf = ({ name, dtype, shape, at }: SpoolEntry["tensors"][number]): TensorHandle => {
      if (!isDtype(dtype)) throw ioError(this.#data, "read", new Error(`no dtype ${dtype}`));
      const view = { source, dtype, shape, strides: contiguousStrides(shape), bitOffset: at * 8 };
      return new TensorHandle(name, view);
    };
    const items = new Map(Array.from(this.entries, ({ item, tensors }) => [item, tensors.map(handleOf)]));
    return { items, source };
  }

  /**
   * Closes it.
   *
   * @param keep whether it is left to the next run of the same work; otherwise nothing is left of it
   */
  async close(keep: boolean): Promise<void> {
    await Promise.all(this.#handles.map((handle) => handle.close()));
    const released = temporaryFor(this.#target, nobodyTag());
    for (const ending of ["", RECORD_ENDING]) {
      if (keep) await rename(this.#data + ending, released + ending);
      else await rm(this.#data + ending, { force: true });
    }
    if (!keep) await removeFolder(dirname(this.#target), this.#created);
  }
}

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

/** What is whole of a spool that was left behind, and the bytes of its list up to there. */
interface Kept {
  readonly entries: readonly SpoolEntry[];
  readonly listBytes: number;
}

/** Finds a spool of the same work, and gives it a name of this process. */
async function takeUp(
  folder: string,
  isTarget: (name: string) => boolean,
  data: string,
  first: string,
): Promise<Kept | undefined> {
  for (const { path, isRecord, isGone } of await leftoversIn(folder, isTarget)) {
    if (!isRecord || !isGone) continue;
    const old = path.slice(0, -RECORD_ENDING.length);
    const text = await textOf(path);
    if (!text.startsWith(first)) continue;
    const kept = await wholeEntries(old, text, first);
    if (kept.entries.length === 0) continue;
    for (const ending of ["", RECORD_ENDING]) await rename(old + ending, data + ending);
    return kept;
  }
  return undefined;
}

async function textOf(path: string): Promise<string> {
  try {
    return (await stat(path)).size > MAX_LIST_BYTES ? "" : await readFile(path, "utf8");
  } catch {
    return "";
  }
}

async function wholeEntries(data: string, list: string, first: string): Promise<Kept> {
  const entries: SpoolEntry[] = [];
  let listBytes = first.length;
  for (const line of list.slice(first.length).split("\n")) {
    const [, digest, json = ""] = /^([0-9a-f]{64}) (.*)$/.exec(line) ?? [];
    const start = entries.at(-1)?.end ?? 0;
    const entry = entryIn(json, start);
    if (!entry || (await digestOf(data, start, entry.end, json)) !== digest) break;
    entries.push(entry);
    listBytes += Buffer.byteLength(line) + 1;
  }
  return { entries, listBytes };
}

/** The entry that a line holds, if it says where its tensors lie, one after the other. */
function entryIn(json: string, start: number): SpoolEntry | undefined {
  try {
    const entry = JSON.parse(json) as SpoolEntry;
    let at = start;
    for (const { name, dtype, shape, at: stated } of entry.tensors) {
      const isShape = shape.every((size) => Number.isSafeInteger(size) && size >= 0);
      if (typeof name !== "string" || !isDtype(dtype) || !isShape || stated !== at) return undefined;
      at += byteLength({ dtype, shape });
    }
    return typeof entry.item === "string" && entry.end === at ? entry : undefined;
  } catch {
    // The last line of a run that was killed, or something else altogether.
    return undefined;
  }
}

async function digestOf(path: string, start: number, end: number, json: string): Promise<string | undefined> {
  const hash = createHash("sha256");
  try {
    if (end > start) {
      const stream = createReadStream(path, { start, end: end - 1, highWaterMark: 1 << 20 });
      for await (const chunk of stream) hash.update(chunk as Buffer);
    }
  } catch {
    return undefined;
  }
  return hash.update(json).digest("hex");
}
