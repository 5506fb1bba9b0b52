import type { TensorHandle } from "../checkpoint/tensor.ts";
import { quote, SafetensorsError } from "../errors.ts";
import { capturesOf } from "./flow.ts";
import { NamePattern } from "./pattern.ts";
import type { RecipeStep } from "./recipe.ts";

/** Tensors of one group: for each pattern its tensor, or a row of them in the order of their numbers. */
export interface Group {
  /** What tells it from the other groups. */
  readonly captures: ReadonlyMap<string, string>;
  readonly columns: readonly (readonly TensorHandle[])[];
}

/** A tensor that a step uses. */
export interface Match {
  readonly tensor: TensorHandle;
  readonly captures: ReadonlyMap<string, string>;
  /** Place of the pattern that matched. */
  readonly column: number;
}

/** A group that is being collected: for each pattern its tensors by their number; 0 without a row. */
type Columns = readonly Map<number, TensorHandle>[];

/**
 * The tensors that a step uses, in their order.
 *
 * @param path the step's.
 * @throws `AMBIGUOUS` for a tensor that matches two patterns; `TENSOR_NOT_FOUND` for none, unless the step is optional
 */
export function matchesOf(step: RecipeStep, path: string, tensors: Iterable<TensorHandle>): Match[] {
  const patterns = step.from.map((text, i) => new NamePattern(text, `${path}.from[${i}]`));
  const matches: Match[] = [];
  for (const tensor of tensors) {
    const own = patterns.flatMap((pattern, column) => {
      const captures = pattern.match(tensor.name);
      return captures ? [{ tensor, captures, column }] : [];
    });
    if (own.length > 1) {
      const both = own.map(({ column }) => quote(step.from[column]!)).join(" and ");
      throw ambiguous(`${path}: tensor ${quote(tensor.name)} matches ${both}`, tensor.name);
    }
    if (own[0]) matches.push(own[0]);
  }
  if (matches.length === 0 && !step.optional) {
    const wanted = step.from.map(quote).join(", ");
    throw new SafetensorsError("TENSOR_NOT_FOUND", `${path}: no tensor matches ${wanted}`);
  }
  return matches;
}

/**
 * What a step uses in groups, in the order in which their first tensors come.
 *
 * @param path the step's.
 * @throws `TENSOR_NOT_FOUND` for a member that is missing, by its name; `AMBIGUOUS` for a row without numbers
 */
export function groupsOf(step: RecipeStep, path: string, matches: readonly Match[]): Group[] {
  const { group, collected } = capturesOf(step, path);
  const groups = new Map<string, { captures: Map<string, string>; columns: Columns }>();
  let length = 1;
  for (const { tensor, captures, column } of matches) {
    const own = new Map(group.map((name) => [name, captures.get(name)!]));
    const key = JSON.stringify([...own.values()]);
    const { columns } = groups.get(key) ?? { columns: step.from.map(() => new Map()) };
    groups.set(key, { captures: own, columns });
    const number =
      collected === undefined ? 0 : numberOf(captures.get(collected)!, collected, tensor.name, path);
    if (columns[column]!.has(number)) {
      const other = columns[column]!.get(number)!.name;
      throw ambiguous(
        `${path}: tensors ${quote(other)} and ${quote(tensor.name)} are the same member`,
        tensor.name,
      );
    }
    columns[column]!.set(number, tensor);
    length = Math.max(length, number + 1);
  }
  return Array.from(groups.values(), ({ captures, columns }) => ({
    captures,
    columns: columns.map((members, column) => {
      const missing = firstMissing(members, length);
      if (missing === undefined) return inOrder(members);
      const pattern = new NamePattern(step.from[column]!, `${path}.from[${column}]`);
      const all = collected === undefined ? captures : new Map([...captures, [collected, `${missing}`]]);
      const name = pattern.fill(all);
      const text = `${path}: tensor ${quote(name)} is missing, which belongs to others that are there`;
      throw new SafetensorsError("TENSOR_NOT_FOUND", text, { tensor: name });
    }),
  }));
}

/** The members of a row must have numbers, as their order is that of the numbers. */
function numberOf(text: string, capture: string, tensor: string, path: string): number {
  if (/^(0|[1-9]\d{0,8})$/.test(text)) return Number(text);
  throw ambiguous(
    `${path}: {${capture}} of tensor ${quote(tensor)} is ${quote(text)}, which is no number`,
    tensor,
  );
}

/** The first number below `length` that no member has. Takes no longer than there are members. */
function firstMissing(members: ReadonlyMap<number, TensorHandle>, length: number): number | undefined {
  let number = 0;
  while (members.has(number)) number++;
  return number < length ? number : undefined;
}

function inOrder(members: ReadonlyMap<number, TensorHandle>): TensorHandle[] {
  return Array.from({ length: members.size }, (_, number) => members.get(number)!);
}

function ambiguous(text: string, tensor: string): SafetensorsError {
  return new SafetensorsError("AMBIGUOUS", text, { tensor });
}
