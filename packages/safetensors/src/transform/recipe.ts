import { quote } from "../errors.ts";
import { type Expression, readExpression } from "./expression.ts";
import { checkFlow } from "./flow.ts";
import { Field, parseStrictly } from "./json.ts";
import { type Operation, readOperation } from "./operation.ts";
import { NamePattern } from "./pattern.ts";
import { invalidRecipe } from "./problem.ts";

/** Bytes of a recipe's JSON. The longest of ours has two thousand. */
const MAX_RECIPE_BYTES = 2 ** 20;

const MAX_TEXT = 4096;
const MAX_STEPS = 1024;
const MAX_NAMES = 64;
const MAX_OPERATIONS = 32;
const MAX_VARIABLES = 64;

/** A number that the caller gives, such as one of a model's config.json. */
export interface RecipeVariable {
  readonly name: string;
  readonly description?: string;
  /** Other names under which it may be given. */
  readonly aliases?: readonly string[];
  /** What it is if it is not given; may use variables that stand before it. */
  readonly default?: Expression;
}

/**
 * One step. Its tensors come in groups: of those that match `from`, all whose captures that are also in `to` are equal
 * make one group, and become the tensors that `to` names with these captures.
 */
export interface RecipeStep {
  /** Patterns of names; see `NamePattern`. */
  readonly from: readonly string[];
  /** Patterns of the new names. A step without it takes tensors away. */
  readonly to?: readonly string[];
  /** What is done, one after the other. Without any, tensors are renamed. */
  readonly ops?: readonly Operation[];
  /** Whether there may be no tensor for it at all. */
  readonly optional?: boolean;
  /** Whether other steps may use the same tensors. */
  readonly share?: boolean;
}

/** How tensors of one form of a checkpoint become those of another. It is JSON; what reads it checks it. */
export interface Recipe {
  readonly version: 1;
  readonly name?: string;
  readonly description?: string;
  readonly variables?: readonly RecipeVariable[];
  /** What happens to tensors that no step uses: kept, unless said otherwise. */
  readonly others?: "keep" | "drop" | "error";
  readonly steps: readonly RecipeStep[];
}

/**
 * Reads a recipe: its JSON as text or bytes, or an object that is to be one.
 *
 * @throws `INVALID_RECIPE` with the place, such as `steps[2].ops[0].axis`, for what is not a recipe or can never work
 */
export function parseRecipe(input: string | Uint8Array | Recipe): Recipe {
  const bytes = input instanceof Uint8Array ? input : new TextEncoder().encode(asText(input));
  if (bytes.length > MAX_RECIPE_BYTES) throw invalidRecipe("", `it has more than ${MAX_RECIPE_BYTES} bytes`);
  return readRecipe(new Field(parseStrictly(bytes), ""));
}

function asText(input: string | Recipe): string {
  return typeof input === "string" ? input : JSON.stringify(input);
}

function readRecipe(root: Field): Recipe {
  const field = root.fields(["version", "name", "description", "variables", "others", "steps"]);
  if (field("version").integer(1, Number.MAX_SAFE_INTEGER) !== 1) {
    throw invalidRecipe("version", "is newer than 1, which is what is known here");
  }
  const known = new Set<string>();
  const variables = field("variables")
    .list(0, MAX_VARIABLES)
    .map((item) => readVariable(item, known));
  return {
    version: 1,
    ...optional("name", field("name"), (name) => name.text(MAX_TEXT)),
    ...optional("description", field("description"), (text) => text.text(MAX_TEXT)),
    ...(variables.length > 0 && { variables }),
    ...optional("others", field("others"), (others) => others.oneOf(["keep", "drop", "error"])),
    steps: field("steps")
      .list(1, MAX_STEPS)
      .map((step) => readStep(step, known)),
  };
}

function readVariable(item: Field, known: Set<string>): RecipeVariable {
  const field = item.fields(["name", "description", "aliases", "default"]);
  const name = readName(field("name"), known);
  const variable = {
    name,
    ...optional("description", field("description"), (text) => text.text(MAX_TEXT)),
    ...optional("aliases", field("aliases"), (list) => {
      return list.list(1, MAX_NAMES).map((alias) => readName(alias, known));
    }),
    ...optional("default", field("default"), (value) => readExpression(value, known)),
  };
  known.add(name);
  return variable;
}

function readName(field: Field, known: ReadonlySet<string>): string {
  const name = field.text(64);
  if (!/^[a-zA-Z]\w*$/.test(name)) throw field.expected("a word of letters, digits and _");
  if (known.has(name)) throw invalidRecipe(field.path, `is ${quote(name)}, which is a variable already`);
  return name;
}

function readStep(item: Field, known: ReadonlySet<string>): RecipeStep {
  const field = item.fields(["from", "to", "ops", "optional", "share"]);
  const to = field("to");
  const step: RecipeStep = {
    from: readPatterns(field("from")),
    ...optional("to", to, readPatterns),
    ...optional("ops", field("ops"), (ops) => {
      return ops.list(0, MAX_OPERATIONS).map((op) => readOperation(op, known));
    }),
    ...optional("optional", field("optional"), (flag) => flag.flag()),
    ...optional("share", field("share"), (flag) => flag.flag()),
  };
  if (step.to) checkFlow(step, item.path);
  else if (step.ops) throw invalidRecipe(`${item.path}.to`, "is missing: what becomes of these tensors?");
  return step;
}

function readPatterns(field: Field): string[] {
  return field.list(1, MAX_NAMES).map((item) => {
    const text = item.text(MAX_TEXT);
    return new NamePattern(text, item.path).text;
  });
}

/** A property that is there only if its field is. */
function optional<K extends string, T>(
  key: K,
  field: Field,
  read: (field: Field) => T,
): { readonly [key in K]?: T } {
  return (field.isThere ? { [key]: read(field) } : {}) as { readonly [key in K]?: T };
}
