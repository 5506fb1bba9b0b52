import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { listedNames, type NameChoice, wantedTest } from "../checkpoint/select.ts";
import type { TensorHandle } from "../checkpoint/tensor.ts";
import { quote, SafetensorsError } from "../errors.ts";
import { checkNewName } from "./new-names.ts";

/** Which tensors go into an output, and under which names. */
export interface NameRules {
  /** Only tensors whose names this chooses; all without it. Parts of a tensor are chosen by its name, too. */
  readonly include?: NameChoice | undefined;
  /** No tensor whose name this chooses, also if it is included. */
  readonly exclude?: NameChoice | undefined;
  /** Taken off the begin of names that begin with it, such as `module.` of DataParallel. */
  readonly stripPrefix?: string | undefined;
}

/** The same rules, in which no list of names is an iterator, which could be gone through only once. */
export function withLists<Rules extends NameRules>(rules: Rules): Rules {
  const { include, exclude } = rules;
  return { ...rules, include: listedNames(include) ?? include, exclude: listedNames(exclude) ?? exclude };
}

/** The names of the tensors that are given in parts, by those of the parts. */
export function wholesOf(checkpoints: Iterable<Checkpoint>): Map<string, string> {
  const wholes = new Map<string, string>();
  for (const { renamed } of checkpoints)
    for (const [whole, parts] of renamed) for (const part of parts) wholes.set(part, whole);
  return wholes;
}

/**
 * The chosen tensors by their new names, in the same order. Choices are made by the old names.
 *
 * @param wholes see `wholesOf`.
 * @throws `TENSOR_NOT_FOUND` if no tensor is left, or none has the prefix; `AMBIGUOUS` if two get the same name;
 *   `INVALID_NAME` for a name that is nothing but the prefix
 */
export function applyNameRules(
  tensors: Iterable<TensorHandle>,
  { include, exclude, stripPrefix = "" }: NameRules,
  wholes?: ReadonlyMap<string, string>,
): Map<string, TensorHandle> {
  const isWanted = wantedTest(include, exclude);
  const renamed = new Map<string, TensorHandle>();
  let stripped = 0;
  for (const tensor of tensors) {
    const { name } = tensor;
    if (!isWanted(name, wholes?.get(name))) continue;
    const hasPrefix = name.startsWith(stripPrefix);
    if (hasPrefix) stripped++;
    const newName = hasPrefix ? name.slice(stripPrefix.length) : name;
    checkNewName(name, newName, renamed.get(newName)?.name);
    renamed.set(newName, tensor);
  }
  if (renamed.size === 0) throw missing("no tensor is left by what is included and excluded");
  if (stripped === 0) throw missing(`no tensor has a name that begins with ${quote(stripPrefix)}`);
  return renamed;
}

function missing(text: string): SafetensorsError {
  return new SafetensorsError("TENSOR_NOT_FOUND", text);
}
