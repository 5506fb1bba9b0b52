import type { Piece } from "../view/tiling.ts";

/** One axis of a transfer, with its strides in bits. */
export interface TransferAxis {
  readonly size: number;
  readonly source: number;
  readonly target: number;
}

/** A block of elements that moves from a source to a destination in memory. Places are given apart, in bits. */
export interface Transfer {
  /** Number of the destination. */
  readonly tensor: number;
  /** Bits of an element. */
  readonly bits: number;
  /** The axes, each longer than one; their order does not matter for what goes where. */
  readonly axes: readonly TransferAxis[];
}

/** Bits from the first to behind the last element that the axes touch in the source. */
export function spanBits(axes: readonly TransferAxis[], bits: number): number {
  return axes.reduce((span, { size, source }) => span + (size - 1) * Math.abs(source), bits);
}

/** How far before the element of index zero the first one in the source lies: more than zero for negative strides. */
export function leadBits(axes: readonly TransferAxis[]): number {
  return axes.reduce((lead, { size, source }) => lead + (source < 0 ? (size - 1) * -source : 0), 0);
}

/** Whether the elements lie side by side in the same order on both sides. */
export function isInOrder({ axes, bits }: Transfer): boolean {
  const [axis] = axes;
  return !axis || (axes.length === 1 && axis.source === bits && axis.target === bits);
}

/**
 * The transfer of a piece of a tensor into packed row-major memory for the whole.
 *
 * @param strides the strides of the whole, in elements.
 * @returns the transfer, its axes in the order of the piece, and where its index zero goes, in bits.
 */
export function transferOf(
  tensor: number,
  { view, at }: Piece,
  strides: readonly number[],
  bits: number,
): { transfer: Transfer; target: number } {
  const axes: TransferAxis[] = [];
  let target = 0;
  for (let i = 0; i < strides.length; i++) {
    target += at[i]! * strides[i]! * bits;
    const size = view.shape[i]!;
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
  return { transfer: { tensor, bits, axes }, target };
}
