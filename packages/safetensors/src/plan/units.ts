import { spanBits, type Transfer, type TransferAxis } from "./transfer.ts";

/** Takes a unit: what moves, and where its index zero is in the source and in the destination, in bits. */
export type EmitUnit = (transfer: Transfer, source: number, target: number) => void;

/**
 * Cuts a transfer into units that are each read as one span: what lies between their elements costs less to read than
 * to skip, and the span fits into one read.
 *
 * @param gap a gap of more bits than this is skipped.
 * @param most most bits of a span; an element's own bits are always allowed.
 */
export function cutIntoUnits(
  transfer: Transfer,
  source: number,
  target: number,
  gap: number,
  most: number,
  emit: EmitUnit,
): void {
  const { axes, bits } = transfer;
  // Axes whose indices lie far apart, or hold too much each, are walked index by index.
  let walked = 0;
  let step = Number.POSITIVE_INFINITY;
  for (; walked < axes.length; walked++) {
    const { source: stride } = axes[walked]!;
    const inner = spanBits(axes.slice(walked + 1), bits);
    if (Math.abs(stride) - inner > gap || inner > most) continue;
    step = Math.floor((most - inner) / Math.abs(stride)) + 1;
    break;
  }
  const outer = axes.slice(0, walked);
  const axis = axes[walked];
  const rest = axes.slice(walked + 1);
  if (!axis) {
    const element: Transfer = { ...transfer, axes: [] };
    return walk(outer, 0, source, target, (from, to) => emit(element, from, to));
  }

  // The next axis is cut into runs of `step` indices; the last run may be shorter.
  const count = Math.min(step, axis.size);
  const full: Transfer = { ...transfer, axes: [{ ...axis, size: count }, ...rest] };
  const left = axis.size % count;
  const last: Transfer = { ...transfer, axes: [{ ...axis, size: left }, ...rest] };
  walk(outer, 0, source, target, (from, to) => {
    for (let start = 0; start < axis.size; start += count) {
      const isLast = start + count > axis.size;
      emit(isLast ? last : full, from + start * axis.source, to + start * axis.target);
    }
  });
}

/** Visits every index of the axes in order. */
function walk(
  axes: readonly TransferAxis[],
  depth: number,
  source: number,
  target: number,
  visit: (source: number, target: number) => void,
): void {
  const axis = axes[depth];
  if (!axis) return visit(source, target);
  for (let i = 0; i < axis.size; i++)
    walk(axes, depth + 1, source + i * axis.source, target + i * axis.target, visit);
}
