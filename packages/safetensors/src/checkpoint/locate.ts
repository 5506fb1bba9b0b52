import { inFile, quote, SafetensorsError } from "../errors.ts";
import { MAX_INDEX_BYTES } from "../limits.ts";
import { orClose } from "../source/or-close.ts";
import { readExactly } from "../source/read-into.ts";
import type { ByteSource, ReadOptions } from "../source/source.ts";
import type { FileStore } from "../source/store.ts";
import { chooseFiles, type FileChoice, usualNames } from "./choose-files.ts";
import { readHead } from "./safetensors.ts";
import { parseShardIndex, type ShardIndex } from "./shard-index.ts";

/** Options of `locateFiles`. */
export interface LocateOptions extends FileChoice, ReadOptions {
  /** A file with weights, or an index; otherwise the store is searched: see `chooseFiles`. */
  readonly file?: string | undefined;
}

/** The files of a checkpoint in a store. */
export interface LocatedFiles {
  /** Names of the files with weights, in order. */
  readonly files: readonly string[];
  /** The index, if the checkpoint has one. */
  readonly index?: ShardIndex & { readonly file: string };
}

/**
 * Finds the files of a checkpoint: those that an index names, or a file, or what a folder holds.
 *
 * @throws `NOT_FOUND`, `AMBIGUOUS`, `LIMIT_EXCEEDED` (`MAX_INDEX_BYTES`), every error of `parseShardIndex`
 */
export async function locateFiles(store: FileStore, options: LocateOptions = {}): Promise<LocatedFiles> {
  const { opened, ...located } = await locateAndOpen(store, options);
  await opened?.source.close?.();
  return located;
}

/** A file that has been opened, and its first bytes. */
export interface OpenedSource {
  readonly source: ByteSource;
  readonly head: Uint8Array;
}

/** `locateFiles`; if it had to open the only file, that comes along. */
export async function locateAndOpen(
  store: FileStore,
  options: LocateOptions,
): Promise<LocatedFiles & { readonly opened?: OpenedSource }> {
  const { file } = options;
  if (file === undefined) {
    const names = await (store.list?.(options) ?? probe(store, options));
    const chosen = chooseFiles(names, store.name, options);
    return "files" in chosen
      ? chosen
      : withIndex(chosen.index, await store.open(chosen.index, options), options);
  }
  const source = await store.open(file, options);
  const head = await orClose(source, () => readHead(source, options));
  return isJsonText(head) ? withIndex(file, source, options) : { files: [file], opened: { source, head } };
}

/**
 * Asks for files with usual names, one after another. Buckets that may not be listed refuse what they do not have, so a refusal
 * counts only if nothing is found.
 */
async function probe(store: FileStore, options: LocateOptions): Promise<string[]> {
  let refusal: SafetensorsError | undefined;
  for (const name of usualNames(options)) {
    try {
      const source = await store.open(name, options);
      await source.close?.();
      return [name];
    } catch (error) {
      if (!(error instanceof SafetensorsError)) throw error;
      if (error.details.kind === "refused") refusal ??= error;
      else if (error.code !== "NOT_FOUND") throw error;
    }
  }
  if (refusal) throw refusal;
  return [];
}

async function withIndex(file: string, source: ByteSource, options: ReadOptions): Promise<LocatedFiles> {
  try {
    const { size } = source;
    if (size > MAX_INDEX_BYTES) {
      const text = `${quote(file)} has ${size} bytes, an index at most ${MAX_INDEX_BYTES}`;
      throw new SafetensorsError("LIMIT_EXCEEDED", text, { limit: "MAX_INDEX_BYTES", file });
    }
    const index = await inFile(file, async () =>
      parseShardIndex(await readExactly(source, 0, size, options)),
    );
    return { files: index.files, index: { ...index, file } };
  } finally {
    await source.close?.();
  }
}

/** Whether a file is JSON text: no file of weights begins with an opening brace and seven bytes without a NUL. */
function isJsonText(head: Uint8Array): boolean {
  return /^\s*\{[^\0]*$/.test(String.fromCharCode(...head.subarray(0, 8)));
}
