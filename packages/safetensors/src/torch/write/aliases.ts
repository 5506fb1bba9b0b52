import type { Checkpoint } from "../../checkpoint/checkpoint.ts";
import { quote, SafetensorsError } from "../../errors.ts";
import { checkText } from "../../format/encode.ts";
import { compareUtf8 } from "../../format/utf8.ts";

/** Names for tensors that have another name already: alias → name. */
export type Aliases = ReadonlyMap<string, string> | Readonly<Record<string, string>>;

/**
 * The names of tied tensors that a converted safetensors file keeps in its metadata: each entry whose key is the name of
 * no tensor and whose value is the name of one. `format` never is an alias.
 */
export function aliasesIn(checkpoint: Checkpoint): Map<string, string> {
  const isAlias = ([name, kept]: readonly [string, string]): boolean =>
    name !== "format" && !checkpoint.has(name) && checkpoint.has(kept);
  return new Map([...checkpoint.metadata].filter(isAlias));
}

/**
 * The aliases of each tensor, in code point order.
 *
 * @param names the names of tensors.
 * @param sameViews those of them that are the same view as another one, with that one's name: they are aliases too.
 * @throws `DUPLICATE_NAME` if an alias is a tensor's name, `TENSOR_NOT_FOUND` if it stands for no tensor
 */
export function groupByTensor(
  aliases: Aliases,
  names: { has(name: string): boolean },
  sameViews: ReadonlyMap<string, string> = new Map(),
): Map<string, string[]> {
  const pairs: (readonly [alias: string, name: string])[] = [...sameViews];
  for (const [alias, name] of aliases instanceof Map ? aliases : Object.entries(aliases)) {
    checkText(alias, "an alias");
    if (names.has(alias)) {
      const text = `the alias ${quote(alias)} is the name of a tensor`;
      throw new SafetensorsError("DUPLICATE_NAME", text, { tensor: alias });
    }
    if (!names.has(name)) {
      const text = `the alias ${quote(alias)} stands for ${quote(name)}, which is no tensor`;
      throw new SafetensorsError("TENSOR_NOT_FOUND", text, { tensor: name });
    }
    pairs.push([alias, sameViews.get(name) ?? name]);
  }
  const groups = new Map<string, string[]>();
  for (const [alias, name] of pairs.sort(([a], [b]) => compareUtf8(a, b))) {
    const group = groups.get(name);
    if (group) group.push(alias);
    else groups.set(name, [alias]);
  }
  return groups;
}
