import { listedNames, type NameChoice, nameTest } from "../checkpoint/select.ts";
import type { TensorHandle } from "../checkpoint/tensor.ts";
import { quote, SafetensorsError } from "../errors.ts";
import { checkNewName } from "./new-names.ts";

/** Which tensors go into an output, and under which names. */
export interface NameRules {
  /** Only tensors whose names this chooses; all without it. */
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

/**
 * The chosen tensors by their new names, in the same order. Choices are made by the old names.
 *
 * @throws `TENSOR_NOT_FOUND` if no tensor is left, or none has the prefix; `AMBIGUOUS` if two get the same name;
 *   `INVALID_NAME` for a name that is nothing but the prefix
 */
export function applyNameRules(
  tensors: Iterable<TensorHandle>,
  { include, exclude, stripPrefix = "" }: NameRules,
): Map<string, TensorHandle> {
  const isIncluded = nameTest(include);
  const isExcluded = exclude === undefined ? () => false : nameTest(exclude);
  const renamed = new Map<string, TensorHandle>();
  let stripped = 0;
  for (const tensor of tensors) {
    const { name } = tensor;
    if (!isIncluded(name) || isExcluded(name)) continue;
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
