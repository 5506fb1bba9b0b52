import { elementCount } from "../dtype/dtype.ts";

/** A block of a tensor: the index at which it begins, and its shape. */
export interface Box {
  readonly at: readonly number[];
  readonly shape: readonly number[];
}

/** A block as Python writes it: `[0:4, 2:8]`. */
export function boxText({ at, shape }: Box): string {
  return `[${at.map((begin, axis) => `${begin}:${begin + shape[axis]!}`).join(", ")}]`;
}

/** Two blocks that have an element in common, if there are such. None of the blocks is empty. */
export function findOverlap<B extends Box>(boxes: readonly B[]): readonly [B, B] | undefined {
  const axis = widestAxis(boxes);
  // A sweep along the axis with the most different begins: few blocks lie beside each other there.
  let open: B[] = [];
  for (const box of boxes.toSorted((a, b) => a.at[axis]! - b.at[axis]!)) {
    open = open.filter((other) => endOf(other, axis) > box.at[axis]!);
    const other = open.find((other) => sharedCount(other, box) > 0);
    if (other) return [other, box];
    open.push(box);
  }
  return undefined;
}

/**
 * A block of a tensor of this shape that none of the boxes covers, if there is one. The boxes lie in the tensor, do not
 * overlap, and none is empty.
 */
export function findHole(shape: readonly number[], boxes: readonly Box[]): Box | undefined {
  let hole: Box = { at: shape.map(() => 0), shape };
  let inside = boxes;
  if (isCovered(hole, inside)) return undefined;
  // What is not covered in one of two halves is looked for there; each cut is along an edge of a box.
  while (inside.length > 0) {
    const [first, second] = halvesOf(hole, inside);
    hole = isCovered(first, inside) ? second : first;
    inside = inside.filter((box) => sharedCount(box, hole) > 0);
  }
  return hole;
}

/** The axis along which the boxes begin at the most different places. */
function widestAxis(boxes: readonly Box[]): number {
  let [widest, most] = [0, 0];
  for (let axis = 0; axis < (boxes[0]?.at.length ?? 0); axis++) {
    const { size } = new Set(boxes.map(({ at }) => at[axis]));
    if (size > most) [widest, most] = [axis, size];
  }
  return widest;
}

function endOf({ at, shape }: Box, axis: number): number {
  return at[axis]! + shape[axis]!;
}

/** Elements that two blocks have in common. */
function sharedCount(a: Box, b: Box): number {
  let count = 1;
  for (let axis = 0; axis < a.at.length && count > 0; axis++) {
    count *= Math.max(0, Math.min(endOf(a, axis), endOf(b, axis)) - Math.max(a.at[axis]!, b.at[axis]!));
  }
  return count;
}

function isCovered(box: Box, boxes: readonly Box[]): boolean {
  return boxes.reduce((sum, other) => sum + sharedCount(box, other), 0) === elementCount(box.shape);
}

/** Two parts of a block that is covered only partly, cut along an edge that lies inside it. */
function halvesOf(whole: Box, boxes: readonly Box[]): readonly [Box, Box] {
  for (const [axis, begin] of whole.at.entries()) {
    const end = endOf(whole, axis);
    const edges = boxes
      .flatMap((box) => [box.at[axis]!, endOf(box, axis)])
      .filter((edge) => edge > begin && edge < end)
      .sort((a, b) => a - b);
    const middle = edges[edges.length >> 1];
    if (middle === undefined) continue;
    return [
      { at: whole.at, shape: whole.shape.with(axis, middle - begin) },
      { at: whole.at.with(axis, middle), shape: whole.shape.with(axis, end - middle) },
    ];
  }
  throw new Error("unreachable: a box that reaches into the block and has no edge in it covers it");
}
