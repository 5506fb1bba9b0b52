import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, mkdir, open, readFile, rm, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import { TensorHandle } from "../../checkpoint/tensor.ts";
import { isDtype } from "../../dtype/dtype.ts";
import type { PartData } from "../../quant/weight.ts";
import { byteLength, contiguousStrides } from "../../view/view.ts";
import { type FileSource, openFile } from "../file-source.ts";
import { ioError } from "../io-error.ts";
import { removeLitter, temporaryFor } from "../write/litter.ts";

/** Bytes of the list that are read again: a line for each weight, a few hundred bytes long. */
const MAX_LIST_BYTES = 1 << 30;

/** What lies in a spool of one item, and what the caller keeps with it. */
export interface SpoolEntry {
  readonly item: string;
  readonly tensors: readonly { name: string; dtype: string; shape: readonly number[]; at: number }[];
  readonly note: unknown;
  /** SHA-256 of its bytes, in hexadecimal digits. */
  readonly sha256: string;
  readonly end: number;
}

/**
 * Results of slow work, one item after the other, in a file that the final output is copied from. With a name for the work it
 * is left behind when that is stopped, and taken up by the next run of the same work; what is not whole in it is dropped.
 */
export class Spool {
  readonly #data: string;
  readonly #list: string;
  readonly #entries: Map<string, SpoolEntry>;
  #handles: readonly [data: FileHandle, list: FileHandle];
  #end: number;

  private constructor(
    data: string,
    entries: readonly SpoolEntry[],
    handles: readonly [FileHandle, FileHandle],
  ) {
    this.#data = data;
    this.#list = `${data}.jsonl`;
    this.#entries = new Map(entries.map((entry) => [entry.item, entry]));
    this.#handles = handles;
    this.#end = entries.at(-1)?.end ?? 0;
  }

  /**
   * Makes a spool in a folder, which is made too, or takes up the one of the same work.
   *
   * @param work names the work and all that it depends on; without it nothing is left behind
   */
  static async open(folder: string, work: string | undefined): Promise<Spool> {
    const name = work === undefined ? "quantize.spool" : `.quantize-${digestOf(work).slice(0, 16)}.spool`;
    const data = work === undefined ? temporaryFor(join(folder, name)) : join(folder, name);
    try {
      await mkdir(folder, { recursive: true });
      await removeLitter(folder, (target) => target.startsWith("quantize.spool"));
      const entries = work === undefined ? [] : await wholeEntries(data);
      const handles = [await open(data, "a"), await open(`${data}.jsonl`, "w")] as const;
      await truncate(data, entries.at(-1)?.end ?? 0);
      for (const entry of entries) await handles[1].write(lineOf(entry));
      return new Spool(data, entries, handles);
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

  /** Adds the result of an item: tensors by their names. */
  async add(
    item: string,
    parts: Iterable<readonly [name: string, data: PartData]>,
    note: unknown,
  ): Promise<void> {
    const hash = createHash("sha256");
    const tensors = [];
    try {
      for (const [name, { dtype, shape, bytes }] of parts) {
        tensors.push({ name, dtype, shape, at: this.#end });
        hash.update(bytes);
        await this.#handles[0].appendFile(bytes);
        this.#end += bytes.length;
      }
      const entry = { item, tensors, note, sha256: hash.digest("hex"), end: this.#end };
      await this.#handles[1].write(lineOf(entry));
      this.#entries.set(item, entry);
    } catch (cause) {
      throw ioError(this.#data, "write", cause);
    }
  }

  /** All tensors in it, to be read; the source is to be closed. */
  async read(): Promise<{ readonly tensors: readonly TensorHandle[]; readonly source: FileSource }> {
    const source = await openFile(this.#data, { blocking: true });
    const tensors = [...this.#entries.values()].flatMap(({ tensors }) =>
      tensors.map(({ name, dtype, shape, at }) => {
        if (!isDtype(dtype)) throw ioError(this.#list, "read", new Error(`no dtype ${dtype}`));
        const view = { source, dtype, shape, strides: contiguousStrides(shape), bitOffset: at * 8 };
        return new TensorHandle(name, view);
      }),
    );
    return { tensors, source };
  }

  /** Closes it. What is in it stays, for the next run of the same work. */
  async close(): Promise<void> {
    await Promise.all(this.#handles.map((handle) => handle.close()));
  }

  /** Removes it, when it is closed. */
  async remove(): Promise<void> {
    await Promise.all([this.#data, this.#list].map((path) => rm(path, { force: true })));
  }
}

const digestOf = (text: string): string => createHash("sha256").update(text).digest("hex");

const lineOf = (entry: SpoolEntry): string => `${JSON.stringify(entry)}\n`;

/** The entries of a spool that was left behind, up to the first one that is not whole. */
async function wholeEntries(data: string): Promise<SpoolEntry[]> {
  const entries: SpoolEntry[] = [];
  for (const entry of await listed(data)) {
    const start = entries.at(-1)?.end ?? 0;
    if (!fits(entry, start) || (await digestOfRange(data, start, entry.end)) !== entry.sha256) break;
    entries.push(entry);
  }
  return entries;
}

async function listed(data: string): Promise<SpoolEntry[]> {
  const path = `${data}.jsonl`;
  const size = await stat(path).then(
    ({ size }) => size,
    () => 0,
  );
  if (size === 0 || size > MAX_LIST_BYTES) return [];
  const entries: SpoolEntry[] = [];
  for (const line of (await readFile(path, "utf8")).split("\n")) {
    try {
      entries.push(JSON.parse(line) as SpoolEntry);
    } catch {
      // The last line of a run that was killed.
      break;
    }
  }
  return entries;
}

/** Whether an entry says where its tensors lie, one after the other. */
function fits({ item, tensors, end, sha256 }: SpoolEntry, start: number): boolean {
  if (typeof item !== "string" || typeof sha256 !== "string" || !Array.isArray(tensors)) return false;
  let at = start;
  for (const tensor of tensors) {
    const { name, dtype, shape } = tensor;
    const isShape = Array.isArray(shape) && shape.every((size) => Number.isSafeInteger(size) && size >= 0);
    if (typeof name !== "string" || !isDtype(dtype) || !isShape || tensor.at !== at) return false;
    at += byteLength({ dtype, shape });
  }
  return at === end;
}

async function digestOfRange(path: string, start: number, end: number): Promise<string> {
  const hash = createHash("sha256");
  if (end > start) {
    try {
      for await (const chunk of createReadStream(path, { start, end: end - 1, highWaterMark: 1 << 20 }))
        hash.update(chunk as Buffer);
    } catch {
      return "";
    }
  }
  return hash.digest("hex");
}
