import { DTYPES } from "../dtype/dtype.ts";
import { SafetensorsError } from "../errors.ts";
import { completeShape } from "./rearrange.ts";
import { joinPieces, type Piece, piecesOf, type TensorView } from "./tiling.ts";

/** Most pieces that one reshape may cut a tensor into, about 200 bytes of memory each. */
export const MAX_PIECES: number = 2 ** 20;

/** Indices of a piece along one axis: how they lie in the source, and where in the whole. All in elements. */
interface Run {
  /** From the piece's index zero to the first element of the run, in the source. */
  readonly offset: number;
  readonly size: number;
  readonly stride: number;
  readonly at: number;
  readonly step: number;
}

/** A run along each axis of the result; their offsets add up. */
type Box = readonly Run[];

/** Axes that hold the same elements before and after, and no fewer do. */
interface AxisGroup {
  readonly from: readonly [start: number, end: number];
  readonly to: readonly [start: number, end: number];
}

/**
 * The same elements in another shape, as `reshapeView`, but also where they lie so that one view cannot say it: they
 * then come in pieces, of which the longest runs are kept whole. One dimension may be -1: what is left.
 *
 * @throws `INVALID_SLICE` for another number of elements; `LIMIT_EXCEEDED` for more than `MAX_PIECES`
 */
export function reshapeInPieces(view: TensorView, shape: readonly number[]): TensorView {
  const target = completeShape(view.shape, shape);
  if (view.shape.includes(0)) {
    if ("pieces" in view) return { ...view, shape: target, pieces: [] };
    return { ...view, shape: target, strides: target.map(() => 0) };
  }
  const groups = groupAxes(view.shape, target);
  const pieces: Piece[] = [];
  for (const piece of piecesOf(view)) {
    const boxes = groups.map((group) => boxesOf(piece, group, view.shape, target));
    const count = boxes.reduce((product, { length }) => product * length, 1);
    if (pieces.length + count > MAX_PIECES) throw tooManyPieces();
    for (const box of combinations(boxes)) pieces.push(pieceOf(piece, box));
  }
  return joinPieces(view.dtype, target, pieces);
}

/** The smallest groups of neighbouring axes that hold equally many elements in both shapes. */
function groupAxes(from: readonly number[], to: readonly number[]): AxisGroup[] {
  const groups: AxisGroup[] = [];
  let [i, j] = [0, 0];
  while (i < from.length || j < to.length) {
    const [fromStart, toStart] = [i, j];
    let [before, after] = [1, 1];
    do {
      if (before <= after && i < from.length) before *= from[i++]!;
      else after *= to[j++]!;
    } while (before !== after);
    groups.push({ from: [fromStart, i], to: [toStart, j] });
  }
  return groups;
}

/** What a piece has in a group of axes, as boxes of the new axes of the group. */
function boxesOf(piece: Piece, group: AxisGroup, from: readonly number[], to: readonly number[]): Box[] {
  const runs = flatten(piece, group.from, from);
  return runs.flatMap((run) => unflatten(run, to.slice(...group.to)));
}

/** The elements of a piece along some axes, as runs along one axis that has the indices of all of them. */
function flatten(
  { view, at, steps }: Piece,
  [start, end]: readonly [number, number],
  whole: readonly number[],
): Run[] {
  const axes: Run[] = [];
  let place = 0;
  let inner = 1;
  for (let axis = end - 1; axis >= start; axis--) {
    place += at[axis]! * inner;
    const size = view.shape[axis]!;
    const stride = view.strides[axis]!;
    const step = (steps?.[axis] ?? 1) * inner;
    inner *= whole[axis]!;
    if (size === 1) continue;
    const last = axes.at(-1);
    // Two axes that continue each other on both sides are one.
    if (last && stride === last.size * last.stride && step === last.size * last.step) {
      axes[axes.length - 1] = { ...last, size: size * last.size };
    } else {
      axes.push({ offset: 0, size, stride, at: 0, step });
    }
  }
  if (axes.length === 0) return [{ offset: 0, size: 1, stride: 0, at: place, step: 1 }];
  // The longest stays a run; of the others each index gives one.
  const kept = axes.reduce((longest, axis) => (axis.size > longest.size ? axis : longest));
  let runs: Run[] = [{ ...kept, at: place }];
  for (const axis of axes) {
    if (axis === kept) continue;
    if (runs.length * axis.size > MAX_PIECES) throw tooManyPieces();
    runs = runs.flatMap((run) =>
      Array.from({ length: axis.size }, (_, i) => {
        return { ...run, offset: run.offset + i * axis.stride, at: run.at + i * axis.step };
      }),
    );
  }
  return runs;
}

