import { stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { crc32 } from "node:zlib";
import { openStoreFiles } from "../../checkpoint/open-store.ts";
import { writeTorch } from "../../torch/index.ts";
import { entriesOf } from "../../torch/write/entries.ts";
import { pathPlace } from "../folder-store.ts";
import { FileGroup } from "../write/file-group.ts";
import { checkFolderOf, checkTargets } from "./names.ts";

/** Options of `convertToTorch`. */
export interface ToTorchOptions {
  /** Stops the conversion; nothing is left of it. */
  readonly signal?: AbortSignal | undefined;
  /** Called after every piece with the bytes of data written so far, and in all, and the name of the output file. */
  readonly onProgress?: ((done: number, total: number, file: string) => void) | undefined;
}

/** What a conversion to PyTorch did. */
export interface ToTorchResult {
  /** The safetensors files, with their sizes. */
  readonly inputs: readonly { readonly path: string; readonly byteLength: number }[];
  /** Path of the PyTorch file, and its size. */
  readonly output: string;
  readonly byteLength: number;
  /** Number of tensors with data of their own, and bytes of their data. */
  readonly tensors: number;
  readonly dataLength: number;
  /** Names that share the data of another tensor, each with that one's name, as the input's metadata says. */
  readonly aliases: ReadonlyMap<string, string>;
}

/**
 * Converts safetensors to one PyTorch file with all tensors. Tied weights that the metadata names are tied again.
 *
 * All is checked before anything is written, and the new file appears only when it is complete. An error, or the signal,
 * leaves everything as it was.
 *
 * @param input a safetensors file, an index, or a folder with either.
 * @throws every error of locating and reading the input; `UNSUPPORTED` for dtypes that PyTorch lacks; `DUPLICATE_NAME`;
 *   `NOT_FOUND` without a folder for the output; `IO`, also when the output is the input
 */
export async function convertToTorch(
  input: string,
  output: string,
  options: ToTorchOptions = {},
): Promise<ToTorchResult> {
  const { signal, onProgress } = options;
  // Blocking reads are the fastest, and nothing else is to be done.
  const { folder, store, file } = await pathPlace(input, { blocking: true });
  const { files, index, whole } = await openStoreFiles(store, { file, format: "safetensors", signal });
  try {
    const inputs = files.map((one) => ({ path: join(folder, one.file), byteLength: one.source.size }));
    const taken = [...inputs.map(({ path }) => path), ...(index ? [join(folder, index.file)] : [])];
    await checkFolderOf(output);
    await checkTargets(taken, [output]);
    const entries = entriesOf(whole);
    const group = new FileGroup();
    try {
      await writeTorch(await group.add(output), whole, {
        crc32,
        signal,
        onProgress: (done, total) => onProgress?.(done, total, basename(output)),
      });
      signal?.throwIfAborted();
      await group.commit();
    } catch (error) {
      await group.abort();
      throw error;
    }
    return {
      inputs,
      output,
      byteLength: (await stat(output)).size,
      tensors: entries.length,
      dataLength: entries.reduce((sum, { byteLength }) => sum + byteLength, 0),
      aliases: new Map(entries.flatMap(({ names: [name, ...others] }) => others.map((one) => [one, name!]))),
    };
  } finally {
    await whole.close();
  }
}
