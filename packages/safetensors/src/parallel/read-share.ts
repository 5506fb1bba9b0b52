import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { type LoadedTensor, type ReadTensorsOptions, readHandles } from "../checkpoint/read-tensors.ts";
import { chooseNames } from "../checkpoint/select.ts";
import type { WorldOptions } from "./division.ts";
import { rankShare } from "./share.ts";

/** Options of `readShare`: which rank's share, how the model is divided, and how it is read. */
export interface ReadShareOptions extends WorldOptions, Omit<ReadTensorsOptions, "order" | "slices"> {
  readonly rank: number;
}

/**
 * Reads what one rank has of a checkpoint, tensor by tensor, without writing a file: with few large reads, several at a
 * time, inside a memory budget, as `Checkpoint.read`. `names` chooses among the tensors of the rank.
 *
 * ```ts
 * for await (const { name, bytes } of readShare(checkpoint, { config, world: { tp: 8 }, rank: 3, borrowed: true }))
 *   upload(name, bytes);
 * ```
 *
 * @throws as `rankShare`; as `Checkpoint.read`
 */
export async function* readShare(
  whole: Checkpoint,
  options: ReadShareOptions,
): AsyncGenerator<LoadedTensor, void, undefined> {
  // Both have an order: here it is that of the ranks.
  const { names, order: _, ...reading } = options;
  const chosen = new Set(chooseNames(whole, names));
  const share = rankShare(options, whole).filter(({ name }) => chosen.has(name));
  yield* readHandles(
    share.map(({ handle }) => handle),
    reading,
  );
}
