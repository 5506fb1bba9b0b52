import type { Piece } from "../view/tiling.ts";
import { contiguousStrides } from "../view/view.ts";

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
  /** The axes, those that go furthest in the source first. Their order does not matter for what goes where. */
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

/**
 * The transfer of a piece of a tensor into packed row-major memory for the whole.
 *
 * @param shape the shape of the whole.
 * @returns the transfer, and where its index zero goes in the destination, in bits.
 */
export function transferOf(
  tensor: number,
  { view, at }: Piece,
  shape: readonly number[],
  bits: number,
): { transfer: Transfer; target: number } {
  const whole = contiguousStrides(shape);
  const axes: TransferAxis[] = [];
  view.shape.forEach((size, i) => {
    const axis = { size, source: view.strides[i]! * bits, target: whole[i]! * bits };
    const outer = axes.at(-1);
    // Two axes that continue each other on both sides are one.
    const continues = outer?.source === size * axis.source && outer.target === size * axis.target;
    if (size === 1) return;
    if (outer && continues) axes[axes.length - 1] = { ...axis, size: outer.size * size };
    else axes.push(axis);
  });
  axes.sort((a, b) => Math.abs(b.source) - Math.abs(a.source));
  const target = at.reduce((sum, index, i) => sum + index * whole[i]!, 0) * bits;
  return { transfer: { tensor, bits, axes }, target };
}
