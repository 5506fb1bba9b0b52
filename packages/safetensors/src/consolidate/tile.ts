import { elementCount } from "../dtype/dtype.ts";
import { quote, SafetensorsError } from "../errors.ts";
import { joinPieces, type Piece, piecesOf, type TensorView } from "../view/tiling.ts";
import { boxText, findHole, findOverlap } from "./box.ts";

/** What one file has of a tensor. */
export interface FilePart {
  readonly file: string;
  readonly view: TensorView;
}

/** The same with the index in the whole tensor at which it begins. */
export interface PlacedPart extends FilePart {
  readonly at: readonly number[];
}

/** A tensor made of parts. */
export interface Tiled {
  readonly view: TensorView;
  /** Parts of which only the first is in the view: the others must have the same bytes. */
  readonly copies: readonly (readonly FilePart[])[];
}

/**
 * Puts a tensor together from parts that say where they belong. Its shape is what they reach to; parts of the same place
 * and shape count once.
 *
 * @throws `INDEX_MISMATCH` if they differ in dtype or dimensions, overlap, or leave something of the tensor out;
 *   `SIZE_OVERFLOW`
 */
export function tile(name: string, parts: readonly PlacedPart[]): Tiled {
  const { dtype, rank } = commonType(name, parts);
  const shape = fullShape(name, parts, rank);
  const groups = groupByPlace(parts.filter(({ view }) => elementCount(view.shape) > 0));
  const distinct = groups.map(([first]) => ({ ...first!, shape: first!.view.shape }));
  const overlap = findOverlap(distinct);
  if (overlap) {
    const [one, other] = overlap.map((box) => `${boxText(box)} of ${quote(box.file)}`);
    throw mismatch(name, `${one} and ${other} overlap`);
  }
  const hole = findHole(shape, distinct);
  if (hole) throw mismatch(name, `no file has ${boxText(hole)} of its shape [${shape}]`);
  const view = joinPieces(
    dtype,
    shape,
    distinct.flatMap(({ view, at }) => placedAt(view, at)),
  );
  return { view, copies: groups.filter((group) => group.length > 1) };
}

/** Checks that all parts have the same dtype and number of dimensions. */
export function commonType(
  name: string,
  parts: readonly FilePart[],
): { dtype: TensorView["dtype"]; rank: number } {
  const [first] = parts;
  const { dtype, shape } = first!.view;
  for (const { file, view } of parts) {
    if (view.dtype === dtype && view.shape.length === shape.length) continue;
    const described = `${dtype} [${shape}] in ${quote(first!.file)}, but ${view.dtype} [${view.shape}] in ${quote(file)}`;
    throw mismatch(name, `it is ${described}`);
  }
  return { dtype, rank: shape.length };
}

/** The pieces of a view as pieces of a whole in which it begins at `at`. */
export function placedAt(view: TensorView, at: readonly number[]): Piece[] {
  return piecesOf(view).map((piece) => ({ ...piece, at: piece.at.map((index, axis) => index + at[axis]!) }));
}

/** An error that says that the files do not fit together. */
export function mismatch(name: string, problem: string): SafetensorsError {
  return new SafetensorsError("INDEX_MISMATCH", `tensor ${quote(name)}: ${problem}`, { tensor: name });
}

function fullShape(name: string, parts: readonly PlacedPart[], rank: number): number[] {
  const shape = new Array<number>(rank).fill(0);
  for (const { at, view } of parts) {
    for (let axis = 0; axis < rank; axis++)
      shape[axis] = Math.max(shape[axis]!, at[axis]! + view.shape[axis]!);
  }
  if (shape.every(Number.isSafeInteger) && Number.isSafeInteger(elementCount(shape))) return shape;
  const text = `tensor ${quote(name)} would reach to [${shape}], which is more than can be counted`;
  throw new SafetensorsError("SIZE_OVERFLOW", text, { tensor: name });
}

function groupByPlace(parts: readonly PlacedPart[]): PlacedPart[][] {
  const groups = new Map<string, PlacedPart[]>();
  for (const part of parts) {
    const place = `${part.at} ${part.view.shape}`;
    const group = groups.get(place);
    if (group) group.push(part);
    else groups.set(place, [part]);
  }
  return [...groups.values()];
}
