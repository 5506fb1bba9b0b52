import type { Dtype } from "../dtype/dtype.ts";
import { quote, SafetensorsError } from "../errors.ts";
import { compareUtf8 } from "../format/utf8.ts";
import type { ByteSource } from "../source/source.ts";
import type { TensorView } from "../view/tiling.ts";
import type { StridedView } from "../view/view.ts";

/** Names with data of their own, and names for the same data. */
export interface AliasGroups {
  /** One name for each different view, in the order of the tensors. */
  readonly kept: readonly string[];
  /** The other names, each with the one that is kept for it. */
  readonly aliases: ReadonlyMap<string, string>;
}

/** A tensor as far as it tells whether it is the same as another: a `TensorHandle`, or one in memory. */
export interface NamedTensor {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Where a tensor that is not read lies. */
  readonly view?: TensorView;
  /** What holds the elements of one that has no view. */
  readonly data?: unknown;
}

/** Which name of a group to keep; names of tensors that belong to no group do not matter. */
export interface AliasOptions {
  /** Names to keep. */
  readonly keep?: readonly string[] | undefined;
  /** Names not to keep, as in `shared_tensors_to_discard` of huggingface_hub, if their group has another one. */
  readonly discard?: readonly string[] | undefined;
}

/**
 * Finds tensors that are the same view of the same data ("tied weights") and keeps one name of each group: one to keep,
 * else one that is not to be discarded; of several, the one that comes first by code points. Views that differ in
 * anything are all kept, also where they overlap; so are empty tensors.
 *
 * @throws `AMBIGUOUS` if a name is to be kept and to be discarded; `TENSOR_NOT_FOUND` if one of either is that of no tensor
 */
export function groupAliases(tensors: Iterable<NamedTensor>, options: AliasOptions = {}): AliasGroups {
  const rank = rankOf(options);
  const groups = new Map<string, string[]>();
  const numberOf = numbering();
  const all: string[] = [];
  for (const tensor of tensors) {
    all.push(tensor.name);
    const key = placeOf(tensor, numberOf) ?? `alone ${tensor.name}`;
    const names = groups.get(key);
    if (names) names.push(tensor.name);
    else groups.set(key, [tensor.name]);
  }
  checkNames(all, options);
  const aliases = new Map<string, string>();
  for (const names of groups.values()) {
    const first = names.reduce((a, b) => ((rank(a) - rank(b) || compareUtf8(a, b)) <= 0 ? a : b));
    for (const name of names) if (name !== first) aliases.set(name, first);
  }
  return { kept: all.filter((name) => !aliases.has(name)), aliases };
}

/** How much a name is wanted: the lower, the more. */
function rankOf(options: AliasOptions): (name: string) => number {
  const keep = new Set(options.keep);
  const discard = new Set(options.discard);
  const both = options.keep?.find((name) => discard.has(name));
  if (both !== undefined) {
    throw new SafetensorsError("AMBIGUOUS", `the name ${quote(both)} is to be kept and to be discarded`, {
      tensor: both,
    });
  }
  return (name) => (keep.has(name) ? 0 : discard.has(name) ? 2 : 1);
}

/** A name that is not there is a mistake, after which another one would be stored than is wanted. */
function checkNames(names: readonly string[], { keep = [], discard = [] }: AliasOptions): void {
  const listed = [...keep, ...discard];
  if (listed.length === 0) return;
  const all = new Set(names);
  const missing = listed.find((name) => !all.has(name));
  if (missing === undefined) return;
  const text = `there is no tensor named ${quote(missing)}, which is to be kept or discarded`;
  throw new SafetensorsError("TENSOR_NOT_FOUND", text, { tensor: missing });
}

/** What says where the elements of a tensor are; nothing for one without elements, and for one in pieces. */
function placeOf(tensor: NamedTensor, numberOf: (thing: object) => number): string | undefined {
  const { dtype, shape, view, data } = tensor;
  if (shape.includes(0)) return undefined;
  if (view) return "pieces" in view ? undefined : viewKey(view, numberOf);
  if (typeof data !== "object" || data === null) return undefined;
  const [memory, from, length] = ArrayBuffer.isView(data)
    ? [data.buffer, data.byteOffset, data.byteLength]
    : [data, 0, 0];
  return ["data", numberOf(memory), from, length, dtype, shape.join("x")].join(" ");
}

function viewKey(view: StridedView, numberOf: (source: ByteSource) => number): string {
  const { source, dtype, bitOffset, shape, strides } = view;
  return ["view", numberOf(source), dtype, bitOffset, shape.join("x"), strides.join("x")].join(" ");
}

/** Gives each thing a number of its own. */
function numbering(): (thing: object) => number {
  const numbers = new Map<object, number>();
  return (thing) => {
    const number = numbers.get(thing) ?? numbers.size;
    numbers.set(thing, number);
    return number;
  };
}
