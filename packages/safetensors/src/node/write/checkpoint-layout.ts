import { basename, dirname, join } from "node:path";
import { Checkpoint } from "../../checkpoint/checkpoint.ts";
import { withoutDigests } from "../../checkpoint/digest-keys.ts";
import { TensorHandle } from "../../checkpoint/tensor.ts";
import { elementCount } from "../../dtype/dtype.ts";
import { quote, SafetensorsError } from "../../errors.ts";
import { checkedByteLength, encodeHeader, sortTensors } from "../../format/encode.ts";
import { MAX_SHARDS } from "../../limits.ts";
import { groupAliases, type NamedTensor } from "../../save/aliases.ts";
import {
  chunksOfInput,
  entriesOf,
  type SaveInput,
  type SaveInputs,
  type TensorStream,
} from "../../save/save.ts";
import { shardName, splitGreedily } from "../../save/split.ts";
import type { OutputFile, OutputIndex } from "./write-outputs.ts";

/** What huggingface_hub splits at. */
const MAX_SHARD_SIZE = 5e9;

/** How tensors become files. */
export interface LayoutOptions {
  /** Most bytes of data in a file of a folder; 5 GB unless said otherwise. `Infinity` makes one file. */
  readonly maxShardSize?: number | undefined;
  /**
   * Which tensors go into which file of a folder, instead of `splitGreedily`: `splitTightly`, `splitEvenly`,
   * `splitByLayer`, or a function of your own.
   */
  readonly split?: ((sizes: readonly (readonly [name: string, bytes: number])[]) => string[][]) | undefined;
  /**
   * `canonical`, unless said otherwise: tensors are split in the order that one file would have them in, so that the
   * order of the input does not matter. `given`: in that of the input, as huggingface_hub does.
   */
  readonly order?: "canonical" | "given" | undefined;
  /**
   * For every file. Of a checkpoint its own, unless given. Digests in it are left out: they are of what was before. What it
   * says of names without data (see `CheckpointLayout.aliases`) stays, also if the tensor that they share has another name
   * by now.
   */
  readonly metadata?: ReadonlyMap<string, string> | Readonly<Record<string, string>> | undefined;
  /** Bytes of room in each header for later edits (see `editFile`); none unless said otherwise. */
  readonly reserve?: number | undefined;
  /** Begin of the names of the files in a folder; "model" unless said otherwise. */
  readonly stem?: string | undefined;
}

/** The files of a checkpoint before they are written. */
export interface CheckpointLayout {
  readonly folder: string;
  readonly files: readonly (OutputFile & { readonly byteLength: number })[];
  readonly index?: OutputIndex;
  /** Names without data of their own, each with the one whose data they share. The metadata says so. */
  readonly aliases: ReadonlyMap<string, string>;
}

/** Whether a path names a file to write, not a folder. */
export const isFilePath = (output: string): boolean => output.endsWith(".safetensors");

/**
 * Decides what goes into which file. Nothing is read or written.
 *
 * @param output a path that ends in `.safetensors` is a file; any other is a folder.
 * @throws what `encodeHeader` throws; `OUT_OF_RANGE` if `split` does not give each name once; `LIMIT_EXCEEDED` for more files
 *   than a checkpoint can have; `UNSAFE_FILE_NAME` for a stem that is no bare name
 */
