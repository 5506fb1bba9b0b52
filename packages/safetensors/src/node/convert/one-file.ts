import { stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { crc32 } from "node:zlib";
import type { Checkpoint } from "../../checkpoint/checkpoint.ts";
import { openStoreFiles } from "../../checkpoint/open-store.ts";
import { TensorHandle } from "../../checkpoint/tensor.ts";
import { inFile } from "../../errors.ts";
import { numpyReader, openNumpy } from "../../numpy/index.ts";
import { groupAliases } from "../../save/aliases.ts";
import { applyNameRules, type NameRules, wholesOf, withLists } from "../../save/name-rules.ts";
import type { SaveOptions, TensorStream } from "../../save/save.ts";
import type { Sink } from "../../save/sink.ts";
import { openTorch, TorchCheckpoint, type TorchOptions, torchReader } from "../../torch/index.ts";
import { aliasesIn } from "../../torch/write/aliases.ts";
import type { Crc32 } from "../../zip/crc32.ts";
import { decompress } from "../decompress.ts";
import { pathPlace } from "../folder-store.ts";
import { FileGroup } from "../write/file-group.ts";
import type { WriteOptions } from "../write/write-outputs.ts";
import type { ConvertedInput, ConvertOptions } from "./convert.ts";
import { checkExpansion } from "./expansion.ts";
import { checkFolderOf, checkTargets } from "./names.ts";
import { castWide, type OutputContent } from "./outputs.ts";
import { verifyRest, verifyWritten } from "./verify.ts";

/** Options of `convertToTorch` and `convertToNumpy`: how to read the input, what of it to write and how. */
export interface OneFileOptions
  extends Omit<TorchOptions, "signal">,
    NameRules,
    Omit<WriteOptions, "resume">,
    Pick<ConvertOptions, "dtype" | "allowExpansion"> {}

/** What a conversion to one file of another format did. */
export interface OneFileResult {
  /** The files of the input. */
  readonly inputs: readonly ConvertedInput[];
  /** Path of the new file, and its size. */
  readonly output: string;
  readonly byteLength: number;
  /** Number of tensors with data of their own, and bytes of their data. */
  readonly tensors: number;
  readonly dataLength: number;
  /** Names that share the data of another tensor, each with that one's name. */
  readonly aliases: ReadonlyMap<string, string>;
}

/** The tensors to write, and their further names. */
export interface OneFileContent {
  readonly tensors: ReadonlyMap<string, TensorStream>;
  readonly aliases: ReadonlyMap<string, string>;
}

/** A format that a file can be written in. */
export interface OneFileFormat {
  /** Whether tensors share data in it. */
  readonly ties: boolean;
  /** Bytes of each tensor. Throws for what the format cannot hold. */
  sizes(content: OneFileContent): number[];
  write(sink: Sink, content: OneFileContent, options: OneFileWriting): Promise<void>;
}

/** How a file is written. */
export interface OneFileWriting extends Pick<SaveOptions, "signal" | "onProgress"> {
  readonly crc32: Crc32;
}

/**
 * Converts safetensors, PyTorch and NumPy files to one file with all tensors, and nothing else.
 *
 * All is checked before anything is written, and the new file appears only when it is complete. An error, or the signal,
 * leaves everything as it was. Checksums are compared as by `convertPath`.
 *
 * @param input a file, an index, or a folder with either, in which safetensors come first.
 * @throws every error of locating and reading the input; what `applyNameRules` throws; `UNSUPPORTED` for what the format
 *   lacks; `LIMIT_EXCEEDED` (`MAX_EXPANSION`); `NOT_FOUND` without a folder for the output; `IO`, also when the output is the
 *   input
 */
export async function convertToOne(
  input: string,
  output: string,
  format: OneFileFormat,
  given: OneFileOptions,
): Promise<OneFileResult> {
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
    const { copied, ...content } = contentOf(whole, options, format.ties);
    const sizes = format.sizes(content);
    const dataLength = sizes.reduce((sum, size) => sum + size, 0);
    if (!options.allowExpansion) checkExpansion(inputs, [{ byteLength: dataLength }]);
    if (verify) {
      for (const { file: name, checkpoint } of files)
        await inFile(name, () => verifyRest(join(folder, name), checkpoint, copied, signal));
    }
    const group = new FileGroup();
    try {
      const sink = await group.add(output);
      await format.write(sink, content, {
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
    return { inputs, output, byteLength, tensors: sizes.length, dataLength, aliases: content.aliases };
  } finally {
    await whole.close();
  }
}

const openTorchWith =
  (options: TorchOptions): typeof openTorch =>
  (source) =>
    openTorch(source, { decompress, ...options });

const openNumpyWith =
  ({ allowExpansion }: OneFileOptions): typeof openNumpy =>
  (source, reading) =>
    openNumpy(source, { ...reading, allowExpansion });

/** The tensors to write, and their further names. Names in the metadata are tensors like others to the rules. */
function contentOf(
  whole: Checkpoint,
  rules: OneFileOptions,
  ties: boolean,
): OneFileContent & Pick<OutputContent, "copied"> {
  const own = new Set(whole);
  const tied = Array.from(aliasesIn(whole), ([alias, name]) => new TensorHandle(alias, whole.get(name).view));
  const renamed = applyNameRules([...own, ...tied], rules, wholesOf([whole]));
  const handles = Array.from(renamed, ([name, { view }]) => new TensorHandle(name, view));
  // What safetensors store stays the first name, and so in its place.
  const keep = Array.from(renamed.keys()).filter((name) => own.has(renamed.get(name)!));
  const aliases = ties ? groupAliases(handles, { keep }).aliases : new Map<string, string>();
  const stored = handles.filter(({ name }) => !aliases.has(name));
  const tensors = new Map(
    stored.map((tensor) => [tensor.name, rules.dtype ? castWide(tensor, rules.dtype) : tensor]),
  );
  return { tensors, copied: stored, aliases };
}
