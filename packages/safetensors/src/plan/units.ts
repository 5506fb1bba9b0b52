import { spanBits, type Transfer, type TransferAxis } from "./transfer.ts";

/** Units that are alike: what each moves, and the axes along which they repeat, in bits. */
export interface UnitGroup {
  readonly unit: Transfer;
  readonly repeats: readonly TransferAxis[];
  /** Place of the first unit in the transfer, on both sides. */
  readonly source: number;
  readonly target: number;
}

/** How many units a group has. */
export function unitCount({ repeats }: UnitGroup): number {
  return repeats.reduce((count, { size }) => count * size, 1);
}

/**
 * Cuts a transfer into units that are each read as one span: what lies between their elements costs less to read than
 * to skip, and the span fits into one read.
 *
 * @param gap a gap of more bits than this is skipped.
 * @param most most bits of a span; one element's own bits are always allowed.
 */
export function cutIntoUnits(transfer: Transfer, gap: number, most: number): UnitGroup[] {
  const { bits } = transfer;
  const axes = transfer.axes.toSorted((a, b) => Math.abs(b.source) - Math.abs(a.source));
  // From the inside out: axes whose indices lie close together belong into one span, up to one that makes it too long.
  let outermost = axes.length;
  let span = bits;
  while (outermost > 0) {
    const { size, source } = axes[outermost - 1]!;
    if (span > Math.max(most, bits) || Math.abs(source) - span > gap) break;
    span += (size - 1) * Math.abs(source);
    outermost--;
  }
  const outer = axes.slice(0, outermost);
  const [axis, ...inner] = axes.slice(outermost);
  if (!axis) return [{ unit: { bits, axes: [] }, repeats: outer, source: 0, target: 0 }];

  // The outermost axis of the span is cut into runs of as many indices as fit; the last run may be shorter.
  const count = indicesThatFit(axis, spanBits({ bits, axes: inner }), most);
  const runs = Math.floor(axis.size / count);
  const cut = runs * count;
  const unitOf = (size: number): Transfer => ({ bits, axes: inOrderOfTarget([{ ...axis, size }, ...inner]) });
  const run = { size: runs, source: count * axis.source, target: count * axis.target };
  const full = { unit: unitOf(count), repeats: [...outer, run], source: 0, target: 0 };
  if (cut === axis.size) return [full];
  const [source, target] = [cut * axis.source, cut * axis.target];
  return [full, { unit: unitOf(axis.size - cut), repeats: outer, source, target }];
}

/** How many indices of an axis, each of which spans `inner` bits, are within `most` bits. */
function indicesThatFit({ size, source }: TransferAxis, inner: number, most: number): number {
  if (source === 0) return size;
  const fit = Math.floor(Math.max(most - inner, 0) / Math.abs(source)) + 1;
  if (fit >= size) return size;
  // Elements below a byte then start on whole bytes in every unit if they do in the first.
  return fit > 8 ? fit - (fit % 8) : fit;
}

/** So that memory is written in order. */
function inOrderOfTarget(axes: TransferAxis[]): TransferAxis[] {
  return axes.filter(({ size }) => size > 1).sort((a, b) => b.target - a.target);
}
