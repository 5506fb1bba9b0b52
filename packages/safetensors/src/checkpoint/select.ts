import { quote, SafetensorsError } from "../errors.ts";
import type { TensorView } from "../view/tiling.ts";
import { Checkpoint, type TensorIndex } from "./checkpoint.ts";

/** Names of tensors: a list, a pattern that they match, or a test. */
export type NameChoice = Iterable<string> | RegExp | ((name: string) => boolean);

/**
 * The names of a choice that lists them: an iterator can be used only once. A text alone would be taken for a list of its
 * letters, so it is one name.
 */
export function listedNames(choice: NameChoice | undefined): ReadonlySet<string> | undefined {
  if (choice === undefined || choice instanceof RegExp || typeof choice === "function") return undefined;
  return new Set(typeof choice === "string" ? [choice] : choice);
}

/** The test that a choice of names means. */
export function nameTest(choice: NameChoice | undefined): (name: string) => boolean {
  if (choice === undefined) return () => true;
  if (choice instanceof RegExp) return (name) => name.search(choice) >= 0;
  if (typeof choice === "function") return choice;
  const listed = listedNames(choice);
  return (name) => listed!.has(name);
}

/**
 * The test whether a tensor is wanted: included, unless it is excluded. What is given in parts is chosen by its own name,
 * or by that of the whole.
 */
export function wantedTest(
  include: NameChoice | undefined,
  exclude: NameChoice | undefined,
): (name: string, whole?: string) => boolean {
  const isIncluded = nameTest(include);
  const isExcluded = exclude === undefined ? () => false : nameTest(exclude);
  return (name, whole = name) =>
    (isIncluded(name) || (whole !== name && isIncluded(whole))) &&
    !(isExcluded(name) || (whole !== name && isExcluded(whole)));
}

/**
 * `nameTest` of a choice whose listed names must all be there.
 *
 * @throws `TENSOR_NOT_FOUND`
 */
export function nameTestIn(
  choice: NameChoice | undefined,
  has: (name: string) => boolean,
): (name: string) => boolean {
  const listed = listedNames(choice);
  for (const name of listed ?? []) {
    if (has(name)) continue;
    throw new SafetensorsError("TENSOR_NOT_FOUND", `there is no tensor named ${quote(name)}`, {
      tensor: name,
    });
  }
  return nameTest(listed ?? choice);
}

/**
 * The names chosen, in the order of the data, or as they are listed; listed names that are not there are an error, which
 * `get` throws.
 */
export function chooseNames(
  checkpoint: Checkpoint,
  choice: NameChoice | undefined,
  order: "file" | "given" = "file",
): Iterable<string> {
  if (choice === undefined) return checkpoint.keys();
  const listed = listedNames(choice);
  for (const name of listed ?? []) checkpoint.get(name);
  if (listed && order === "given") return listed;
  return [...checkpoint.keys()].filter(nameTest(listed ?? choice));
}

/** The checkpoint as if it had only these tensors. Closing it closes the whole. */
export function selectTensors(whole: Checkpoint, choice: NameChoice): Checkpoint {
  const names = new Set(chooseNames(whole, choice));
  const renamed = Array.from(whole.renamed, ([name, parts]) => {
    return [name, parts.filter((part) => names.has(part))] as const;
  });
  return new Checkpoint({
    format: whole.format,
    metadata: whole.metadata,
    renamed: new Map(renamed),
    problems: whole.problems,
    tensors: new Selection(whole, names),
    close: () => whole.close(),
  });
}

class Selection implements TensorIndex {
  readonly #whole: Checkpoint;
  readonly #names: ReadonlySet<string>;

  constructor(whole: Checkpoint, names: ReadonlySet<string>) {
    this.#whole = whole;
    this.#names = names;
  }

  get size(): number {
    return this.#names.size;
  }

  names(): Iterable<string> {
    return this.#names;
  }

  find(name: string): TensorView | undefined {
    return this.#names.has(name) ? this.#whole.get(name).view : undefined;
  }
}
