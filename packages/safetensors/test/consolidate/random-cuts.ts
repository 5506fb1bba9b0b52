import type { Box } from "../../src/consolidate/box.ts";
import { numbers } from "../support.ts";

/** A tensor cut into at most `most` blocks, each time one of them in two; not only as a grid. */
export function cutsOf(shape: readonly number[], most: number, seed: number, grain = 1): Box[] {
  const next = numbers(seed);
  const boxes: Box[] = [{ at: shape.map(() => 0), shape }];
  for (let tries = next() % (2 * most); tries > 0 && boxes.length < most && shape.length > 0; tries--) {
    const place = next() % boxes.length;
    const axis = next() % shape.length;
    const box = boxes[place]!;
    const size = box.shape[axis]!;
    // Elements below a byte can be cut apart at whole bytes only.
    const step = axis === shape.length - 1 ? grain : 1;
    const first = (next() % Math.max(1, size / step)) * step;
    if (first === 0 || first >= size) continue;
    boxes[place] = { at: box.at, shape: box.shape.with(axis, first) };
    boxes.push({ at: box.at.with(axis, box.at[axis]! + first), shape: box.shape.with(axis, size - first) });
  }
  return boxes;
}

/** The bytes of a block of a tensor in row-major order whose elements take `bytes` each. */
export function bytesOfBox(whole: Uint8Array, shape: readonly number[], box: Box, bytes: number): Uint8Array {
  if (shape.length === 0) return whole.slice();
  const parts: number[] = [];
  const visit = (axis: number, index: number): void => {
    const [begin, size] = [box.at[axis]!, box.shape[axis]!];
    if (axis === shape.length - 1) {
      const start = (index * shape[axis]! + begin) * bytes;
      for (const byte of whole.subarray(start, start + size * bytes)) parts.push(byte);
      return;
    }
    for (let i = begin; i < begin + size; i++) visit(axis + 1, index * shape[axis]! + i);
  };
  visit(0, 0);
  return Uint8Array.from(parts);
}
