import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import type { TensorHandle } from "../checkpoint/tensor.ts";
import { hex, sha256 } from "../manifest/sha256.ts";
import type { ReadOptions } from "../source/source.ts";
import { range } from "../view/index-items.ts";
import { genericName } from "./names.ts";

/** Elements that are read of each tensor. */
const ELEMENTS = 64;

const known = new WeakMap<Checkpoint, Promise<string>>();

/**
 * SHA-256 of a few values of each kind of tensor, by which two checkpoints of the same names and shapes, such as two that were
 * trained further from one, are told apart. Kinds are names with a star for each number; the first and the last tensor of one
 * are read, some elements in the middle of each.
 */
export function valueSample(checkpoint: Checkpoint, options?: ReadOptions): Promise<string> {
  const found = known.get(checkpoint);
  if (found) return found;
  const sample = sampleOf(checkpoint, options);
  known.set(checkpoint, sample);
  // What failed, or was aborted by one, is tried anew by the next.
  sample.catch(() => known.delete(checkpoint));
  return sample;
}

async function sampleOf(checkpoint: Checkpoint, options: ReadOptions | undefined): Promise<string> {
  const kinds = new Map<string, [first: string, last: string]>();
  for (const name of [...checkpoint.keys()].sort()) {
    const kind = kinds.get(genericName(name));
    if (kind) kind[1] = name;
    else kinds.set(genericName(name), [name, name]);
  }
  const hasher = sha256();
  for (const names of kinds.values())
    for (const name of new Set(names)) hasher.update(await middleOf(checkpoint.get(name), options));
  return hex(hasher.digest());
}

/** Bytes of some neighbours in the last dimension, in the middle of all others. */
function middleOf(tensor: TensorHandle, options: ReadOptions | undefined): Promise<Uint8Array> {
  const last = tensor.shape.length - 1;
  const items = tensor.shape.map((size, axis) => {
    const count = axis === last ? ELEMENTS : 1;
    const start = Math.max(0, Math.floor((size - count) / 2));
    return range(start, Math.min(size, start + count));
  });
  return tensor.slice(...items).bytes(options);
}
