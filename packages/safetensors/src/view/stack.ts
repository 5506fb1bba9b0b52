import { DTYPES, type Dtype } from "../dtype/dtype.ts";
import { joinPieces, type Piece, piecesOf, type TensorView } from "./tiling.ts";
import type { StridedView } from "./view.ts";

/**
 * Views of the same shape, one beside the other along a new axis. Views that lie at equal distances, one after the
 * other, become one piece.
 *
 * @param shape shape of each view.
 * @param axis place of the new axis.
 */
export function stackViews(
  dtype: Dtype,
  shape: readonly number[],
  views: readonly TensorView[],
  axis: number,
): TensorView {
  const pieces = views.flatMap((view, index) =>
    piecesOf(view).map((piece) => ({
      view: withAxis(piece.view, axis, 1, 0),
      at: piece.at.toSpliced(axis, 0, index),
      ...(piece.steps && { steps: piece.steps.toSpliced(axis, 0, 1) }),
    })),
  );
  return joinPieces(dtype, shape.toSpliced(axis, 0, views.length), mergeRuns(pieces, axis));
}

function withAxis(view: StridedView, axis: number, size: number, stride: number): StridedView {
  const { shape, strides } = view;
  return { ...view, shape: shape.toSpliced(axis, 0, size), strides: strides.toSpliced(axis, 0, stride) };
}

/** Joins pieces that follow each other along the axis and lie in the source as one regular view does. */
export function mergeRuns(pieces: readonly Piece[], axis: number): Piece[] {
  const merged: Piece[] = [];
  for (const piece of pieces) {
    const run = merged.at(-1);
    const joined = run && appended(run, piece, axis);
    if (joined) merged[merged.length - 1] = joined;
    else merged.push(piece);
  }
  return merged;
}

function appended(run: Piece, next: Piece, axis: number): Piece | undefined {
  const count = run.view.shape[axis]!;
  const more = next.view.shape[axis]!;
  const follows = run.at.every((at, i) => next.at[i] === (i === axis ? at + count : at));
  const alike = run.view.source === next.view.source && sameOutside(run.view, next.view, axis);
  if (!follows || !alike || run.steps || next.steps) return undefined;
  const { bits } = DTYPES[run.view.dtype];
  const distance = (next.view.bitOffset - run.view.bitOffset) / bits;
  // The first two views set the stride of a run; what comes after has to keep it.
  const own = more > 1 ? next.view.strides[axis]! : distance;
  const stride = count > 1 ? run.view.strides[axis]! : own;
  if (!Number.isInteger(stride) || distance !== stride * count || (more > 1 && own !== stride))
    return undefined;
  const shape = run.view.shape.with(axis, count + more);
  return { view: { ...run.view, shape, strides: run.view.strides.with(axis, stride) }, at: run.at };
}

function sameOutside(a: StridedView, b: StridedView, axis: number): boolean {
  return a.shape.every((size, i) => i === axis || (size === b.shape[i] && a.strides[i] === b.strides[i]));
}
