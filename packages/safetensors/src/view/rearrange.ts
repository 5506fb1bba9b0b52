import { elementCount } from "../dtype/dtype.ts";
import { SafetensorsError } from "../errors.ts";
import type { TensorView } from "./tiling.ts";
import type { StridedView } from "./view.ts";

/**
 * The same tensor with its axes in another order; without `axes` in reverse order.
 *
 * @throws `INVALID_SLICE` unless `axes` names every axis once; negative ones count from the end
 */
export function transposeView(view: TensorView, axes?: readonly number[]): TensorView {
  const rank = view.shape.length;
  const order =
    axes?.map((axis) => (axis < 0 ? axis + rank : axis)) ?? view.shape.map((_, i) => rank - 1 - i);
  if (order.length !== rank || order.toSorted((a, b) => a - b).some((axis, i) => axis !== i)) {
    throw invalid(`the axes [${axes}] do not name each of ${rank} dimensions once`);
  }
  const permute = (values: readonly number[]): number[] => order.map((axis) => values[axis]!);
  const permuteView = (each: StridedView): StridedView => {
    return { ...each, shape: permute(each.shape), strides: permute(each.strides) };
  };
  if (!("pieces" in view)) return permuteView(view);
  const pieces = view.pieces.map(({ view, at, steps }) => {
    return { view: permuteView(view), at: permute(at), ...(steps && { steps: permute(steps) }) };
  });
  return { dtype: view.dtype, shape: permute(view.shape), pieces };
}

/**
 * The same elements in another shape, where that needs no copy. One dimension may be -1: what is left.
 *
 * @throws `INVALID_SLICE` for another number of elements, and where the elements do not lie so that strides can say it
 */
export function reshapeView(view: TensorView, shape: readonly number[]): TensorView {
  const target = completeShape(view.shape, shape);
  if ("pieces" in view)
    throw invalid(`a tensor in ${view.pieces.length} pieces cannot be reshaped without a copy`);
  const strides = stridesFor(view, target);
  if (strides) return { ...view, shape: target, strides };
  const layout = `of shape [${view.shape}] with strides [${view.strides}]`;
  throw invalid(`a view ${layout} cannot be reshaped to [${target}] without a copy`);
}

/**
 * The shape with its -1, if it has one, replaced by what is left of a tensor of shape `from`.
 *
 * @throws `INVALID_SLICE` for what is not a shape, or has another number of elements
 */
export function completeShape(from: readonly number[], to: readonly number[]): number[] {
  const count = elementCount(from);
  const known = elementCount(to.filter((size) => size !== -1));
  const unknown = to.filter((size) => size === -1).length;
  if (to.some((size) => !Number.isSafeInteger(size) || size < -1) || unknown > 1)
    throw invalid(`[${to}] is not a shape`);
  const shape = to.map((size) => (size === -1 ? count / known : size));
  if (unknown === 1 ? known > 0 && Number.isInteger(count / known) : known === count) return shape;
  throw invalid(`${count} elements of shape [${from}] do not fill the shape [${to}]`);
}

/** Strides that give the elements in the same order in another shape, if there are such. */
function stridesFor({ shape, strides }: StridedView, target: readonly number[]): number[] | undefined {
  if (shape.includes(0)) return target.map(() => 0);
  // Axes of size 1 can be left out and put in anywhere.
  const old = shape.map((size, i) => ({ size, stride: strides[i]! })).filter(({ size }) => size !== 1);
  const result = new Array<number>(target.length).fill(0);
  let next = 0;
  let axis = 0;
  while (axis < target.length) {
    if (target[axis] === 1) {
      axis++;
      continue;
    }
    // The smallest group of old axes that holds as many elements as a group of new ones.
    const groupStart = axis;
    const oldStart = next;
    let oldCount = old[next++]!.size;
    let newCount = target[axis++]!;
    while (oldCount !== newCount) {
      if (oldCount < newCount) oldCount *= old[next++]!.size;
      else newCount *= target[axis++]!;
    }
    for (let i = oldStart; i < next - 1; i++)
      if (old[i]!.stride !== old[i + 1]!.size * old[i + 1]!.stride) return undefined;
    let step = old[next - 1]!.stride;
    for (let i = axis - 1; i >= groupStart; i--) {
      result[i] = step;
      step *= target[i]!;
    }
  }
  return result;
}

function invalid(problem: string): SafetensorsError {
  return new SafetensorsError("INVALID_SLICE", problem);
}
