import { DTYPES, elementCount } from "../dtype/dtype.ts";
import type { ReadOptions } from "../source/source.ts";
import { range } from "../view/index-items.ts";
import { sliceView } from "../view/slice.ts";
import type { TensorView } from "../view/tiling.ts";
import { byteLength } from "../view/view.ts";
import { BufferPool } from "./buffer-pool.ts";
import { type ExecuteOptions, executePlan } from "./execute.ts";
import { planReads } from "./plan.ts";

/**
 * Bytes of output made at once by `gatherChunks`. Each block of output may have to read a little of every row, so that
 * small blocks would read very many small pieces.
 */
const BLOCK_BYTES = 32 << 20;

/** Memory for the reads of a block: four in flight. */
const READ_BYTES = 20 << 20;

/** Fills `target`, which has the tensor's size, with the elements of a tensor that lie anywhere. */
export async function gatherInto(
  view: TensorView,
  target: Uint8Array,
  options?: ExecuteOptions,
): Promise<void> {
  // The plan has one tensor, and all it brings goes into `target`.
  for await (const _ of executePlan(planReads([view]), { ...options, targetOf: () => target }));
}

/** The packed bytes of such a tensor in pieces that fit `buffer`, each valid until the next one is asked for. */
export async function* gatherChunks(
  view: TensorView,
  buffer: Uint8Array,
  options?: ReadOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  const pool = new BufferPool(READ_BYTES);
  let memory = buffer;
  for (const block of blocksOf(view, Math.max(BLOCK_BYTES, buffer.length))) {
    const size = byteLength(block);
    if (memory.length < size) memory = new Uint8Array(size);
    await gatherInto(block, memory.subarray(0, size), { ...options, pool });
    for (let at = 0; at < size; at += buffer.length) {
      yield memory.subarray(at, Math.min(at + buffer.length, size));
    }
  }
}

/** Cuts a tensor along its leading axes into views of at most `most` bytes where that can be done, in output order. */
function* blocksOf(view: TensorView, most: number): Generator<TensorView, void, undefined> {
  const halves = byteLength(view) > most ? halvesOf(view) : [];
  if (halves.length === 0) yield view;
  for (const half of halves) yield* blocksOf(half, most);
}

/** Two parts of a tensor of which the first ends on a whole byte; nothing where there are no such. */
function halvesOf(view: TensorView): TensorView[] {
  const axis = view.shape.findIndex((length) => length > 1);
  const rowBits = elementCount(view.shape.slice(axis + 1)) * DTYPES[view.dtype].bits;
  const rows = [1, 2, 4, 8].find((count) => (count * rowBits) % 8 === 0)!;
  const half = Math.ceil(view.shape[axis]! / 2);
  const middle = half - (half % rows);
  if (middle === 0) return [];
  const before = view.shape.slice(0, axis).map(() => null);
  return [range(0, middle), range(middle)].map((part) => sliceView(view, [...before, part]));
}
