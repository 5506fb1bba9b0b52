import type { Dtype } from "../dtype/dtype.ts";
import type { StridedView } from "./view.ts";

/** A part of a tiling: a view, and the index in the whole at which its index zero lies. */
export interface Piece {
  readonly view: StridedView;
  readonly at: readonly number[];
  /** How far apart neighbouring indices of the view lie in the whole, along each axis: one each unless said otherwise. */
  readonly steps?: readonly number[];
}

/**
 * One logical tensor that lies in pieces: per-rank files, packed gate and up projections, rows picked by a list. The
 * pieces have the dtype and the number of dimensions of the whole; together they cover it without overlap.
 */
export interface Tiling {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly pieces: readonly Piece[];
}

/** A tensor as it lies in sources: in one regular piece, or in several. */
export type TensorView = StridedView | Tiling;

/** The pieces of a tensor: a strided view is its own only piece. */
export function piecesOf(view: TensorView): readonly Piece[] {
  return "pieces" in view ? view.pieces : [{ view, at: view.shape.map(() => 0) }];
}

/** A tiling, or the view itself where one piece is the whole. */
export function joinPieces(dtype: Dtype, shape: readonly number[], pieces: readonly Piece[]): TensorView {
  const [only] = pieces;
  return only && pieces.length === 1 ? only.view : { dtype, shape, pieces };
}
