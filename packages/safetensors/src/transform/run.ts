import { SafetensorsError } from "../errors.ts";
import {
  concatViews,
  deinterleaveView,
  interleaveViews,
  MAX_PARTS,
  resolveAxis,
  splitView,
  stackAlike,
  unstackView,
} from "../view/concat.ts";
import { transposeView } from "../view/rearrange.ts";
import { reshapeInPieces } from "../view/reshape.ts";
import { permuteRopeView } from "../view/rope.ts";
import { sliceView } from "../view/slice.ts";
import type { TensorView } from "../view/tiling.ts";
import { type Expression, evaluate, type Values } from "./expression.ts";
import type { ConcatOperation, EachOperation, Operation, SplitOperation } from "./operation.ts";

/** The tensors of a group: for each pattern a row of them, of one where there is no row. */
export type Columns = readonly (readonly TensorView[])[];

/**
 * Does an operation to the tensors of a group. Nothing is read.
 *
 * @param targets how many tensors the step makes.
 */
export function runOperation(
  operation: Operation,
  columns: Columns,
  values: Values,
  targets: number,
): Columns {
  switch (operation.op) {
    case "stack":
      checkCount((operation.over === undefined ? columns : columns[0]!).length, operation.count, values);
      return joined(columns, operation.over, (views) => stackAlike(views, operation.axis));
    case "concat":
      checkCount((operation.over === undefined ? columns : columns[0]!).length, operation.count, values);
      return joined(columns, operation.over, (views) => concat(views, operation, values));
    case "interleave":
      return joined(columns, undefined, (views) => interleaveViews(views, operation.axis));
    case "unstack":
      return apart(columns, operation.over, (view) => {
        const parts = unstackView(view, operation.axis);
        checkCount(parts.length, operation.count, values);
        if (operation.over === undefined) checkCount(parts.length, operation.parts ?? targets, values);
        return parts;
      });
    case "split":
      return apart(columns, operation.over, (view) => split(view, operation, values, targets));
    case "deinterleave":
      return apart(columns, undefined, (view) =>
        deinterleaveView(view, operation.axis, operation.parts ?? targets),
      );
    default: {
      const { on } = operation;
      return columns.map((row, place) => {
        return !on || on.includes(place) ? row.map((view) => changed(view, operation, values)) : row;
      });
    }
  }
}

/** Joins along the rows, or from column to column. */
function joined(
  columns: Columns,
  over: string | undefined,
  join: (views: readonly TensorView[]) => TensorView,
): Columns {
  if (over !== undefined) return columns.map((row) => [join(row)]);
  return [columns[0]!.map((_, member) => join(columns.map((row) => row[member]!)))];
}

/** Takes apart into rows, or into columns. */
function apart(columns: Columns, over: string | undefined, cut: (view: TensorView) => TensorView[]): Columns {
  if (over !== undefined) {
    const rows = columns.map(([view]) => cut(view!));
    for (const row of rows) checkCount(row.length, rows[0]!.length, () => 0);
    return rows;
  }
  const parts = columns[0]!.map(cut);
  return parts[0]!.map((_, column) => parts.map((own) => own[column]!));
}

function concat(views: readonly TensorView[], { axis, sizes }: ConcatOperation, values: Values): TensorView {
  const whole = concatViews(views, axis);
  if (sizes === undefined) return whole;
  const along = resolveAxis(axis, whole.shape.length);
  const found = views.map(({ shape }) => shape[along]!);
  const wanted = sizes === "equal" ? found.map(() => found[0]!) : sizes.map((size) => evaluate(size, values));
  if (`${found}` === `${wanted}`) return whole;
  throw mismatch(`the tensors have sizes [${found}] along axis ${axis}, not [${wanted}]`);
}

function split(view: TensorView, operation: SplitOperation, values: Values, targets: number): TensorView[] {
  const { axis, sizes = "equal", over, count } = operation;
  if (sizes !== "equal") {
    return splitView(
      view,
      axis,
      sizes.map((size) => evaluate(size, values)),
    );
  }
  if (over === undefined) checkCount(operation.parts ?? targets, count, values);
  const parts = over === undefined ? (operation.parts ?? targets) : evaluate(count!, values);
  const whole = view.shape[resolveAxis(axis, view.shape.length)]!;
  if (parts < 1 || parts > MAX_PARTS || whole % parts !== 0) {
    throw mismatch(`axis ${axis} of a tensor of shape [${view.shape}] does not come in ${parts} equal parts`);
  }
  return splitView(view, axis, new Array<number>(parts).fill(whole / parts));
}

function changed(view: TensorView, operation: EachOperation, values: Values): TensorView {
  switch (operation.op) {
    case "transpose":
      return transposeView(view, operation.axes);
    case "reshape": {
      const { from } = operation;
      const expected = from && numbers(from, values);
      if (expected && !isOfShape(view.shape, expected)) {
        throw mismatch(`a tensor has shape [${view.shape}], not [${expected}]`);
      }
      return reshapeInPieces(view, numbers(operation.shape, values));
    }
    case "permuteRope":
      return permuteRopeView(view, evaluate(operation.heads, values), operation.inverse ?? false);
    case "slice": {
      const { axis, start, stop } = operation;
      const before = new Array<null>(resolveAxis(axis, view.shape.length)).fill(null);
      const bound = (value: Expression | undefined): number | null => {
        return value === undefined ? null : evaluate(value, values);
      };
      return sliceView(view, [...before, { start: bound(start), stop: bound(stop) }]);
    }
  }
}

function numbers(shape: readonly Expression[], values: Values): number[] {
  return shape.map((size) => evaluate(size, values));
}

/** One size of the expected shape may be -1: any. */
function isOfShape(shape: readonly number[], expected: readonly number[]): boolean {
  return shape.length === expected.length && expected.every((size, i) => size === -1 || size === shape[i]);
}

function checkCount(found: number, count: Expression | undefined, values: Values): void {
  if (count === undefined) return;
  const wanted = evaluate(count, values);
  if (found !== wanted) throw mismatch(`there are ${found} members, not ${wanted}`);
}

function mismatch(text: string): SafetensorsError {
  return new SafetensorsError("SIZE_MISMATCH", text);
}
