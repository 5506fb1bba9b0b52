import { spanBits, type Transfer, type TransferAxis } from "./transfer.ts";

/** Takes a unit: what moves, and where its index zero is in the source and in the destination, in bits. */
export type EmitUnit = (transfer: Transfer, source: number, target: number) => void;

/**
 * Cuts a transfer into units that are each read as one span: what lies between their elements costs less to read than
 * to skip, and the span fits into one read. Units that are alike share one
 * transfer and come one after the other.
 *
 * @param gap a gap of more bits than this is skipped.
 * @param most most bits of a span; one element's own bits are always allowed.
 */
export function cutIntoUnits(
  transfer: Transfer,
  source: number,
  target: number,
  gap: number,
  most: number,
  emit: EmitUnit,
): void {
  const { bits } = transfer;
  const axes = transfer.axes.toSorted((a, b) => Math.abs(b.source) - Math.abs(a.source));
  // From the inside out: axes whose indices lie close together belong into one span, up to one that makes it too long.
  let walked = axes.length;
  let inner = bits;
  while (walked > 0) {
    const { size, source: stride } = axes[walked - 1]!;
    if (inner > Math.max(most, bits) || Math.abs(stride) - inner > gap) break;
    inner += (size - 1) * Math.abs(stride);
    walked--;
  }
  // All further axes are walked index by index.
  const outer = axes.slice(0, walked);
  const [axis, ...rest] = axes.slice(walked);
  if (!axis) {
    const element = { ...transfer, axes: [] };
    return walk(outer, 0, source, target, (from, to) => emit(element, from, to));
  }
  // The outermost axis of the span is cut into runs of as many indices as fit; the last run may be shorter.
  const count = indicesThatFit(axis, spanBits(rest, bits), most);
  const left = axis.size % count;
  const cutOff = axis.size - left;
  const full = unitOf(transfer, { ...axis, size: count }, rest);
  walk(outer, 0, source, target, (from, to) => {
    for (let start = 0; start < cutOff; start += count)
      emit(full, from + start * axis.source, to + start * axis.target);
  });
  if (left === 0) return;
  const last = unitOf(transfer, { ...axis, size: left }, rest);
  walk(outer, 0, source, target, (from, to) => {
    emit(last, from + cutOff * axis.source, to + cutOff * axis.target);
  });
}

/** How many indices of an axis, each of which spans `inner` bits, are within `most` bits. */
function indicesThatFit({ size, source }: TransferAxis, inner: number, most: number): number {
  if (source === 0) return size;
  const fit = Math.floor(Math.max(most - inner, 0) / Math.abs(source)) + 1;
  if (fit >= size) return size;
  // Elements below a byte then start on whole bytes in every unit if they do in the first.
  return fit > 8 ? fit - (fit % 8) : fit;
}

/** Its axes are in the order of the destination, so that memory is written in order. */
function unitOf(transfer: Transfer, axis: TransferAxis, rest: readonly TransferAxis[]): Transfer {
  const axes = [axis, ...rest].filter(({ size }) => size > 1);
  return { ...transfer, axes: axes.sort((a, b) => b.target - a.target) };
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
