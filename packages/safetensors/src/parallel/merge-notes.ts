import { mismatch } from "../consolidate/tile.ts";
import { quote, SafetensorsError } from "../errors.ts";
import { fromBytes } from "../source/memory.ts";
import { WHOLE } from "../view/cut.ts";
import { contiguousStrides } from "../view/view.ts";
import type { TensorInfo } from "./division.ts";
import {
  gatherRanks,
  type Holder,
  type NumberedFile,
  type RankFile,
  type RankSet,
  sizesText,
} from "./merge-files.ts";
import type { CutPart, TensorParts } from "./merge-tensor.ts";
import { Mesh } from "./mesh.ts";
import { dataOfNote, findNote, fingerprintOf, readNote, SHARE_NOTE, type ShareNote } from "./share-note.ts";

/**
 * The ranks of files that say themselves what they have.
 *
 * @throws `UNSUPPORTED` for a file that does not; `INVALID_INDEX` for one that says what makes no sense; `INDEX_MISMATCH` for
 *   ranks that are missing, or of different checkpoints
 */
export function ranksOfNotes(files: readonly RankFile[]): RankSet {
  const numbered = files.map((one): NumberedFile & { readonly note: ShareNote } => {
    const note = noteOf(one);
    return { ...one, rank: note.rank, note };
  });
  const [first, ...others] = numbered;
  if (!first) throw new SafetensorsError("NOT_FOUND", "there are no files of ranks");
  for (const other of others) checkSame(first, other);
  return gatherRanks(new Mesh(first.note.world, first.note.order), numbered);
}

/** What a file says of itself; nothing, if it does not. Throws as `readNote`. */
export function noteIn({ file, checkpoint }: RankFile): ShareNote | undefined {
  const text = checkpoint.metadata.get(SHARE_NOTE);
  try {
    return text === undefined ? undefined : readNote(text);
  } catch (error) {
    throw error instanceof SafetensorsError ? error.inFile(file) : error;
  }
}

function noteOf(one: RankFile): ShareNote {
  const note = noteIn(one);
  if (note) return note;
  const text = `${quote(one.file)} does not say what it has of its checkpoint (no ${quote(SHARE_NOTE)} in its metadata): a plan is needed, and how many ranks of which kind there are`;
  throw new SafetensorsError("UNSUPPORTED", text, { file: one.file });
}

function checkSame(
  one: { readonly file: string; readonly note: ShareNote },
  other: { readonly file: string; readonly note: ShareNote },
): void {
  const worldOf = ({ world, order }: ShareNote): string =>
    `a world of ${sizesText(world)} in the order ${order.join(", ")}`;
  const wholeOf = ({ whole: { tensors, sha256 } }: ShareNote): string =>
    `a checkpoint of ${tensors} tensors with the fingerprint ${sha256}`;
  const valuesOf = ({ whole: { values } }: ShareNote): string =>
    `a checkpoint ${values === undefined ? "whose values were not looked at" : `whose values have the digest ${values}`}`;
  for (const textOf of [worldOf, wholeOf, valuesOf]) {
    const [a, b] = [textOf(one.note), textOf(other.note)];
    if (a === b) continue;
    const text = `${quote(one.file)} is of ${a}, ${quote(other.file)} of ${b}: give the ranks of one`;
    throw new SafetensorsError("INDEX_MISMATCH", text, { file: other.file });
  }
}

/**
 * What the files of the ranks have of a tensor, as they say it.
 *
 * @throws `INDEX_MISMATCH` if they say different things of the whole tensor
 */
export function cutsOfNotes(name: string, holders: readonly Holder[]): TensorParts {
  let shape: readonly number[] | undefined;
  const parts = holders.map((holder): CutPart => {
    const { part, whole } = partOf(name, holder);
    shape ??= whole;
    if (`${shape}` !== `${whole}`) {
      const [first] = holders;
      const text = `it is a part of [${shape}] in ${quote(first!.file)}, and of [${whole}] in ${quote(holder.file)}`;
      throw mismatch(name, text);
    }
    return part;
  });
  return { shape: shape!, parts };
}

function partOf(
  name: string,
  { file, view, note }: Holder,
): { readonly part: CutPart; readonly whole: readonly number[] } {
  const found = findNote(note!, name);
  if (!found) return { part: { file, view, cut: WHOLE }, whole: view.shape };
  if (found.data === undefined) return { part: { file, view, cut: found.cut }, whole: found.shape };
  const { shape } = found;
  const source = fromBytes(dataOfNote(name, view.dtype, found), name);
  const stated = { source, dtype: view.dtype, shape, strides: contiguousStrides(shape), bitOffset: 0 };
  return { part: { file, view: stated, cut: WHOLE }, whole: shape };
}

/**
 * Checks that these are the tensors of the checkpoint that the files are parts of.
 *
 * @param readings of what the files have: without and with names that share the data of others
 * @throws `INDEX_MISMATCH`
 */
export function checkComplete(
  files: readonly RankFile[],
  readings: readonly [readonly TensorInfo[], ...(readonly TensorInfo[])[]],
): void {
  const { tensors, sha256 } = noteOf(files[0]!).whole;
  if (readings.some((infos) => fingerprintOf(infos).sha256 === sha256)) return;
  const { length } = readings[0];
  const counts = length === tensors ? `${tensors}` : `${length} of ${tensors}`;
  const text = `the files of the ranks have ${counts} tensors, and they are not those of the checkpoint that they say to be of: a file of a rank is missing, or was changed`;
  throw new SafetensorsError("INDEX_MISMATCH", text);
}
