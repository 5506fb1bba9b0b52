import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { compareUtf8 } from "../format/utf8.ts";
import type { ByteSource } from "../source/source.ts";
import type { StridedView } from "../view/view.ts";

/** Names with data of their own, and names for the same data. */
export interface AliasGroups {
  /** One name for each different view, in the checkpoint's order. */
  readonly kept: readonly string[];
  /** The other names, each with the one that is kept for it. */
  readonly aliases: ReadonlyMap<string, string>;
}

/**
 * Finds tensors that are the same view of the same data ("tied weights") and keeps of each group the name that comes
 * first by code points. Views that differ in anything are all kept, also where they overlap; so are empty tensors.
 */
export function groupAliases(checkpoint: Checkpoint): AliasGroups {
  const groups = new Map<string, string[]>();
  const sources = new Map<ByteSource, number>();
  for (const { name, view } of checkpoint) {
    const isWhole = !("pieces" in view) && !view.shape.includes(0);
    const key = isWhole ? viewKey(view, sources) : `alone ${name}`;
    const names = groups.get(key);
    if (names) names.push(name);
    else groups.set(key, [name]);
  }
  const aliases = new Map<string, string>();
  for (const names of groups.values()) {
    const first = names.reduce((a, b) => (compareUtf8(a, b) <= 0 ? a : b));
    for (const name of names) if (name !== first) aliases.set(name, first);
  }
  return { kept: Array.from(checkpoint.keys()).filter((name) => !aliases.has(name)), aliases };
}

function viewKey(view: StridedView, sources: Map<ByteSource, number>): string {
  const source = sources.get(view.source) ?? sources.size;
  sources.set(view.source, source);
  return [source, view.dtype, view.bitOffset, view.shape.join("x"), view.strides.join("x")].join(" ");
}
