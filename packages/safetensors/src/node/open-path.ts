import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { type FormatReader, type OpenOptions, open } from "../checkpoint/open.ts";
import { openStore, type StoreOptions } from "../checkpoint/open-store.ts";
import { numpyReader } from "../numpy/index.ts";
import { orClose } from "../source/or-close.ts";
import { openTorch, torchReader } from "../torch/index.ts";
import { decompress } from "./decompress.ts";
import { type FileOptions, openFile } from "./file-source.ts";
import { type FolderOptions, pathPlace } from "./folder-store.ts";

/** Options of `openPath`. */
export interface PathOptions extends Omit<StoreOptions, "file">, FolderOptions {}

/** Formats that are looked for beside safetensors. */
const READERS: readonly FormatReader[] = [
  { ...torchReader, open: (source, options) => openTorch(source, { decompress, ...options }) },
  numpyReader,
];

/**
 * Opens a checkpoint: a safetensors, PyTorch or NumPy file, a folder, or an index; several files come as one checkpoint.
 * Only headers are read. Close it when done (`await using` does).
 *
 * @throws every error of `openStore`
 */
export async function openPath(path: string, options: PathOptions = {}): Promise<Checkpoint> {
  const { store, file } = await pathPlace(path, options);
  return openStore(store, {
    ...options,
    file,
    readers: options.readers ?? READERS,
  });
}

/** Opens one file of weights: safetensors, PyTorch or NumPy. */
export async function openWeights(
  path: string,
  options: OpenOptions & FileOptions = {},
): Promise<Checkpoint> {
  const source = await openFile(path, options);
  return orClose(source, () => open(source, { ...options, readers: options.readers ?? READERS }));
}
