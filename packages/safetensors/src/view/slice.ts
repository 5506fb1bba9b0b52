import { DTYPES } from "../dtype/dtype.ts";
import { SafetensorsError } from "../errors.ts";
import { type IndexItem, resolveIndex, type Selection } from "./index-items.ts";
import { stackViews } from "./stack.ts";
import { joinPieces, type Piece, type TensorView } from "./tiling.ts";
import type { StridedView } from "./view.ts";

/**
 * Indexes a tensor as NumPy does, without reading anything: the result is a view of the same data. Several lists
 * select element by element, as they do there.
 *
 * @throws `INVALID_SLICE` and `OUT_OF_RANGE` as `resolveIndex`, and for lists of different lengths
 */
export function sliceView(view: TensorView, items: readonly IndexItem[]): TensorView {
  const selections = resolveIndex(view.shape, items);
  const lists = selections.flatMap((selection) => (selection.kind === "list" ? [selection.indices] : []));
  if (lists.length === 0) return select(view, selections);

  const rows = commonLength(lists.map((list) => list.length));
  const picked = Array.from({ length: rows }, (_, row) =>
    select(
      view,
      selections.map((selection) => {
        if (selection.kind !== "list") return selection;
        const { axis, indices } = selection;
        return { kind: "pick", axis, index: indices[indices.length === 1 ? 0 : row]! };
      }),
    ),
  );
  return stackViews(view.dtype, shapeOf(selections), picked, listPosition(items, selections));
}

/** Lists of one index go with lists of any length. */
function commonLength(lengths: readonly number[]): number {
  const others = new Set(lengths.filter((length) => length !== 1));
  if (others.size > 1) {
    throw new SafetensorsError("INVALID_SLICE", `the lists have different lengths: ${lengths.join(", ")}`);
  }
  return [...others][0] ?? 1;
}

/**
 * Where the axis of the lists goes: to the place of the first list or integer if these stand side by side, else to
 * the front. This is NumPy's rule ("Combining advanced and basic indexing"), where integers count as lists beside one,
 * and an ellipsis stands between two of them even if it takes no axis.
 */
function listPosition(items: readonly IndexItem[], selections: readonly Selection[]): number {
  const isAdvanced = (item: IndexItem): boolean => typeof item === "number" || Array.isArray(item);
  const between = items.slice(items.findIndex(isAdvanced), items.findLastIndex(isAdvanced));
  if (!between.every(isAdvanced)) return 0;
  return selections.findIndex(({ kind }) => kind === "list" || kind === "pick");
}

/** Shape of the selection without its lists. */
function shapeOf(selections: readonly Selection[]): number[] {
  return selections.flatMap((selection) =>
    selection.kind === "range" ? [selection.count] : selection.kind === "new" ? [1] : [],
  );
}

function select(view: TensorView, selections: readonly Selection[]): TensorView {
  if (!("pieces" in view)) return selectStrided(view, selections);
  const pieces = view.pieces.flatMap((piece) => selectPiece(piece, selections));
  return joinPieces(view.dtype, shapeOf(selections), pieces);
}

function selectStrided(view: StridedView, selections: readonly Selection[]): StridedView {
  const strides: number[] = [];
  let offset = 0;
  for (const selection of selections) {
    if (selection.kind === "new") strides.push(0);
    if (selection.kind === "pick") offset += selection.index * view.strides[selection.axis]!;
    if (selection.kind === "range") {
      offset += selection.start * view.strides[selection.axis]!;
      strides.push(selection.step * view.strides[selection.axis]!);
    }
  }
  const bitOffset = view.bitOffset + offset * DTYPES[view.dtype].bits;
  return { source: view.source, dtype: view.dtype, shape: shapeOf(selections), strides, bitOffset };
}

/** What a selection of the whole takes from one piece: nothing, or a piece of the result. */
function selectPiece(piece: Piece, selections: readonly Selection[]): Piece[] {
  const at: number[] = [];
  const steps: number[] = [];
  const own: Selection[] = [];
  for (const selection of selections) {
    if (selection.kind === "new") {
      at.push(0);
      steps.push(1);
      own.push(selection);
      continue;
    }
    const { axis } = selection;
    const begin = piece.at[axis]!;
    const stride = piece.steps?.[axis] ?? 1;
    const end = begin + (piece.view.shape[axis]! - 1) * stride;
    if (selection.kind === "pick") {
      const index = (selection.index - begin) / stride;
      if (selection.index < begin || selection.index > end || !Number.isInteger(index)) return [];
      own.push({ kind: "pick", axis, index });
    } else if (selection.kind === "range") {
      const { start, step, count } = selection;
      // The steps at which the range is inside the piece, from the first that meets an index of it to the last.
      const [near, far] = step > 0 ? [begin, end] : [end, begin];
      let first = Math.max(0, Math.ceil((near - start) / step));
      const last = Math.min(count - 1, Math.floor((far - start) / step));
      while (first <= last && (start + first * step - begin) % stride !== 0) first++;
      if (first > last) return [];
      const every = stride / commonDivisor(stride, Math.abs(step));
      at.push(first);
      steps.push(every);
      own.push({
        kind: "range",
        axis,
        start: (start + first * step - begin) / stride,
        count: Math.floor((last - first) / every) + 1,
        step: (step * every) / stride,
      });
    }
  }
  return [{ view: selectStrided(piece.view, own), at, ...(piece.steps && { steps }) }];
}

function commonDivisor(a: number, b: number): number {
  while (b > 0) [a, b] = [b, a % b];
  return a;
}
