import type { BigIntStats } from "node:fs";
import { stat } from "node:fs/promises";
import { basename, dirname, join, sep } from "node:path";
import { quote, SafetensorsError } from "../../errors.ts";
import { shardName } from "../../save/split.ts";
import type { CheckpointFiles } from "../locate.ts";

/** Where a conversion writes. */
export interface OutputPaths {
  readonly folder: string;
  /** A name in the folder for each input file, in the same order. */
  readonly files: readonly string[];
  /** Name of the index, for a checkpoint of several files. */
  readonly index?: string;
}

/** The name of the safetensors file for a PyTorch file, as Python's converters have it. */
export function safetensorsName(file: string): string {
  return `${renamed(file).replace(/\.(bin|pt|pth|ckpt|npz|npy|safetensors)$/, "")}.safetensors`;
}

/** The name of the index for a PyTorch index, or for numbered files without one. */
export function safetensorsIndexName({ files, index }: CheckpointFiles): string {
  if (!index)
    return `${renamed(files[0]!).replace(/(-\d{5,6}-of-\d{5,6})?\.\w+$/, "")}.safetensors.index.json`;
  const name = renamed(index.file);
  const usual = name.replace(/\.(bin|pt|pth|ckpt)(?=\.index(\.|$))/, ".safetensors");
  return usual === name ? `${name.replace(/(\.index)?\.json$/, "")}.safetensors.index.json` : usual;
}

/** "pytorch_model" says that it is none of safetensors; the usual name there is "model". */
function renamed(file: string): string {
  return file.replace(/^pytorch_model(?=[.-])/, "model");
}

/**
 * Decides where the output goes, and refuses what would destroy something. Nothing is created yet.
 *
 * @param output a file for a checkpoint of one file, else a folder; beside the input if undefined.
 * @param count number of files, if it is not that of the input: they are then numbered anew.
 * @throws `NOT_FOUND`, `IO` when an output is a folder, or the input itself under whatever name
 */
export async function outputPaths(
  input: CheckpointFiles,
  output: string | undefined,
  count?: number,
): Promise<OutputPaths> {
  const paths = await choosePaths(namesFor(input, count), input.folder, output);
  const inputs = [...input.files, ...(input.index ? [input.index.file] : [])];
  const targets = paths.index === undefined ? paths.files : [...paths.files, paths.index];
  if (new Set(targets.map((name) => name.toLowerCase())).size < targets.length) {
    throw new SafetensorsError(
      "AMBIGUOUS",
      "two of the input's files would get the same name when converted",
    );
  }
  await checkTargets(
    inputs.map((file) => join(input.folder, file)),
    targets.map((name) => join(paths.folder, name)),
  );
  return paths;
}

/**
 * Refuses to write where something would be destroyed.
 *
 * @throws `IO` when a target is a folder, or one of the inputs under whatever name
 */
export async function checkTargets(inputs: readonly string[], targets: readonly string[]): Promise<void> {
  const taken = await Promise.all(inputs.map(statOf));
  for (const path of targets) {
    const there = await statOf(path);
    if (there?.isDirectory()) throw failure(path, "cannot be written: it is a folder");
    if (there && taken.some((one) => one?.ino === there.ino && one.dev === there.dev)) {
      throw failure(path, "is the input itself; name another output");
    }
  }
}

/** The names of the output's files, and of its index if it has one. */
function namesFor(input: CheckpointFiles, count: number | undefined): Omit<OutputPaths, "folder"> {
  const files = input.files.map(safetensorsName);
  if (count === undefined) {
    return input.index || files.length > 1 ? { files, index: safetensorsIndexName(input) } : { files };
  }
  const stem = files[0]!.replace(/(-\d{5,6}-of-\d{5,6})?\.safetensors$/, "");
  const numbered = Array.from({ length: count }, (_, index) =>
    shardName(stem, "safetensors", index + 1, count),
  );
  return count > 1 ? { files: numbered, index: `${stem}.safetensors.index.json` } : { files: numbered };
}

async function choosePaths(
  names: Omit<OutputPaths, "folder">,
  beside: string,
  output: string | undefined,
): Promise<OutputPaths> {
  const status = output === undefined ? undefined : await statOf(output);
  if (names.index !== undefined) {
    if (output !== undefined && status && !status.isDirectory()) {
      throw failure(output, "is a file, but a checkpoint of several files needs a folder");
    }
    return { folder: output ?? beside, ...names };
  }
  if (output === undefined || status?.isDirectory() || output.endsWith("/") || output.endsWith(sep)) {
    return { folder: output ?? beside, ...names };
  }
  await checkFolderOf(output);
  return { folder: dirname(output), files: [basename(output)] };
}

/** Throws `NOT_FOUND` if there is no folder to write a file into. */
export async function checkFolderOf(output: string): Promise<void> {
  const folder = dirname(output);
  if ((await statOf(folder))?.isDirectory()) return;
  const text = `there is no folder ${quote(folder)} to write ${quote(basename(output))} into`;
  throw new SafetensorsError("NOT_FOUND", text, { file: output });
}

async function statOf(path: string): Promise<BigIntStats | undefined> {
  return stat(path, { bigint: true }).catch(() => undefined);
}

function failure(path: string, problem: string): SafetensorsError {
  return new SafetensorsError("IO", `the output ${quote(path)} ${problem}`, { file: path });
}
