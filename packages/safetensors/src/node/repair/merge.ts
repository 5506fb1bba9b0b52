import type { ShardIndex } from "../../checkpoint/shard-index.ts";
import type { TensorHandle } from "../../checkpoint/tensor.ts";
import { compareTensors } from "../../compare/tensors.ts";
import { quote } from "../../errors.ts";
import type { ReadOptions } from "../../source/source.ts";
import { type Defect, type ExaminedFile, someNames } from "./examine-file.ts";

/** The tensors of several files as one checkpoint. */
export interface MergedTensors {
  /** Each tensor with the file that it comes from. */
  readonly tensors: ReadonlyMap<string, { readonly tensor: TensorHandle; readonly file: string }>;
  readonly lost: readonly string[];
  readonly repairable: readonly Defect[];
  readonly fatal: readonly Defect[];
}

/**
 * Puts the tensors of the files together. Where two files have the same one, the index decides; without its word the two
 * must have the same bytes.
 *
 * @throws what reading throws
 */
export async function mergeTensors(
  files: readonly ExaminedFile[],
  index: ShardIndex | undefined,
  options: ReadOptions,
): Promise<MergedTensors> {
  const tensors = new Map<string, { tensor: TensorHandle; file: string }>();
  const repairable: Defect[] = [];
  const fatal: Defect[] = [];
  const lost = new Set<string>();
  for (const { file, sound } of files) {
    for (const tensor of sound) {
      const { name } = tensor;
      const other = tensors.get(name);
      if (!other) {
        tensors.set(name, { tensor, file });
        continue;
      }
      const meant = [file, other.file].find((one) => one === index?.weightMap.get(name));
      const both = `tensor ${quote(name)} is in both ${quote(other.file)} and ${quote(file)}`;
      if (meant !== undefined) {
        repairable.push({ text: `${both}; the index says ${quote(meant)}` });
        if (meant === file) tensors.set(name, { tensor, file });
      } else if ((await compareTensors(other.tensor, tensor, options)).status === "identical") {
        repairable.push({ text: `${both}, with the same bytes; one is kept` });
      } else {
        fatal.push({ text: `${both}, and they differ; nothing tells which is meant` });
        lost.add(name);
      }
    }
  }
  for (const file of files) {
    for (const name of file.lost) {
      const whole = tensors.get(name);
      if (!whole || index?.weightMap.get(name) !== whole.file) lost.add(name);
    }
  }
  for (const name of lost) tensors.delete(name);
  if (index) compareIndex(index, tensors, lost, { repairable, fatal });
  return { tensors, lost: [...lost], repairable, fatal };
}

/** What the index says wrongly. Names that no file has are lost. */
function compareIndex(
  { weightMap, metadata }: ShardIndex,
  tensors: MergedTensors["tensors"],
  lost: Set<string>,
  { repairable, fatal }: { repairable: Defect[]; fatal: Defect[] },
): void {
  const unlisted: string[] = [];
  const misplaced: string[] = [];
  let size = 0;
  for (const [name, { tensor, file }] of tensors) {
    const said = weightMap.get(name);
    if (said === undefined) unlisted.push(name);
    else if (said !== file) misplaced.push(name);
    size += tensor.byteLength;
  }
  const nowhere = [...weightMap.keys()].filter((name) => !tensors.has(name) && !lost.has(name));
  if (unlisted.length > 0) repairable.push({ text: `the index lacks ${someNames(unlisted)}` });
  if (misplaced.length > 0) {
    repairable.push({ text: `the index places ${someNames(misplaced)} in the wrong file` });
  }
  if (nowhere.length > 0) {
    fatal.push({ text: `no file has ${someNames(nowhere)}, which the index names` });
    for (const name of nowhere) lost.add(name);
  }
  const said = metadata.total_size;
  if (lost.size === 0 && typeof said === "number" && said !== size) {
    repairable.push({ text: `the index says that the tensors have ${said} bytes, they have ${size}` });
  }
}
