import { DTYPES, elementCount } from "../dtype/dtype.ts";
import { type IndexItem, range } from "../view/index-items.ts";
import type { TensorView } from "../view/tiling.ts";
import type { StridedView } from "../view/view.ts";

/** A part of a tensor whose elements follow each other in row-major order. */
export interface Part {
  /** The index that makes the part; none for the whole. */
  readonly items?: readonly IndexItem[];
  /** The number of its first element, and how many there are. */
  readonly start: number;
  readonly count: number;
}

/**
 * Cuts a tensor into parts of about the same size, of at most `most` elements where that can be done: rows of the first
 * axis whose rows are that small. Every part is whole bytes. One whose rows do not lie apart in its source stays whole,
 * as each part would read all of it.
 */
export function* partsOf(view: TensorView, most: number): Generator<Part, void, undefined> {
  const total = elementCount(view.shape);
  const cut = total > most && !("pieces" in view) && rowsLieApart(view) ? cutOf(view, most) : undefined;
  if (!cut) return yield { start: 0, count: total };
  const { axis, rows, rowLength } = cut;
  const size = view.shape[axis]!;
  const outer = view.shape.slice(0, axis);
  const blocks = elementCount(outer);
  for (let block = 0; block < blocks; block++) {
    const place = indexOf(block, outer);
    for (let row = 0; row < size; row += rows) {
      const end = Math.min(row + rows, size);
      const start = (block * size + row) * rowLength;
      yield { items: [...place, range(row, end)], start, count: (end - row) * rowLength };
    }
  }
}

/** The axis to cut along, the rows of a part, and the elements of a row. */
function cutOf(
  { shape, dtype }: StridedView,
  most: number,
): { axis: number; rows: number; rowLength: number } | undefined {
  let axis = 0;
  let rowLength = elementCount(shape) / shape[0]!;
  while (rowLength > most) rowLength /= shape[++axis]!;
  const size = shape[axis]!;
  const rowBits = rowLength * DTYPES[dtype].bits;
  // After so many rows a byte is full.
  const whole = [1, 2, 4, 8].find((count) => (count * rowBits) % 8 === 0)!;
  if (axis > 0 && size % whole !== 0) return undefined;
  const mostRows = Math.max(1, Math.floor(most / rowLength / whole)) * whole;
  const parts = Math.ceil(size / mostRows);
  return { axis, rows: Math.ceil(size / parts / whole) * whole, rowLength };
}

/** Whether along every axis the next index lies behind, or before, all that is inside this one. */
function rowsLieApart({ shape, strides }: StridedView): boolean {
  let span = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const size = shape[axis]!;
    const stride = Math.abs(strides[axis]!);
    if (size > 1 && stride < span) return false;
    span += (size - 1) * stride;
  }
  return true;
}

/** The index of the element of that number. */
function indexOf(number: number, shape: readonly number[]): number[] {
  const index = new Array<number>(shape.length);
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    index[axis] = number % shape[axis]!;
    number = Math.floor(number / shape[axis]!);
  }
  return index;
}
