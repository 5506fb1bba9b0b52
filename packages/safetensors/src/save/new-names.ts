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
    checkNewName(name, renamed, other);
    owners.set(renamed, name);
    if (renamed !== name) changed.set(name, renamed);
  }
  if (changed.size > 0) return changed;
  throw new SafetensorsError("TENSOR_NOT_FOUND", "the rules change no name of a tensor");
}

/**
 * Checks the new name of a tensor.
 *
 * @param other the tensor that has got that name already.
 * @throws `AMBIGUOUS`; `INVALID_NAME` if nothing is left of the name
 */
export function checkNewName(name: string, renamed: string, other: string | undefined): void {
  if (other !== undefined) {
    const text = `tensors ${quote(other)} and ${quote(name)} would both be named ${quote(renamed)}`;
    throw new SafetensorsError("AMBIGUOUS", text, { tensor: name });
  }
  if (renamed === "" && name !== "") {
    throw new SafetensorsError("INVALID_NAME", `of the name ${quote(name)} nothing is left`, {
      tensor: name,
    });
  }
}

function newName(name: string, { names, patterns = [] }: RenameRules): string {
  return patterns.reduce((text, { pattern, by }) => text.replace(pattern, by), names?.get(name) ?? name);
}

function missing(name: string): SafetensorsError {
  return new SafetensorsError("TENSOR_NOT_FOUND", `there is no tensor named ${quote(name)}`, {
    tensor: name,
  });
}
