import { quote, SafetensorsError } from "../errors.ts";

/** How names change: by a list, then by patterns, one after the other. */
export interface RenameRules {
  /** New names by old ones. */
  readonly names?: ReadonlyMap<string, string> | undefined;
  /** Each takes what the one before made of a name: see `String.replace` for what `by` may hold. */
  readonly patterns?: readonly { readonly pattern: RegExp; readonly by: string }[] | undefined;
}

/**
 * The names that rules change, with their new names.
 *
 * @throws `TENSOR_NOT_FOUND` if a listed name is not there, or the rules change none; `AMBIGUOUS` if two get the same name;
 *   `INVALID_NAME` if nothing is left of one
 */
export function newNames(names: Iterable<string>, rules: RenameRules): Map<string, string> {
  const all = new Set(names);
  for (const name of rules.names?.keys() ?? []) if (!all.has(name)) throw missing(name);
  const changed = new Map<string, string>();
  const owners = new Map<string, string>();
  for (const name of all) {
    const renamed = newName(name, rules);
    const other = owners.get(renamed);
    if (other !== undefined) {
      const text = `tensors ${quote(other)} and ${quote(name)} would both be named ${quote(renamed)}`;
      throw new SafetensorsError("AMBIGUOUS", text, { tensor: name });
    }
    if (renamed === "") {
      const text = `of the name ${quote(name)} nothing is left`;
      throw new SafetensorsError("INVALID_NAME", text, { tensor: name });
    }
    owners.set(renamed, name);
    if (renamed !== name) changed.set(name, renamed);
  }
  if (changed.size > 0) return changed;
  throw new SafetensorsError("TENSOR_NOT_FOUND", "the rules change no name of a tensor");
}

function newName(name: string, { names, patterns = [] }: RenameRules): string {
  return patterns.reduce((text, { pattern, by }) => text.replace(pattern, by), names?.get(name) ?? name);
}

function missing(name: string): SafetensorsError {
  return new SafetensorsError("TENSOR_NOT_FOUND", `there is no tensor named ${quote(name)}`, {
    tensor: name,
  });
}
