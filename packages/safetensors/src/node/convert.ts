import { mkdir, rmdir, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { joinShards } from "../checkpoint/sharded.ts";
import type { TensorHandle } from "../checkpoint/tensor.ts";
import { inFile, SafetensorsError } from "../errors.ts";
import { encodeHeader } from "../format/encode.ts";
import { EXPANSION_ALLOWANCE, MAX_EXPANSION } from "../limits.ts";
import { save } from "../save/save.ts";
import { groupAliases, type TorchCheckpoint, type TorchReport } from "../torch/index.ts";
import { encodeIndex } from "./convert-index.ts";
import { locateTorch, openTorchFile } from "./convert-input.ts";
import { type OutputPaths, outputPaths } from "./convert-names.ts";
import { FileGroup } from "./file-group.ts";
import { ioError } from "./io-error.ts";

/** Options of `convertPath`. */
export interface ConvertOptions {
  /** Where in the file the state dict is, as a dotted path; found by itself where only one place can be meant. */
  readonly key?: string | undefined;
  /** Metadata for every file, besides `format: "pt"` and the names of tied tensors. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  /** Write it even if it is more than `MAX_EXPANSION` times as large as the input. */
  readonly allowExpansion?: boolean | undefined;
  /** Stops the conversion; nothing is left of it. */
  readonly signal?: AbortSignal | undefined;
  /** Called after every piece with the bytes of data written so far, and in all, and the name of the output file. */
  readonly onProgress?: ((done: number, total: number, file: string) => void) | undefined;
}

/** One file of a conversion. */
export interface ConvertedFile {
  /** Path of the PyTorch file, and its size. */
  readonly input: string;
  readonly inputLength: number;
  /** Path of the safetensors file, and its size. */
  readonly output: string;
  readonly byteLength: number;
  /** Number of tensors, and bytes of their data. */
  readonly tensors: number;
  readonly dataLength: number;
  /** Names that have no data of their own here, with the tensor whose data they share. The file's metadata says so. */
  readonly aliases: ReadonlyMap<string, string>;
  /** What the PyTorch file asked for, and what was left out. */
  readonly report: TorchReport;
}

/** What a conversion did. */
export interface ConvertResult {
  readonly files: readonly ConvertedFile[];
  /** Path of the index, for a checkpoint of several files. */
  readonly index?: string;
}

/**
 * Converts PyTorch files to safetensors, without running any code from them. The split into files stays; of tensors
 * that are the same view of the same data one is kept, and metadata names the others.
 *
 * All files are opened and checked before anything is written, and the new files appear only when all are complete,
 * the index last. An error, or the signal, leaves everything as it was.
 *
 * @param input a PyTorch file, an index such as `pytorch_model.bin.index.json`, or a folder with either.
 * @param output a file, or a folder; beside the input if undefined.
 * @throws every error of locating and reading the input; `UNSUPPORTED` if it is safetensors already; `INDEX_MISMATCH`;
 *   `LIMIT_EXCEEDED` (`MAX_EXPANSION`); `IO`, also when the output is the input
 */
export async function convertPath(
  input: string,
  output?: string,
  options: ConvertOptions = {},
): Promise<ConvertResult> {
  const location = await locateTorch(input);
  const opened = new Map<string, TorchCheckpoint>();
  try {
    for (const file of location.files) {
      opened.set(file, await inFile(file, () => openTorchFile(join(location.folder, file), options)));
    }
    joinShards(opened, location.index?.weightMap);
    const paths = await outputPaths(location, output);
    const plans: FilePlan[] = [];
    for (const [position, [file, checkpoint]] of [...opened].entries()) {
      const outputPath = join(paths.folder, paths.files[position]!);
      plans.push(
        await inFile(file, () => planFile(checkpoint, join(location.folder, file), outputPath, options)),
      );
    }
    if (!options.allowExpansion) checkExpansion(plans);
    await writeAll(plans, paths, location.index?.metadata, options);
    const files = plans.map((plan) => plan.result);
    return paths.index === undefined ? { files } : { files, index: join(paths.folder, paths.index) };
  } finally {
    for (const checkpoint of opened.values()) await checkpoint.close();
  }
}

/** All that is needed to write one file. */
interface FilePlan {
  readonly tensors: ReadonlyMap<string, TensorHandle>;
  readonly metadata: ReadonlyMap<string, string>;
  readonly result: ConvertedFile;
}

async function planFile(
  checkpoint: TorchCheckpoint,
  input: string,
  output: string,
  options: ConvertOptions,
): Promise<FilePlan> {
  const metadata = new Map([["format", "pt"], ...Object.entries(options.metadata ?? {})]);
  // A tied tensor with the name of a metadata key cannot be named there, so it is written in full.
  const aliases = new Map([...groupAliases(checkpoint).aliases].filter(([name]) => !metadata.has(name)));
  for (const [name, kept] of aliases) metadata.set(name, kept);
  const tensors = new Map<string, TensorHandle>();
  for (const tensor of checkpoint) if (!aliases.has(tensor.name)) tensors.set(tensor.name, tensor);
  const header = encodeHeader(tensors, { metadata });
  const result = {
    input,
    inputLength: (await stat(input)).size,
    output,
    byteLength: header.bytes.length + header.dataLength,
    tensors: tensors.size,
    dataLength: header.dataLength,
    aliases,
    report: checkpoint.report,
  };
  return { tensors, metadata, result };
}

function checkExpansion(plans: readonly FilePlan[]): void {
  const sum = (key: "inputLength" | "byteLength"): number =>
    plans.reduce((total, { result }) => total + result[key], 0);
  const [input, output] = [sum("inputLength"), sum("byteLength")];
  if (output <= Math.max(MAX_EXPANSION * input, EXPANSION_ALLOWANCE)) return;
  const text = `${input} bytes of input would become ${output}: some tensors repeat the same data over and over`;
  throw new SafetensorsError("LIMIT_EXCEEDED", text, { limit: "MAX_EXPANSION" });
}

async function writeAll(
  plans: readonly FilePlan[],
  paths: OutputPaths,
  indexMetadata: Readonly<Record<string, unknown>> | undefined,
  options: ConvertOptions,
): Promise<void> {
  const { signal, onProgress } = options;
  const total = plans.reduce((sum, { result }) => sum + result.dataLength, 0);
  const created = await makeFolder(paths.folder);
  const group = new FileGroup();
  try {
    let before = 0;
    for (const { tensors, metadata, result } of plans) {
      const file = basename(result.output);
      await save(await group.add(result.output), tensors, {
        metadata,
        signal,
        onProgress: (done) => onProgress?.(before + done, total, file),
      });
      before += result.dataLength;
    }
    if (paths.index !== undefined) {
      const weightMap = new Map(
        plans.flatMap(({ tensors, result }) =>
          [...tensors.keys()].map((name) => [name, basename(result.output)]),
        ),
      );
      const sink = await group.add(join(paths.folder, paths.index));
      await sink.write(encodeIndex({ ...indexMetadata, total_size: total }, weightMap));
    }
    signal?.throwIfAborted();
    await group.commit();
  } catch (error) {
    await group.abort();
    await removeFolder(paths.folder, created);
    throw error;
  }
}

/** Makes a folder, with those above it, and says which is the highest one that was not there. */
async function makeFolder(folder: string): Promise<string | undefined> {
  try {
    return await mkdir(folder, { recursive: true });
  } catch (cause) {
    throw ioError(folder, "make", cause);
  }
}

/** Undoes `makeFolder`, as far as the folders are empty. */
async function removeFolder(folder: string, created: string | undefined): Promise<void> {
  if (created === undefined) return;
  try {
    for (let path = resolve(folder); ; path = dirname(path)) {
      await rmdir(path);
      if (path === resolve(created)) return;
    }
  } catch {
    // Somebody else has put something there meanwhile.
  }
}
