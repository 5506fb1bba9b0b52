import { TensorHandle } from "../checkpoint/tensor.ts";
import { quote, SafetensorsError } from "../errors.ts";
import { type Group, groupsOf, type Match, matchesOf } from "./collect.ts";
import { evaluate, type Values, variablesIn } from "./expression.ts";
import { capturesOf } from "./flow.ts";
import { NamePattern } from "./pattern.ts";
import { atStep } from "./problem.ts";
import { parseRecipe, type Recipe, type RecipeStep, type RecipeVariable } from "./recipe.ts";
import { type Columns, runOperation } from "./run.ts";

/** Options of `applyRecipe`. */
export interface ApplyOptions {
  /** The numbers that the recipe asks for, by name; others may be among them. */
  readonly variables?: ReadonlyMap<string, number> | Readonly<Record<string, number>>;
}

/** What a step did. */
export interface StepReport {
  /** Tensors that it used, and that it made. None of both for an optional step that found nothing. */
  readonly used: number;
  readonly made: number;
}

/** What a recipe did. */
export interface TransformReport {
  readonly steps: readonly StepReport[];
  /** Tensors that no step used and that stay as they are. */
  readonly kept: number;
  /** Names of the tensors that are in the result in no form. */
  readonly dropped: readonly string[];
}

/** What a recipe makes: tensors as they will lie, of which nothing has been read, and what was done. */
export interface Transformed {
  readonly tensors: readonly TensorHandle[];
  readonly report: TransformReport;
}

/**
 * Makes the tensors of another form of a checkpoint, as a recipe says. They are views of the old ones: to save them
 * reads and writes everything once, piece by piece.
 *
 * @param tensors a `Checkpoint`, or its tensors.
 * @throws what `parseRecipe` throws; `TENSOR_NOT_FOUND` for a step without tensors, and for a member that is missing;
 *   `UNSUPPORTED` for a variable without value; `AMBIGUOUS` for a tensor that two steps use, or a name that two get;
 *   `INVALID_SLICE` and `SIZE_MISMATCH` for shapes that an operation cannot be done with. Each says at which step.
 */
export function applyRecipe(
  tensors: Iterable<TensorHandle>,
  input: Recipe,
  options: ApplyOptions = {},
): Transformed {
  const recipe = parseRecipe(input);
  const all = [...tensors];
  const values = valuesOf(recipe.variables ?? [], options.variables ?? {});
  const users = new Map<string, { path: string; share: boolean }>();
  const made = new Map<string, { tensor: TensorHandle; path: string }>();
  const add = (tensor: TensorHandle, path: string): void => {
    const other = made.get(tensor.name);
    if (other) {
      const text = `${path}: a tensor ${quote(tensor.name)} is there already, from ${other.path}`;
      throw new SafetensorsError("AMBIGUOUS", text, { tensor: tensor.name });
    }
    made.set(tensor.name, { tensor, path });
  };
  const dropped: string[] = [];
  const steps = recipe.steps.map((step, index): StepReport => {
    const path = `steps[${index}]`;
    const matches = matchesOf(step, path, all);
    for (const { tensor } of matches) claim(users, tensor.name, path, step.share ?? false);
    const before = made.size;
    for (const tensor of step.to ? makeStep(step, path, matches, values) : []) add(tensor, path);
    if (!step.to) for (const { tensor } of matches) dropped.push(tensor.name);
    return { used: matches.length, made: made.size - before };
  });
  const others = all.filter(({ name }) => !users.has(name));
  if (recipe.others === "error" && others[0]) {
    const { name } = others[0];
    const more = others.length > 1 ? `, nor ${others.length - 1} more` : "";
    const text = `no step of the recipe uses tensor ${quote(name)}${more}`;
    throw new SafetensorsError("AMBIGUOUS", text, { tensor: name });
  }
  const isKept = recipe.others !== "drop";
  for (const tensor of others) {
    if (isKept) add(tensor, "the tensors that no step uses");
    else dropped.push(tensor.name);
  }
  return {
    tensors: Array.from(made.values(), ({ tensor }) => tensor),
    report: { steps, kept: isKept ? others.length : 0, dropped },
  };
}

/** Notes that a step uses a tensor; another may use it as well if both say so. */
function claim(
  users: Map<string, { path: string; share: boolean }>,
  name: string,
  path: string,
  share: boolean,
): void {
  const other = users.get(name);
  if (other && !(other.share && share)) {
    const text = `${path}: tensor ${quote(name)} is used by ${other.path} as well; where that is meant, both say "share"`;
    throw new SafetensorsError("AMBIGUOUS", text, { tensor: name });
  }
  users.set(name, { path, share });
}

/** The tensors that a step makes. */
function makeStep(step: RecipeStep, path: string, matches: readonly Match[], values: Values): TensorHandle[] {
  const { spread } = capturesOf(step, path);
  const names = step.to!.map((text, column) => new NamePattern(text, `${path}.to[${column}]`));
  return groupsOf(step, path, matches).flatMap((group) => {
    const columns = runOperations(step, path, group, values);
    return names.flatMap((name, column) => {
      return columns[column]!.map((view, member) => {
        const { captures } = group;
        const all = spread === undefined ? captures : new Map([...captures, [spread, `${member}`]]);
        return new TensorHandle(name.fill(all), view);
      });
    });
  });
}

function runOperations(step: RecipeStep, path: string, group: Group, values: Values): Columns {
  let columns: Columns = group.columns.map((row) => row.map(({ view }) => view));
  for (const [index, operation] of (step.ops ?? []).entries()) {
    try {
      columns = runOperation(operation, columns, values, step.to!.length);
    } catch (error) {
      throw atStep(`${path}.ops[${index}]`, group.columns[0]?.[0]?.name, error);
    }
  }
  return columns;
}

/** The values of the variables: as given, under one of their names, or their default. */
function valuesOf(
  variables: readonly RecipeVariable[],
  given: NonNullable<ApplyOptions["variables"]>,
): Values {
  const numbers = given instanceof Map ? given : new Map(Object.entries(given));
  const values = new Map<string, number>();
  const find: Values = (name) => {
    const value = values.get(name);
    if (value !== undefined) return value;
    const { description } = variables.find((variable) => variable.name === name)!;
    const meaning = description === undefined ? "" : `: ${description}`;
    throw new SafetensorsError("UNSUPPORTED", `the recipe needs a value for ${quote(name)}${meaning}`);
  };
  for (const { name, aliases = [], default: fallback } of variables) {
    const found = [name, ...aliases].find((one) => numbers.get(one) !== undefined);
    if (found !== undefined) values.set(name, checked(found, numbers.get(found)));
    // A default that needs what is not given matters only to a step that asks for it.
    else if (fallback !== undefined && variablesIn(fallback).every((one) => values.has(one))) {
      values.set(name, evaluate(fallback, find));
    }
  }
  return find;
}

function checked(name: string, value: unknown): number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw new SafetensorsError("OUT_OF_RANGE", `${quote(name)} is ${String(value)}, not a whole number`);
}
