import { quote } from "../errors.ts";
import type { Operation, SplitOperation } from "./operation.ts";
import { NamePattern } from "./pattern.ts";
import { invalidRecipe } from "./problem.ts";
import type { RecipeStep } from "./recipe.ts";

/** How the tensors of a group are arranged: how many side by side, and the capture of which there is a row of each. */
export interface Arrangement {
  readonly columns: number;
  readonly over: string | undefined;
}

/** The captures of a step by what they do. */
export interface StepCaptures {
  /** In the old and the new names: what tells the groups apart. */
  readonly group: readonly string[];
  /** In the old names only: the members that are joined. */
  readonly collected: string | undefined;
  /** In the new names only: the members that it is taken apart into. */
  readonly spread: string | undefined;
}

/** What the captures of a step do. `path` is the step's. */
export function capturesOf({ from, to = [] }: RecipeStep, path: string): StepCaptures {
  const old = commonCaptures(from, `${path}.from`);
  const made = to.length === 0 ? [] : commonCaptures(to, `${path}.to`);
  const [collected, ...more] = old.filter((name) => !made.includes(name));
  const [spread, ...others] = made.filter((name) => !old.includes(name));
  if (to.length > 0 && more.length > 0) {
    throw invalidRecipe(
      `${path}.from`,
      `has more than one capture that to has not: {${collected}} and {${more[0]}}`,
    );
  }
  if (others.length > 0) {
    throw invalidRecipe(
      `${path}.to`,
      `has more than one capture that from has not: {${spread}} and {${others[0]}}`,
    );
  }
  return { group: old.filter((name) => made.includes(name)), collected, spread };
}

/** The captures of patterns, which must be the same in all. */
function commonCaptures(patterns: readonly string[], path: string): readonly string[] {
  const lists = patterns.map((text, i) => new NamePattern(text, `${path}[${i}]`).captures);
  const [first = []] = lists;
  for (const [i, list] of lists.entries()) {
    const missing = first.find((name) => !list.includes(name)) ?? list.find((name) => !first.includes(name));
    if (missing === undefined) continue;
    throw invalidRecipe(
      `${path}[${i}]`,
      `must have the same captures as ${path}[0]; {${missing}} is in one only`,
    );
  }
  return first;
}

/** Checks that the operations fit each other and the names. `path` is the step's. */
export function checkFlow(step: RecipeStep, path: string): void {
  const { spread } = capturesOf(step, path);
  const last = arrangements(step, path).at(-1)!;
  if (last.over !== spread) {
    const text =
      last.over === undefined
        ? `has {${spread}}, but nothing is taken apart over it`
        : `lacks {${last.over}}, but nothing joins what it tells apart`;
    throw invalidRecipe(`${path}.to`, text);
  }
  if (last.columns !== step.to!.length) {
    throw invalidRecipe(`${path}.to`, `names ${step.to!.length} tensors, but there are ${last.columns}`);
  }
}

/** How the tensors are arranged before the first operation, and after each. `path` is the step's. */
export function arrangements(step: RecipeStep, path: string): Arrangement[] {
  const { collected, spread } = capturesOf(step, path);
  let now: Arrangement = { columns: step.from.length, over: collected };
  const all = [now];
  for (const [index, operation] of (step.ops ?? []).entries()) {
    now = after(operation, now, spread, step.to?.length ?? 0, `${path}.ops[${index}]`);
    all.push(now);
  }
  return all;
}

function after(
  operation: Operation,
  { columns, over }: Arrangement,
  spread: string | undefined,
  targets: number,
  path: string,
): Arrangement {
  const { over: along, sizes, parts } = operation as Partial<SplitOperation>;
  switch (operation.op) {
    case "stack":
    case "concat":
    case "interleave":
      if (along !== undefined && along !== over) {
        throw invalidRecipe(`${path}.over`, `is ${quote(along)}, of which there is no row of tensors here`);
      }
      if (along !== undefined) return { columns, over: undefined };
      if (Array.isArray(sizes) && sizes.length !== columns) {
        throw invalidRecipe(`${path}.sizes`, `has ${sizes.length} sizes for ${columns} tensors`);
      }
      return { columns: 1, over };
    case "unstack":
    case "split":
    case "deinterleave":
      if (along !== undefined) {
        if (over === undefined && along === spread) return { columns, over: spread };
        throw invalidRecipe(`${path}.over`, `is ${quote(along)}, which is no capture that only to has`);
      }
      if (columns !== 1)
        throw invalidRecipe(path, `can take one tensor apart only, and there are ${columns}`);
      return { columns: Array.isArray(sizes) ? sizes.length : (parts ?? targets), over };
    default:
      for (const place of operation.on ?? []) {
        if (place >= columns)
          throw invalidRecipe(`${path}.on`, `has ${place}, but there are ${columns} tensors`);
      }
      return { columns, over };
  }
}
