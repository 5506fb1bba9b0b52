import { elementCount } from "../dtype/dtype.ts";
import { type AxisCut, type Cut, cutShape, rangeLength } from "../view/cut.ts";
import { sliceView } from "../view/slice.ts";
import { joinPieces, type Piece, piecesOf, type TensorView } from "../view/tiling.ts";
import { problem } from "./problem.ts";

/** What one rank has of a tensor. */
export interface Shard {
  readonly view: TensorView;
  readonly cut: Cut;
}

/** Most blocks that the shards of one tensor may consist of: a thousand ranks with q, k and v. */
const MAX_BLOCKS = 4096;

/**
 * The tensor that was cut: the inverse of `cutView`, over all ranks. Of what several ranks have, the first one's is
 * taken (that they are the same bytes is for the caller to know or to compare); padding is left out.
 *
 * @param shape shape of the whole tensor
 * @throws `INVALID_SLICE` if the shards do not have the shapes of their cuts, overlap, or leave something out
 */
export function joinShards(shape: readonly number[], shards: readonly Shard[]): TensorView {
  const [first] = shards;
  if (!first) throw problem("there are no shards to join");
  const blocks = new Map<string, Block>();
  for (const { view, cut } of shards) {
    const expected = cutShape(shape, cut);
    if (view.dtype !== first.view.dtype || `${view.shape}` !== `${expected}`) {
      const text = `a shard is ${view.dtype} [${view.shape}], not ${first.view.dtype} [${expected}]`;
      throw problem(text);
    }
    for (const block of blocksOf(shape, { view, cut })) {
      const place = `${block.at}/${block.steps}/${block.view.shape}`;
      if (!blocks.has(place)) blocks.set(place, block);
      if (blocks.size > MAX_BLOCKS) throw problem(`the shards consist of more than ${MAX_BLOCKS} blocks`);
    }
  }
  const distinct = [...blocks.values()].filter(({ view }) => elementCount(view.shape) > 0);
  checkCovered(shape, distinct);
  return joinPieces(first.view.dtype, shape, distinct.flatMap(piecesInWhole));
}

/** A part of a shard, every so many indices along each axis of the whole. */
export interface Block {
  readonly view: TensorView;
  readonly at: readonly number[];
  readonly steps: readonly number[];
}

/** A shard in parts that are one range along each axis. */
export function blocksOf(shape: readonly number[], { view, cut }: Shard): Block[] {
  let blocks: Block[] = [{ view, at: shape.map(() => 0), steps: shape.map(() => 1) }];
  for (const axisCut of cut) blocks = blocks.flatMap((block) => along(block, axisCut));
  return blocks;
}

function along({ view, at, steps }: Block, { axis, ranges }: AxisCut): Block[] {
  const before = at.slice(0, axis).map(() => null);
  let start = 0;
  return ranges.map((range) => {
    const stop = start + rangeLength(range);
    const part = sliceView(view, [...before, { start, stop }]);
    start = stop;
    return { view: part, at: at.with(axis, range.start), steps: steps.with(axis, range.step ?? 1) };
  });
}

function piecesInWhole({ view, at, steps }: Block): Piece[] {
  const isDense = steps.every((step) => step === 1);
  return piecesOf(view).map((piece) => ({
    view: piece.view,
    at: piece.at.map((index, axis) => at[axis]! + index * steps[axis]!),
    ...(!(isDense && !piece.steps) && {
      steps: steps.map((step, axis) => step * (piece.steps?.[axis] ?? 1)),
    }),
  }));
}

/** Blocks that do not overlap, and have as many elements as the whole, cover it. */
function checkCovered(shape: readonly number[], blocks: readonly Block[]): void {
  for (const [index, block] of blocks.entries()) {
    const other = blocks.slice(0, index).find((other) => shape.every((_, axis) => meet(block, other, axis)));
    if (other) throw problem(`shards that begin at [${other.at}] and [${block.at}] overlap`);
  }
  const count = blocks.reduce((sum, { view }) => sum + elementCount(view.shape), 0);
  const missing = elementCount(shape) - count;
  if (missing !== 0) throw problem(`${missing} elements of a tensor of shape [${shape}] are in no shard`);
}

/** Whether two blocks have an index of an axis in common. */
function meet(a: Block, b: Block, axis: number): boolean {
  const end = (block: Block): number => block.at[axis]! + (block.view.shape[axis]! - 1) * block.steps[axis]!;
  if (end(a) < b.at[axis]! || end(b) < a.at[axis]!) return false;
  const step = a.steps[axis]!;
  return step !== b.steps[axis] || (a.at[axis]! - b.at[axis]!) % step === 0;
}
