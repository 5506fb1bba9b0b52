import { SafetensorsError } from "../errors.ts";
import { sliceView } from "./slice.ts";
import { mergeRuns, stackViews } from "./stack.ts";
import { joinPieces, type Piece, piecesOf, type TensorView } from "./tiling.ts";

/** Tensors that one tensor may be taken apart into: shapes with a zero can have axes of any length. */
export const MAX_PARTS: number = 2 ** 16;

/**
 * Views one after the other along an axis that they have. Those that lie so in their source become one piece.
 *
 * @param axis a negative one counts from the end.
 * @throws `INVALID_SLICE` unless they have one dtype and, along all other axes, one shape
 */
export function concatViews(views: readonly TensorView[], axis: number): TensorView {
  const { dtype, shape } = firstOf(views);
  const along = resolveAxis(axis, shape.length);
  for (const view of views) {
    const isAlike = view.shape.length === shape.length;
    if (!isAlike || view.shape.some((size, i) => i !== along && size !== shape[i])) {
      const text = `tensors of shapes [${shape}] and [${view.shape}] cannot be joined along axis ${axis}`;
      throw new SafetensorsError("INVALID_SLICE", text);
    }
  }
  let length = 0;
  const pieces: Piece[] = [];
  for (const view of views) {
    for (const piece of piecesOf(view)) {
      if (piece.view.shape.includes(0)) continue;
      pieces.push({ ...piece, at: piece.at.with(along, piece.at[along]! + length) });
    }
    length += view.shape[along]!;
  }
  return joinPieces(dtype, shape.with(along, length), mergeRuns(pieces, along));
}

/**
 * Views of one shape beside each other along a new axis, as `stackViews`, which does not check them.
 *
 * @param axis place of the new axis; a negative one counts from the end of the result's.
 * @throws `INVALID_SLICE` unless they have one dtype and one shape
 */
export function stackAlike(views: readonly TensorView[], axis: number): TensorView {
  const { dtype, shape } = alike(views);
  return stackViews(dtype, shape, views, resolveAxis(axis, shape.length + 1));
}

/**
 * Views of one shape whose indices along an axis take turns: the first of each view, then the second of each.
 *
 * @param axis a negative one counts from the end.
 * @throws `INVALID_SLICE` unless they have one dtype and one shape
 */
export function interleaveViews(views: readonly TensorView[], axis: number): TensorView {
  const { dtype, shape } = alike(views);
  const along = resolveAxis(axis, shape.length);
  const pieces = views.flatMap((view, index) => {
    return piecesOf(view).map((piece) => {
      const steps = piece.steps ?? shape.map(() => 1);
      const at = piece.at.with(along, piece.at[along]! * views.length + index);
      return { view: piece.view, at, steps: steps.with(along, steps[along]! * views.length) };
    });
  });
  return joinPieces(dtype, shape.with(along, shape[along]! * views.length), pieces);
}

/**
 * The parts of a view along an axis, of these sizes.
 *
 * @param axis a negative one counts from the end.
 * @throws `INVALID_SLICE` unless the sizes are the axis's in all
 */
export function splitView(view: TensorView, axis: number, sizes: readonly number[]): TensorView[] {
  const along = resolveAxis(axis, view.shape.length);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  if (sizes.some((size) => !Number.isSafeInteger(size) || size < 0) || total !== view.shape[along]) {
    const text = `parts of ${sizes.join(" + ")} do not make axis ${axis} of a tensor of shape [${view.shape}]`;
    throw new SafetensorsError("INVALID_SLICE", text);
  }
  const before = view.shape.slice(0, along).map(() => null);
  let start = 0;
  return sizes.map((size) => {
    const stop = start + size;
    const part = sliceView(view, [...before, { start, stop }]);
    start = stop;
    return part;
  });
}

/** The views that `interleaveViews` would make this one from. `INVALID_SLICE` if the axis is no multiple of `parts`. */
export function deinterleaveView(view: TensorView, axis: number, parts: number): TensorView[] {
  const along = resolveAxis(axis, view.shape.length);
  if (view.shape[along]! % parts !== 0) {
    const text = `axis ${axis} of a tensor of shape [${view.shape}] does not come in ${parts} equal parts`;
    throw new SafetensorsError("INVALID_SLICE", text);
  }
  const before = view.shape.slice(0, along).map(() => null);
  return Array.from({ length: parts }, (_, start) => sliceView(view, [...before, { start, step: parts }]));
}

/**
 * The views that `stackAlike` would make this one from.
 *
 * @throws `INVALID_SLICE` without that axis; `LIMIT_EXCEEDED` for more than `MAX_PARTS`
 */
export function unstackView(view: TensorView, axis: number): TensorView[] {
  const along = resolveAxis(axis, view.shape.length);
  if (view.shape[along]! > MAX_PARTS) {
    const text = `a tensor of shape [${view.shape}] would become more than ${MAX_PARTS} tensors`;
    throw new SafetensorsError("LIMIT_EXCEEDED", text, { limit: "MAX_PARTS" });
  }
  const before = view.shape.slice(0, along).map(() => null);
  return Array.from({ length: view.shape[along]! }, (_, index) => sliceView(view, [...before, index]));
}

/** The axis counted from the front. `INVALID_SLICE` if a tensor of so many dimensions has none such. */
export function resolveAxis(axis: number, rank: number): number {
  const resolved = axis < 0 ? axis + rank : axis;
  if (Number.isInteger(axis) && resolved >= 0 && resolved < rank) return resolved;
  throw new SafetensorsError("INVALID_SLICE", `a tensor of ${rank} dimensions has no axis ${axis}`);
}

/** The first of views that have one dtype and one shape. */
function alike(views: readonly TensorView[]): TensorView {
  const first = firstOf(views);
  const other = views.find(({ shape }) => `${shape}` !== `${first.shape}`);
  if (!other) return first;
  const text = `tensors of shapes [${first.shape}] and [${other.shape}] are not of one shape`;
  throw new SafetensorsError("INVALID_SLICE", text);
}

/** The first of views that have one dtype. */
function firstOf(views: readonly TensorView[]): TensorView {
  const [first] = views;
  if (!first) throw new SafetensorsError("INVALID_SLICE", "there is no tensor to join");
  const other = views.find(({ dtype }) => dtype !== first.dtype);
  if (!other) return first;
  const text = `tensors of dtypes ${first.dtype} and ${other.dtype} cannot be one tensor`;
  throw new SafetensorsError("INVALID_SLICE", text);
}
