import assert from "node:assert/strict";
import { elementCount } from "../../src/dtype/dtype.ts";
import { contiguousStrides } from "../../src/view/view.ts";

/** A tensor as it is defined: a value for each index, in row-major order. Slow and plain. */
export interface Model {
  readonly shape: readonly number[];
  readonly values: readonly number[];
}

/** The tensor of this shape whose value at an index is what the function says. */
export function modelOf(shape: readonly number[], valueAt: (index: readonly number[]) => number): Model {
  const values: number[] = [];
  const index = shape.map(() => 0);
  for (let place = 0; place < elementCount(shape); place++) {
    let rest = place;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis] = rest % shape[axis]!;
      rest = Math.floor(rest / shape[axis]!);
    }
    values.push(valueAt(index));
  }
  return { shape, values };
}

export function valueAt({ shape, values }: Model, index: readonly number[]): number {
  const strides = contiguousStrides(shape);
  const value = values[index.reduce((sum, i, axis) => sum + i * strides[axis]!, 0)];
  assert.ok(value !== undefined, "the index is outside");
  return value;
}

export function concatModels(models: readonly Model[], axis: number): Model {
  const lengths = models.map(({ shape }) => shape[axis]!);
  const length = lengths.reduce((sum, size) => sum + size, 0);
  return modelOf(models[0]!.shape.with(axis, length), (index) => {
    let at = index[axis]!;
    let which = 0;
    while (at >= lengths[which]!) at -= lengths[which++]!;
    return valueAt(models[which]!, index.with(axis, at));
  });
}

export function stackModels(models: readonly Model[], axis: number): Model {
  return modelOf(models[0]!.shape.toSpliced(axis, 0, models.length), (index) =>
    valueAt(models[index[axis]!]!, index.toSpliced(axis, 1)),
  );
}

export function interleaveModels(models: readonly Model[], axis: number): Model {
  const count = models.length;
  return modelOf(models[0]!.shape.with(axis, models[0]!.shape[axis]! * count), (index) => {
    const at = index[axis]!;
    return valueAt(models[at % count]!, index.with(axis, Math.floor(at / count)));
  });
}

export function transposeModel(model: Model, axes: readonly number[]): Model {
  return modelOf(
    axes.map((axis) => model.shape[axis]!),
    (index) => {
      const old = model.shape.map(() => 0);
      for (const [place, axis] of axes.entries()) old[axis] = index[place]!;
      return valueAt(model, old);
    },
  );
}

/** Every `step`th index of an axis, `count` of them. */
export function rangeOfModel(model: Model, axis: number, start: number, count: number, step: number): Model {
  return modelOf(model.shape.with(axis, count), (index) =>
    valueAt(model, index.with(axis, start + index[axis]! * step)),
  );
}
