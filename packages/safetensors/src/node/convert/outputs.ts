import { crc32 } from "node:zlib";
import type { Checkpoint } from "../../checkpoint/checkpoint.ts";
import { TensorHandle } from "../../checkpoint/tensor.ts";
import type { FloatDtype } from "../../dtype/cast.ts";
import { DTYPES } from "../../dtype/dtype.ts";
import { MAX_HEADER_BYTES } from "../../limits.ts";
import { type AliasOptions, groupAliases } from "../../save/aliases.ts";
import { castTensor } from "../../save/cast.ts";
import { applyNameRules, type NameRules, wholesOf } from "../../save/name-rules.ts";
import type { TensorStream } from "../../save/save.ts";
import { runsOf, splitGreedily } from "../../save/split.ts";

/** Bytes at most of an entry of a header besides name and shape: keys, dtype, two offsets of 16 digits. */
const ENTRY_BYTES = 100;

/** Bytes of all entries: the rest of the header is for other metadata. */
const MAX_ENTRY_BYTES = MAX_HEADER_BYTES - 2 ** 20;

/** Which tensors a conversion writes, under which names, in which form, in how many files. */
export interface OutputRules extends NameRules, AliasOptions {
  /** Floats of more than 8 bits are cast to this dtype, see `castFloats`; others stay as they are. */
  readonly dtype?: FloatDtype | undefined;
  /**
   * Most bytes of data in a file: the checkpoint is split anew, as huggingface_hub splits. Without it, the split of the
   * input stays. `Infinity` makes one file. A file whose header would be too large to be read back is split in any case.
   */
  readonly maxShardSize?: number | undefined;
}

/** What goes into one output file. */
export interface OutputContent {
  /** The input files that its tensors come from. */
  readonly inputs: readonly string[];
  readonly tensors: ReadonlyMap<string, TensorStream>;
  /** The tensors of the input that these are. */
  readonly copied: readonly TensorHandle[];
  /** Names without data of their own, each with the tensor in this file whose data they share. */
  readonly aliases: ReadonlyMap<string, string>;
}

/**
 * Decides what goes where.
 *
 * @param opened the input files, in order.
 * @param reserved names that no alias can have, because metadata has them: such a tensor is written in full.
 * @throws what `applyNameRules` and `groupAliases` throw
 */
export function contentsOf(
  opened: ReadonlyMap<string, Checkpoint>,
  rules: OutputRules,
  reserved: ReadonlySet<string>,
): OutputContent[] {
  const fileOf = new Map<TensorHandle, string>();
  for (const [file, checkpoint] of opened) for (const tensor of checkpoint) fileOf.set(tensor, file);
  const renamed = applyNameRules(fileOf.keys(), rules, wholesOf(opened.values()));
  const handles = Array.from(renamed, ([name, { view }]) => new TensorHandle(name, view));
  const ties = groupAliases(handles, rules).aliases;
  const aliases = new Map([...ties].filter(([name]) => !reserved.has(name)));
  const stored = handles.filter(({ name }) => !aliases.has(name));
  const inputOf = (name: string): string => fileOf.get(renamed.get(name)!)!;

  const headerBytes = headerBytesWith(aliases);
  const groups = groupsOf(stored, inputOf, rules.maxShardSize).flatMap((group) =>
    runsOf(group, headerBytes, MAX_ENTRY_BYTES),
  );
  return groups.map((group) => {
    const names = new Set(group.map(({ name }) => name));
    return {
      inputs: [...new Set(group.map(({ name }) => inputOf(name)))],
      tensors: new Map(
        group.map((tensor) => [tensor.name, rules.dtype ? castWide(tensor, rules.dtype) : tensor]),
      ),
      copied: group,
      aliases: new Map([...aliases].filter(([, kept]) => names.has(kept))),
    };
  });
}

/** Bytes at most that a tensor takes in a header, with the names in metadata of those that share its data. */
function headerBytesWith(aliases: ReadonlyMap<string, string>): (tensor: TensorHandle) => number {
  const others = new Map<string, number>();
  for (const [name, kept] of aliases) {
    const bytes = jsonBytes(name) + jsonBytes(kept) + 2;
    others.set(kept, (others.get(kept) ?? 0) + bytes);
  }
  return ({ name, shape }) => jsonBytes(name) + jsonBytes(shape) + ENTRY_BYTES + (others.get(name) ?? 0);
}

function jsonBytes(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value));
}

/** Floats of 8 bits and less are quantized weights and scales, which a cast would make wrong without their companions. */
export function castWide(tensor: TensorHandle, to: FloatDtype): TensorStream {
  return DTYPES[tensor.dtype].bits > 8 ? castTensor(tensor, to, { crc32 }) : tensor;
}

function groupsOf(
  tensors: readonly TensorHandle[],
  inputOf: (name: string) => string,
  maxShardSize: number | undefined,
): TensorHandle[][] {
  if (maxShardSize === undefined) {
    const byInput = new Map<string, TensorHandle[]>();
    for (const tensor of tensors) {
      const input = inputOf(tensor.name);
      const group = byInput.get(input);
      if (group) group.push(tensor);
      else byInput.set(input, [tensor]);
    }
    return [...byInput.values()];
  }
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  const sizes = tensors.map(({ name, byteLength }) => [name, byteLength] as const);
  return splitGreedily(sizes, maxShardSize).map((names) => names.map((name) => byName.get(name)!));
}
