import { stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { cached, type FileStore, type OpenedFiles, openStoreFiles } from "safetensors.js";
import { isAddress, placeOf } from "./address.ts";

/** Bytes that are read at once from a server, and how many such blocks ahead of what is written. */
const REMOTE_ALL = { block: 8 << 20, ahead: 3 };

/** The same where only parts are wanted: what lies between them would be read in vain. */
const REMOTE_PARTS = { block: 512 << 10, ahead: 1 };

/** A checkpoint that a command reads in order to write another. */
export interface WeightsInput extends OpenedFiles, AsyncDisposable {
  readonly input: string;
  /** Where its files lie, and what lies beside them. */
  readonly store: FileStore;
  /** Paths of its files, and of its index; none for an address. */
  readonly paths: readonly string[];
}

/**
 * Opens safetensors, at a path or an address, to be copied from begin to end.
 *
 * @param inParts only parts of it are copied, with gaps between them.
 */
export async function openWeightsInput(
  input: string,
  signal: AbortSignal,
  inParts = false,
): Promise<WeightsInput> {
  const place = await placeOf(input, { requests: 0, bytes: 0 });
  const store = isAddress(input) ? readAhead(place.store, inParts ? REMOTE_PARTS : REMOTE_ALL) : place.store;
  const opened = await openStoreFiles(store, { file: place.file, signal });
  const { files, index, whole } = opened;
  const names = [...files.map(({ file }) => file), ...(index ? [index.file] : [])];
  const paths = isAddress(input) ? [] : await pathsIn(input, names);
  return { ...opened, input, store, paths, [Symbol.asyncDispose]: () => whole.close() };
}

function readAhead(store: FileStore, how: typeof REMOTE_ALL): FileStore {
  return { ...store, open: async (file, options) => cached(await store.open(file, options), how) };
}

async function pathsIn(input: string, names: readonly string[]): Promise<string[]> {
  const folder = (await stat(input)).isDirectory() ? input : dirname(input);
  return names.map((name) => join(folder, name));
}