export function layOutCheckpoint(
  output: string,
  tensors: SaveInputs | Checkpoint,
  options: LayoutOptions,
): CheckpointLayout {
  const folder = isFilePath(output) ? dirname(output) : output;
  const stem = isFilePath(output) ? basename(output, ".safetensors") : checkedStem(options.stem ?? "model");
  const metadata = withoutDigests(metadataOf(tensors, options));
  const given = inputsOf(tensors);
  const canonical = sortTensors(given);
  const entries = options.order === "given" ? given : canonical;
  const aliases = aliasesIn(entries, metadata);
  const stored = new Map(entries.filter(([name]) => !aliases.has(name)));

  const groups = isFilePath(output) ? [[...stored.keys()]] : groupsOf(stored, options);
  const files = groups.map((names, position) => {
    const members = new Map(names.map((name) => [name, streamOf(name, stored.get(name)!)]));
    const ties = [...aliases].filter(([, kept]) => members.has(kept));
    const all = new Map([...metadata, ...ties]);
    const own = all.size > 0 ? all : undefined;
    const { reserve } = options;
    const { bytes, dataLength } = encodeHeader(members, { metadata: own, reserve });
    const path = join(folder, shardName(stem, "safetensors", position + 1, groups.length));
    const byteLength = bytes.length + dataLength;
    return { path, tensors: members, metadata: own, reserve, dataLength, byteLength };
  });
  if (files.length === 1) return { folder, files, aliases };
  const parameters = [...stored.values()].reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const path = join(folder, `${stem}.safetensors.index.json`);
  return { folder, files, index: { path, metadata: { total_parameters: parameters } }, aliases };
}

/** A stem with a folder in it would lead out of the output; hidden files are not found again. */
function checkedStem(stem: string): string {
  if (stem !== "" && !/^\.|[/\\]/.test(stem)) return stem;
  const text = `${quote(stem)} cannot be the begin of files' names: it must be a bare name, and not begin with a dot`;
  throw new SafetensorsError("UNSAFE_FILE_NAME", text);
}

function inputsOf(tensors: SaveInputs | Checkpoint): (readonly [name: string, input: SaveInput])[] {
  if (tensors instanceof Checkpoint) return Array.from(tensors, (tensor) => [tensor.name, tensor]);
  return entriesOf(tensors);
}

function metadataOf(
  tensors: SaveInputs | Checkpoint,
  { metadata }: LayoutOptions,
): ReadonlyMap<string, string> {
  if (metadata === undefined) return tensors instanceof Checkpoint ? tensors.metadata : new Map();
  return metadata instanceof Map ? metadata : new Map(Object.entries(metadata));
}

/** Names for data that another name has already, unless the metadata needs that name for something else. */
function aliasesIn(
  entries: readonly (readonly [name: string, input: SaveInput])[],
  metadata: ReadonlyMap<string, string>,
): ReadonlyMap<string, string> {
  const { aliases } = groupAliases(entries.map(([name, input]) => named(name, input)));
  return new Map([...aliases].filter(([name]) => !metadata.has(name)));
}

function named(name: string, input: SaveInput): NamedTensor {
  const { dtype, shape } = input;
  if (input instanceof TensorHandle) return { name, dtype, shape, view: input.view };
  return { name, dtype, shape, ...("data" in input && { data: input.data }) };
}

/** The names in each file. */
function groupsOf(
  stored: ReadonlyMap<string, SaveInput>,
  { split, maxShardSize = MAX_SHARD_SIZE }: LayoutOptions,
): string[][] {
  const sizes = Array.from(stored, ([name, { dtype, shape }]) => {
    return [name, checkedByteLength(name, dtype, shape)] as const;
  });
  const groups = (split ?? ((all) => splitGreedily(all, maxShardSize)))(sizes);
  if (groups.length > MAX_SHARDS) {
    const text = `the tensors would go into ${groups.length} files, of which at most ${MAX_SHARDS} can be read back; make them larger`;
    throw new SafetensorsError("LIMIT_EXCEEDED", text, { limit: "MAX_SHARDS" });
  }
  const names = groups.flat();
  if (
    names.length !== stored.size ||
    !names.every((name) => stored.has(name)) ||
    new Set(names).size < names.length
  ) {
    throw new SafetensorsError("OUT_OF_RANGE", "the split does not put every tensor into one file");
  }
  return groups.length > 0 ? groups : [[]];
}

function streamOf(name: string, input: SaveInput): TensorStream {
  if ("chunks" in input) return input;
  const { dtype, shape } = input;
  return { dtype, shape, chunks: (buffer, options = {}) => chunksOfInput(name, input, buffer, options) };
}
