import { Checkpoint } from "../checkpoint/checkpoint.ts";
import { withoutDigests } from "../checkpoint/digest-keys.ts";
import type { TensorHandle } from "../checkpoint/tensor.ts";
import { hex } from "../manifest/sha256.ts";
import type { ReadOptions } from "../source/source.ts";
import { Division, type WorldOptions } from "./division.ts";
import { type RankTensor, rankShare } from "./share.ts";
import { type CutNote, fingerprintOf, groupNotes, SHARE_NOTE, writeNote } from "./share-note.ts";
import { valueSample } from "./value-sample.ts";

/** Which rank's share, and how the model is divided. */
export interface ShareOptions extends WorldOptions, ReadOptions {
  readonly rank: number;
  /**
   * Whether a few values are read, by which ranks of two checkpoints with the same names and shapes are told apart when they
   * are put together again. True if not given.
   */
  readonly sample?: boolean | undefined;
}

/**
 * What one rank has of a checkpoint, as a checkpoint of its own: to be read, planned, loaded or saved as any other. Its
 * tensors are views of the whole one, which has to stay open; closing it does nothing. The metadata is that of the whole one
 * without digests, and says what the rank has (see `SHARE_NOTE`), so that `mergeRanks` needs no plan.
 *
 * ```ts
 * const share = await shareCheckpoint(checkpoint, { config, world: { tp: 8 }, rank: 3 });
 * await saveCheckpoint("rank-3.safetensors", share); // or save(sink, inputs), saveStream(inputs) with
 * const inputs = Array.from(share, (tensor) => [tensor.name, tensor] as const);
 * ```
 *
 * Of the data nothing is read, but for a few values (see `sample`) and the small tensors that state the shape of a quantised
 * weight.
 *
 * @throws as `rankShare`; errors of reading
 */
export async function shareCheckpoint(whole: Checkpoint, options: ShareOptions): Promise<Checkpoint> {
  const handles = [...whole];
  const share = rankShare(options, handles);
  const { mesh } = new Division(options, handles);
  const note = {
    rank: options.rank,
    world: mesh.sizes,
    order: mesh.order,
    whole: {
      ...fingerprintOf(placedSomewhere(options, handles, share)),
      ...(options.sample !== false && { values: await valueSample(whole, options) }),
    },
    cuts: groupNotes(await notesOf(whole, share, options)),
  };
  const views = new Map(share.map(({ name, handle }) => [name, handle.view]));
  return new Checkpoint({
    format: whole.format,
    metadata: new Map([...withoutDigests(whole.metadata), [SHARE_NOTE, writeNote(note)]]),
    problems: whole.problems,
    tensors: { size: views.size, names: () => views.keys(), find: (name) => views.get(name) },
  });
}

async function notesOf(
  whole: Checkpoint,
  share: readonly RankTensor[],
  options: ReadOptions,
): Promise<Map<string, CutNote | undefined>> {
  const notes = new Map<string, CutNote | undefined>();
  for (const { name, cut, restated } of share) {
    const tensor = whole.get(name);
    const { shape } = tensor;
    const data = restated && { data: hex(await tensor.bytes(options)) };
    notes.set(name, data || cut.length > 0 ? { shape, cut, ...data } : undefined);
  }
  return notes;
}

/** The tensors that one rank at least has a part of: a pipeline may leave some out. */
function placedSomewhere(
  options: ShareOptions,
  handles: readonly TensorHandle[],
  share: readonly RankTensor[],
): TensorHandle[] {
  const placed = new Set(share.map(({ name }) => name));
  const division = new Division(options, handles);
  const { mesh } = division;
  const seen = new Set([division.placeOf(mesh.coordinatesOf(options.rank))]);
  let rest = handles.filter(({ name }) => !placed.has(name));
  for (let rank = 0; rank < mesh.size && rest.length > 0; rank++) {
    const at = mesh.coordinatesOf(rank);
    const place = division.placeOf(at);
    if (seen.has(place)) continue;
    seen.add(place);
    rest = rest.filter((handle) => division.shareOf(handle, at) === undefined);
  }
  const nowhere = new Set(rest.map(({ name }) => name));
  return handles.filter(({ name }) => !nowhere.has(name));
}
