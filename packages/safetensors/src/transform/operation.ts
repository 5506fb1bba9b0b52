import { type Expression, readExpression } from "./expression.ts";
import type { Field } from "./json.ts";
import { invalidRecipe } from "./problem.ts";

/** Sizes of the parts along an axis: those, or that they are equal. */
export type PartSizes = "equal" | readonly Expression[];

/**
 * What can be done to the tensors of a step. Axes count from 0, negative ones from the end.
 *
 * A step has one tensor for each of its patterns, or, if these have a capture that the new names do not have, a row of
 * them for each. Those that join (`stack`, `concat`) and those that take apart (`unstack`, `split`) do so along the
 * row of the capture that `over` names, else from pattern to pattern.
 */
export type Operation =
  | StackOperation
  | UnstackOperation
  | ConcatOperation
  | SplitOperation
  | InterleaveOperation
  | EachOperation;

/** One tensor of several, along a new axis. `count` says how many, where that is to be checked. */
export interface StackOperation {
  readonly op: "stack";
  readonly axis: number;
  readonly over?: string;
  readonly count?: Expression;
}

/** The inverse of `stack`. Without `over` there are `parts`, as many as the step has new names unless it says so. */
export interface UnstackOperation {
  readonly op: "unstack";
  readonly axis: number;
  readonly over?: string;
  readonly count?: Expression;
  readonly parts?: number;
}

/** One tensor of several, one after the other along an axis. The inverse needs `sizes`, and with `over` the `count`. */
export interface ConcatOperation {
  readonly op: "concat";
  readonly axis: number;
  readonly over?: string;
  readonly sizes?: PartSizes;
  readonly count?: Expression;
}

/** The inverse of `concat`. Parts are equal unless `sizes` says otherwise; with `over` there are `count`, else `parts`. */
export interface SplitOperation {
  readonly op: "split";
  readonly axis: number;
  readonly over?: string;
  readonly sizes?: PartSizes;
  readonly count?: Expression;
  readonly parts?: number;
}

/** One tensor of several whose indices along an axis take turns, and the inverse, which makes `parts`. */
export interface InterleaveOperation {
  readonly op: "interleave" | "deinterleave";
  readonly axis: number;
  readonly parts?: number;
}

/** What is done to each tensor, or only to those of the patterns whose places (from 0) `on` lists. */
export type EachOperation = (
  | { readonly op: "transpose"; readonly axes?: readonly number[] }
  | { readonly op: "reshape"; readonly shape: readonly Expression[]; readonly from?: readonly Expression[] }
  | { readonly op: "permuteRope"; readonly heads: Expression; readonly inverse?: boolean }
  | {
      readonly op: "slice";
      readonly axis: number;
      readonly start?: Expression;
      readonly stop?: Expression;
    }
) & { readonly on?: readonly number[] };

const NAMES = [
  "stack",
  "unstack",
  "concat",
  "split",
  "interleave",
  "deinterleave",
  "transpose",
  "reshape",
  "permuteRope",
  "slice",
] as const;

const FIELDS: Readonly<Record<(typeof NAMES)[number], readonly string[]>> = {
  stack: ["axis", "over", "count"],
  unstack: ["axis", "over", "count", "parts"],
  concat: ["axis", "over", "sizes", "count"],
  split: ["axis", "over", "sizes", "count", "parts"],
  interleave: ["axis"],
  deinterleave: ["axis", "parts"],
  transpose: ["axes", "on"],
  reshape: ["shape", "from", "on"],
  permuteRope: ["heads", "inverse", "on"],
  slice: ["axis", "start", "stop", "on"],
};

/** Dimensions of a tensor; PyTorch allows 64. */
const MAX_RANK = 64;
const MAX_SIZES = 64;

/** Reads an operation; variables in it must be known. */
export function readOperation(item: Field, known: ReadonlySet<string>): Operation {
  const every = [...new Set(Object.values(FIELDS).flat())];
  const op = item
    .fields(["op", ...every])("op")
    .oneOf(NAMES);
  const field = item.fields(["op", ...FIELDS[op]]);
  const read: Readonly<Record<string, (field: Field) => unknown>> = {
    axis: (axis) => axis.integer(-MAX_RANK, MAX_RANK - 1),
    over: (over) => over.text(64),
    count: (count) => readExpression(count, known),
    parts: (parts) => parts.integer(1, MAX_SIZES),
    sizes: (sizes) => (sizes.value === "equal" ? "equal" : expressions(sizes)),
    axes: (axes) => axes.list(1, MAX_RANK).map((axis) => axis.integer(-MAX_RANK, MAX_RANK - 1)),
    on: (on) => on.list(1, MAX_SIZES).map((place) => place.integer(0, MAX_SIZES - 1)),
    shape: expressions,
    from: expressions,
    heads: (heads) => readExpression(heads, known),
    inverse: (flag) => flag.flag(),
    start: (start) => readExpression(start, known),
    stop: (stop) => readExpression(stop, known),
  };
  function expressions(list: Field): Expression[] {
    return list.list(0, MAX_SIZES).map((size) => (size.value === -1 ? -1 : readExpression(size, known)));
  }
  const values: [string, unknown][] = [["op", op]];
  for (const key of FIELDS[op]) {
    const part = field(key);
    const isRequired = key === "axis" || key === "shape" || key === "heads";
    if (isRequired || part.isThere) values.push([key, read[key]!(part)]);
  }
  // Every field has been read by its own rule above.
  const operation = Object.fromEntries(values) as unknown as Operation;
  checkTogether(operation, item.path);
  return operation;
}

/** What fields say only together. */
function checkTogether(operation: Operation, path: string): void {
  const { over, sizes, count, parts } = operation as Partial<SplitOperation>;
  if (over !== undefined && parts !== undefined) throw invalidRecipe(`${path}.parts`, "cannot go with over");
  if (Array.isArray(sizes)) {
    if (over !== undefined) throw invalidRecipe(`${path}.sizes`, "cannot be a list with over");
    if (parts !== undefined) throw invalidRecipe(`${path}.parts`, "cannot go with sizes that are a list");
    if (sizes.includes(-1)) throw invalidRecipe(`${path}.sizes`, "cannot have -1");
  }
  if (operation.op === "split" && over !== undefined && count === undefined) {
    throw invalidRecipe(`${path}.count`, "is missing: into how many parts?");
  }
}
