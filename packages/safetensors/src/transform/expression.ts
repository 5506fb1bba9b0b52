import { quote, SafetensorsError } from "../errors.ts";
import type { Field } from "./json.ts";
import { invalidRecipe } from "./problem.ts";

/** A number of a recipe: itself, or factors and divisors with variables, such as `"{hidden_size}/{num_heads}*2"`. */
export type Expression = number | string;

/** The values of variables. */
export type Values = (name: string) => number;

const MAX_EXPRESSION = 256;
const TERM = /^(?:(\d{1,15})|\{([a-zA-Z]\w{0,63})\})$/;

/** Reads an expression; its variables must be in `known`. */
export function readExpression(field: Field, known: ReadonlySet<string>): Expression {
  const { value, path } = field;
  if (typeof value !== "string") return field.integer(0, Number.MAX_SAFE_INTEGER);
  const text = field.text(MAX_EXPRESSION);
  const isProduct = termsOf(text).every(({ term }) => TERM.test(term));
  if (!isProduct) throw invalidRecipe(path, `${quote(text)} is no product of numbers and {variables}`);
  const unknown = variablesIn(text).find((name) => !known.has(name));
  if (unknown === undefined) return text;
  throw invalidRecipe(path, `uses {${unknown}}, which is not in variables`);
}

/** The variables that an expression uses. */
export function variablesIn(expression: Expression): string[] {
  if (typeof expression === "number") return [];
  return termsOf(expression).flatMap(({ term }) => TERM.exec(term)?.[2] ?? []);
}

/** The number that an expression means. `INVALID_SLICE` if a division leaves something, or the number is too large. */
export function evaluate(expression: Expression, values: Values): number {
  if (typeof expression === "number") return expression;
  let result = 1;
  for (const { term, divides } of termsOf(expression)) {
    const [, digits, variable] = TERM.exec(term)!;
    const value = variable === undefined ? Number(digits) : values(variable);
    result = divides ? result / value : result * value;
    if (Number.isSafeInteger(result)) continue;
    throw new SafetensorsError(
      "INVALID_SLICE",
      `${quote(expression)} is no whole number with these variables`,
    );
  }
  return result;
}

/** The factors and divisors, from the left. */
function termsOf(text: string): { term: string; divides: boolean }[] {
  return text.split(/(?=[*/])/).map((part) => {
    const divides = part.startsWith("/");
    return { term: (divides || part.startsWith("*") ? part.slice(1) : part).trim(), divides };
  });
}
