import { stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { crc32 } from "node:zlib";
import type { Checkpoint } from "../../checkpoint/checkpoint.ts";
import { openStoreFiles } from "../../checkpoint/open-store.ts";
import { TensorHandle } from "../../checkpoint/tensor.ts";
import { numpyReader, openNumpy } from "../../numpy/index.ts";
import { groupAliases } from "../../save/aliases.ts";
import { applyNameRules, type NameRules, wholesOf, withLists } from "../../save/name-rules.ts";
import { openTorch, TorchCheckpoint, type TorchOptions, torchReader, writeTorch } from "../../torch/index.ts";
import { aliasesIn } from "../../torch/write/aliases.ts";
import { entriesOf } from "../../torch/write/entries.ts";
import { decompress } from "../decompress.ts";
import { pathPlace } from "../folder-store.ts";
import { FileGroup } from "../write/file-group.ts";
import type { WriteOptions } from "../write/write-outputs.ts";
import type { ConvertedInput, ConvertOptions } from "./convert.ts";
import { checkExpansion } from "./expansion.ts";
import { checkFolderOf, checkTargets } from "./names.ts";
import { castWide, type OutputContent } from "./outputs.ts";
import { verifyRest, verifyWritten } from "./verify.ts";

/** Options of `convertToTorch`: how to read the input, which concerns PyTorch files, what of it to write and how. */
export interface ToTorchOptions
  extends Omit<TorchOptions, "signal">,
    NameRules,
    Omit<WriteOptions, "resume">,
    Pick<ConvertOptions, "dtype" | "allowExpansion"> {}

/** What a conversion to PyTorch did. */
export interface ToTorchResult {
  /** The files of the input. */
  readonly inputs: readonly ConvertedInput[];
  /** Path of the PyTorch file, and its size. */
  readonly output: string;
  readonly byteLength: number;
  /** Number of tensors with data of their own, and bytes of their data. */
  readonly tensors: number;
  readonly dataLength: number;
  /** Names that share the data of another tensor, each with that one's name. */
  readonly aliases: ReadonlyMap<string, string>;
}

/**
 * Converts safetensors, PyTorch and NumPy files to one PyTorch file with all tensors, and nothing else: of a PyTorch file, no
 * code is run, and none is kept. Tied weights, which the metadata of safetensors names, are tied again; views that overlap
 * but differ get data of their own.
 *
 * All is checked before anything is written, and the new file appears only when it is complete. An error, or the signal,
 * leaves everything as it was. Checksums are compared as by `convertPath`.
 *
 * @param input a file, an index, or a folder with either, in which safetensors come first.
 * @throws every error of locating and reading the input; what `applyNameRules` throws; `UNSUPPORTED` for dtypes that PyTorch
 *   lacks; `DUPLICATE_NAME`; `LIMIT_EXCEEDED` (`MAX_EXPANSION`); `NOT_FOUND` without a folder for the output; `IO`, also when
 *   the output is the input
 */
export async function convertToTorch(
  input: string,
  output: string,
  given: ToTorchOptions = {},
): Promise<ToTorchResult> {
  const options = withLists(given);
  const { signal, onProgress, verify } = options;
  // Blocking reads are the fastest, and nothing else is to be done.
  const { folder, store, file } = await pathPlace(input, { blocking: true });
  const torch = { ...torchReader, open: openTorchWith(options) };
  const numpy = { ...numpyReader, open: openNumpyWith(options) };
  const { files, index, whole } = await openStoreFiles(store, {
    file,
    signal,
    readers: [torch, numpy],
  });
  try {
    const inputs = files.map(({ file: name, source, checkpoint }): ConvertedInput => {
      const place = { path: join(folder, name), byteLength: source.size };
      return checkpoint instanceof TorchCheckpoint ? { ...place, report: checkpoint.report } : place;
    });
    const taken = [...inputs.map(({ path }) => path), ...(index ? [join(folder, index.file)] : [])];
    await checkFolderOf(output);
    await checkTargets(taken, [output]);
    const { tensors, copied, aliases } = contentOf(whole, options);
    const entries = entriesOf(tensors, aliases);
    const dataLength = entries.reduce((sum, { byteLength }) => sum + byteLength, 0);
    if (!options.allowExpansion) checkExpansion(inputs, [{ byteLength: dataLength }]);
    if (verify) {
      for (const { file: name, checkpoint } of files)
        await verifyRest(join(folder, name), checkpoint, copied, signal);
    }
    const group = new FileGroup();
    try {
      const sink = await group.add(output);
      await writeTorch(sink, tensors, {
        aliases,
        crc32,
        signal,
        onProgress: (done, total) => onProgress?.(done, total, basename(output)),
      });
      if (verify) await verifyWritten(sink.temporary, output, signal);
      signal?.throwIfAborted();
      await group.commit();
    } catch (error) {
      await group.abort();
      throw error;
    }
    const { size: byteLength } = await stat(output);
    return { inputs, output, byteLength, tensors: entries.length, dataLength, aliases };
  } finally {
    await whole.close();
  }
}

const openTorchWith =
  (options: TorchOptions): typeof openTorch =>
  (source) =>
    openTorch(source, { decompress, ...options });

const openNumpyWith =
  ({ allowExpansion }: ToTorchOptions): typeof openNumpy =>
  (source, reading) =>
    openNumpy(source, { ...reading, allowExpansion });

/** The tensors to write, and their further names. Names in the metadata are tensors like others to the rules. */
function contentOf(
  whole: Checkpoint,
  rules: ToTorchOptions,
): Pick<OutputContent, "tensors" | "copied" | "aliases"> {
  const own = new Set(whole);
  const tied = Array.from(aliasesIn(whole), ([alias, name]) => new TensorHandle(alias, whole.get(name).view));
  const renamed = applyNameRules([...own, ...tied], rules, wholesOf([whole]));
  const handles = Array.from(renamed, ([name, { view }]) => new TensorHandle(name, view));
  // What safetensors store stays the first name, and so in its place.
  const keep = Array.from(renamed.keys()).filter((name) => own.has(renamed.get(name)!));
  const { aliases } = groupAliases(handles, { keep });
  const stored = handles.filter(({ name }) => !aliases.has(name));
  const tensors = new Map(
    stored.map((tensor) => [tensor.name, rules.dtype ? castWide(tensor, rules.dtype) : tensor]),
  );
  return { tensors, copied: stored, aliases };
}
