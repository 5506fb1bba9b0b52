import { SafetensorsError } from "../errors.ts";
import { transposeView } from "./rearrange.ts";
import { reshapeInPieces } from "./reshape.ts";
import type { TensorView } from "./tiling.ts";

/**
 * The rows of a query or key projection in another order for rotary embeddings. Meta's Llama rotates neighbours, rows 2i
 * and 2i + 1 of a head; Hugging Face's rotates halves, rows i and i + half. This goes from the first to the second.
 *
 * @param view the rows of all heads along the first axis; a bias has no other.
 * @param inverse from halves to neighbours.
 * @throws `INVALID_SLICE` unless the rows are an even number for each head
 */
export function permuteRopeView(view: TensorView, heads: number, inverse: boolean): TensorView {
  const [rows, ...rest] = view.shape;
  const half = (rows ?? 0) / heads / 2;
  if (rows === undefined || !Number.isInteger(half) || !Number.isInteger(heads)) {
    const text = `a tensor of shape [${view.shape}] does not have an even number of rows for each of ${heads} heads`;
    throw new SafetensorsError("INVALID_SLICE", text);
  }
  const pairs = inverse ? [2, half] : [half, 2];
  const split = reshapeInPieces(view, [heads, ...pairs, ...rest]);
  const swapped = transposeView(split, [0, 2, 1, ...rest.map((_, i) => i + 3)]);
  return reshapeInPieces(swapped, view.shape);
}
