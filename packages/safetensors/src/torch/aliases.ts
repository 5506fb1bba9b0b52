import type { TensorHandle } from "../checkpoint/tensor.ts";
import { quote, SafetensorsError } from "../errors.ts";
import { compareUtf8 } from "../format/utf8.ts";
import type { ByteSource } from "../source/source.ts";
import type { StridedView } from "../view/view.ts";

/** Names with data of their own, and names for the same data. */
export interface AliasGroups {
  /** One name for each different view, in the order of the tensors. */
  readonly kept: readonly string[];
  /** The other names, each with the one that is kept for it. */
  readonly aliases: ReadonlyMap<string, string>;
}

/** Which name of a group to keep; names that belong to no group do not matter. */
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
 * @throws `AMBIGUOUS` if a name is to be kept and to be discarded
 */
export function groupAliases(tensors: Iterable<TensorHandle>, options: AliasOptions = {}): AliasGroups {
  const rank = rankOf(options);
  const groups = new Map<string, string[]>();
  const sources = new Map<ByteSource, number>();
  const all: string[] = [];
  for (const { name, view } of tensors) {
    all.push(name);
    const isWhole = !("pieces" in view) && !view.shape.includes(0);
    const key = isWhole ? viewKey(view, sources) : `alone ${name}`;
    const names = groups.get(key);
    if (names) names.push(name);
    else groups.set(key, [name]);
  }
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

function viewKey(view: StridedView, sources: Map<ByteSource, number>): string {
  const source = sources.get(view.source) ?? sources.size;
  sources.set(view.source, source);
  return [source, view.dtype, view.bitOffset, view.shape.join("x"), view.strides.join("x")].join(" ");
}