/** A run along one axis as boxes of the axes that it becomes. */
function unflatten(run: Run, sizes: readonly number[]): Box[] {
  if (sizes.length === 0) return [[]];
  let boxes: (readonly [done: Box, rest: Run])[] = [[[], run]];
  let inner = sizes.reduce((product, size) => product * size, 1);
  for (const size of sizes.slice(0, -1)) {
    inner /= size;
    boxes = boxes.flatMap(([done, rest]) =>
      rowsOf(rest, inner).map(([outer, within]) => [[...done, outer], within] as const),
    );
  }
  return boxes.map(([done, rest]) => [...done, rest]);
}

/** A run as rows of `inner` indices: the run of the rows, and the one within each. */
function rowsOf(run: Run, inner: number): (readonly [rows: Run, within: Run])[] {
  const { offset, size, stride, at, step } = run;
  const row = Math.floor(at / inner);
  const within = at % inner;
  const none = { offset: 0, size: 1, stride: 0, step: 1 };
  if (within + (size - 1) * step < inner)
    return [
      [
        { ...none, at: row },
        { ...run, at: within },
      ],
    ];
  if (step % inner === 0) {
    return [
      [
        { ...run, at: row, step: step / inner },
        { ...none, at: within },
      ],
    ];
  }
  if (inner % step !== 0) {
    if (size > MAX_PIECES) throw tooManyPieces();
    return Array.from({ length: size }, (_, i) => {
      const [from, to] = [offset + i * stride, at + i * step];
      return [
        { ...none, at: Math.floor(to / inner) },
        { ...none, offset: from, at: to % inner },
      ] as const;
    });
  }
  const inRow = inner / step;
  if (within < step && size % inRow === 0) {
    const rows = { ...run, at: row, size: size / inRow, stride: stride * inRow, step: 1 };
    return [[rows, { offset: 0, size: inRow, stride, at: within, step }]];
  }
  // The end of a row, whole rows, and the begin of a row.
  const head = within < step ? 0 : Math.ceil((inner - within) / step);
  const body = size - head - ((size - head) % inRow);
  const cuts = [0, head, head + body, size];
  return cuts.slice(1).flatMap((end, i) => {
    const begin = cuts[i]!;
    if (begin === end) return [];
    const part = { ...run, offset: offset + begin * stride, size: end - begin, at: at + begin * step };
    return rowsOf(part, inner);
  });
}

/** One box out of each list, in every way there is. */
function* combinations(lists: readonly (readonly Box[])[]): Generator<Box, void, undefined> {
  const index = lists.map(() => 0);
  for (;;) {
    yield lists.flatMap((list, i) => list[index[i]!]!);
    let last = lists.length - 1;
    while (last >= 0 && ++index[last]! === lists[last]!.length) index[last--] = 0;
    if (last < 0) return;
  }
}

function pieceOf({ view }: Piece, box: Box): Piece {
  const offset = box.reduce((sum, run) => sum + run.offset, 0);
  const bitOffset = view.bitOffset + offset * DTYPES[view.dtype].bits;
  const shape = box.map(({ size }) => size);
  const strides = box.map(({ stride }) => stride);
  const at = box.map((run) => run.at);
  const isStepped = box.some(({ size, step }) => size > 1 && step !== 1);
  const steps = isStepped ? { steps: box.map(({ step }) => step) } : {};
  return { view: { ...view, shape, strides, bitOffset }, at, ...steps };
}

function tooManyPieces(): SafetensorsError {
  const text = `a tensor would be cut into more than ${MAX_PIECES} pieces to get another shape`;
  return new SafetensorsError("LIMIT_EXCEEDED", text, { limit: "MAX_PIECES" });
}
