import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { Checkpoint } from "../../checkpoint/checkpoint.ts";
import { joinShards } from "../../checkpoint/sharded.ts";
import { inFile, SafetensorsError } from "../../errors.ts";
import { encodeHeader } from "../../format/encode.ts";
import { MAX_HEADER_BYTES } from "../../limits.ts";
import { withLists } from "../../save/name-rules.ts";
import { TorchCheckpoint, type TorchOptions, type TorchReport } from "../../torch/index.ts";
import { type OutputFile, type WriteOptions, writeOutputs } from "../write/write-outputs.ts";
import { checkExpansion } from "./expansion.ts";
import { locateTorch, openInput } from "./input.ts";
import { outputPaths } from "./names.ts";
import { contentsOf, type OutputRules } from "./outputs.ts";
import { verifyRest } from "./verify.ts";

/** Options of `convertPath`: how to read the input, what of it to write and how. */
export interface ConvertOptions extends Omit<TorchOptions, "signal">, OutputRules, WriteOptions {
  /** Metadata for every file, besides `format` ("pt" or "np") and the names of tied tensors. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  /** Write it even if it is more than `MAX_EXPANSION` times as large as the input. */
  readonly allowExpansion?: boolean | undefined;
}

/** One input file of a conversion. */
export interface ConvertedInput {
  readonly path: string;
  readonly byteLength: number;
  /** What the PyTorch file asked for, and what was left out; NumPy files ask for nothing. */
  readonly report?: TorchReport;
}

/** One output file of a conversion. */
export interface ConvertedFile {
  readonly path: string;
  readonly byteLength: number;
  /** Paths of the input files that its tensors come from. */
  readonly inputs: readonly string[];
  /** Number of tensors, and bytes of their data. */
  readonly tensors: number;
  readonly dataLength: number;
  /** Names that have no data of their own here, with the tensor whose data they share. The file's metadata says so. */
  readonly aliases: ReadonlyMap<string, string>;
}

/** What a conversion did. */
export interface ConvertResult {
  readonly inputs: readonly ConvertedInput[];
  readonly files: readonly ConvertedFile[];
  /** Path of the index, for a checkpoint of several files. */
  readonly index?: string;
}

/**
 * Converts PyTorch and NumPy files to safetensors, without running any code from them. The split into files stays unless another
 * is asked for; of tensors that are the same view of the same data one is kept, and metadata names the others.
 *
 * All files are opened and checked before anything is written, and the new files appear only when all are complete,
 * the index last. An error, or the signal, leaves everything as it was. While they are copied, tensors are compared with the
 * checksums that their files have of them, see `save`; `verify` compares the rest of the files, too.
 *
 * @param input a PyTorch or NumPy file, an index such as `pytorch_model.bin.index.json`, or a folder with either.
 * @param output a file, or a folder; beside the input if undefined.
 * @throws every error of locating and reading the input; `UNSUPPORTED` if it is safetensors already; `INDEX_MISMATCH`;
 *   `LIMIT_EXCEEDED` (`MAX_EXPANSION`); what `applyNameRules` throws; `IO`, also when the output is the input
 */
export async function convertPath(
  input: string,
  output?: string,
  given: ConvertOptions = {},
): Promise<ConvertResult> {
  const options = withLists(given);
  const location = await locateTorch(input);
  const { folder, files: names, index } = location;
  const opened = new Map<string, Checkpoint>();
  try {
    for (const file of names) {
      opened.set(file, await inFile(file, () => openInput(join(folder, file), options)));
    }
    joinShards(opened, index?.weightMap);
    const isTorch = [...opened.values()].some((checkpoint) => checkpoint instanceof TorchCheckpoint);
    const metadata = new Map([["format", isTorch ? "pt" : "np"], ...Object.entries(options.metadata ?? {})]);
    const contents = contentsOf(opened, options, new Set(metadata.keys()));
    if (options.verify) {
      const copied = contents.flatMap((content) => content.copied);
      for (const file of names)
        await inFile(file, () => verifyRest(join(folder, file), opened.get(file)!, copied, options.signal));
    }
    const { maxShardSize = Number.POSITIVE_INFINITY } = options;
    if (maxShardSize === Number.POSITIVE_INFINITY && contents.length > names.length && isOneFile(output)) {
      const text = `the header would take more than ${MAX_HEADER_BYTES} bytes, so several files are needed; name a folder for them`;
      throw new SafetensorsError("HEADER_TOO_LARGE", text, { limit: "MAX_HEADER_BYTES" });
    }
    const isSplitAnew = options.maxShardSize !== undefined || contents.length !== names.length;
    const paths = await outputPaths(location, output, isSplitAnew ? contents.length : undefined);
    const inputs = await Promise.all(
      Array.from(opened, async ([file, checkpoint]): Promise<ConvertedInput> => {
        const path = join(folder, file);
        const { size: byteLength } = await stat(path);
        return checkpoint instanceof TorchCheckpoint
          ? { path, byteLength, report: checkpoint.report }
          : { path, byteLength };
      }),
    );
    const outputs: OutputFile[] = [];
    const files = contents.map(({ inputs: sources, tensors, aliases }, position): ConvertedFile => {
      const path = join(paths.folder, paths.files[position]!);
      const withAliases = new Map([...metadata, ...aliases]);
      const { bytes, dataLength } = encodeHeader(tensors, { metadata: withAliases });
      outputs.push({ path, tensors, metadata: withAliases, dataLength });
      const byteLength = bytes.length + dataLength;
      const from = sources.map((file) => join(folder, file));
      return { path, byteLength, inputs: from, tensors: tensors.size, dataLength, aliases };
    });
    if (!options.allowExpansion) checkExpansion(inputs, files);
    const indexPath = paths.index === undefined ? undefined : join(paths.folder, paths.index);
    const outputIndex = indexPath === undefined ? undefined : { path: indexPath, metadata: index?.metadata };
    await writeOutputs(paths.folder, outputs, outputIndex, options);
    return { inputs, files, ...(indexPath !== undefined && { index: indexPath }) };
  } finally {
    for (const checkpoint of opened.values()) await checkpoint.close();
  }
}

/** Whether an output names a file, and no folder. */
function isOneFile(output: string | undefined): boolean {
  return output !== undefined && /\.safetensors$/i.test(output);
}
