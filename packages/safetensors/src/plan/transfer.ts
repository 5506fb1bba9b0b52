import type { StridedView } from "../view/view.ts";

/** One axis along which elements move, with its strides in bits. */
export interface TransferAxis {
  readonly size: number;
  readonly source: number;
  readonly target: number;
}

/** A block of elements that moves from a source to a destination in memory. Its places are given apart, in bits. */
export interface Transfer {
  /** Bits of an element. */
  readonly bits: number;
  /** The axes, each longer than one; their order does not matter for what goes where. */
  readonly axes: readonly TransferAxis[];
}

/** Bits from the first to behind the last element that the axes touch in the source. */
export function spanBits({ axes, bits }: Transfer): number {
  return axes.reduce((span, { size, source }) => span + (size - 1) * Math.abs(source), bits);
}

/** How far before the element of index zero the first one in the source lies: more than zero for negative strides. */
export function leadBits({ axes }: Transfer): number {
  return axes.reduce((lead, { size, source }) => lead + (source < 0 ? (size - 1) * -source : 0), 0);
}

/** Whether the elements lie side by side in the same order on both sides. */
export function isInOrder({ axes, bits }: Transfer): boolean {
  const [axis] = axes;
  return !axis || (axes.length === 1 && axis.source === bits && axis.target === bits);
}

/** The transfer of a piece into packed memory for the whole, which has these strides in elements. */
export function transferOf(view: StridedView, strides: readonly number[], bits: number): Transfer {
  const axes: TransferAxis[] = [];
  for (const [i, size] of view.shape.entries()) {
    if (size === 1) continue;
    const axis = { size, source: view.strides[i]! * bits, target: strides[i]! * bits };
    const outer = axes.at(-1);
    // Two axes that continue each other on both sides are one.
    if (outer?.source === size * axis.source && outer.target === size * axis.target) {
      axes[axes.length - 1] = { ...axis, size: outer.size * size };
    } else {
      axes.push(axis);
    }
  }
  return { bits, axes };
}

/** Visits every index of the axes, the last one running fastest, with its places on both sides. */
export function forEachPlace(
  axes: readonly TransferAxis[],
  source: number,
  target: number,
  visit: (source: number, target: number) => void,
): void {
  const index = axes.map(() => 0);
  for (;;) {
    visit(source, target);
    let at = axes.length - 1;
    for (; at >= 0; at--) {
      const axis = axes[at]!;
      source += axis.source;
      target += axis.target;
      index[at]!++;
      if (index[at]! < axis.size) break;
      source -= axis.size * axis.source;
      target -= axis.size * axis.target;
      index[at] = 0;
    }
    if (at < 0) return;
  }
}
