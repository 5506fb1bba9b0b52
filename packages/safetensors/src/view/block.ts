/** A strided box of elements: shape, strides and the place of index zero, all counted in elements. */
export interface Block {
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly offset: number;
}

/** The part of a block with `count` indices from `start` on along one axis. */
export function narrow(block: Block, axis: number, start: number, count: number): Block {
  const shape = block.shape.slice();
  shape[axis] = count;
  return { shape, strides: block.strides, offset: block.offset + start * block.strides[axis]! };
}

/** First element that a non-empty block touches, and how many elements lie from there to its last one. */
export function spanOf({ shape, strides, offset }: Block): { first: number; length: number } {
  let first = offset;
  let length = 1;
  for (let axis = 0; axis < shape.length; axis++) {
    const reach = (shape[axis]! - 1) * strides[axis]!;
    if (reach < 0) first += reach;
    length += Math.abs(reach);
  }
  return { first, length };
}
