import { classifyGlobal } from "../globals.ts";
import { PyList, PyTuple } from "../pickle/containers.ts";
import { GlobalRef, type PickleValue } from "../pickle/values.ts";
import { STORAGE_CLASSES } from "../storage.ts";
import { NumberReader } from "./number-reader.ts";
import type { Part, Scan } from "./part.ts";
import { type BytesAfter, scanPickles } from "./pickles.ts";

/** Members that PyTorch looks for, by their names alone; the first one before the others. */
export const TORCH_TAR_MEMBERS = ["storages", "tensors", "pickle"] as const;

export type TorchTarMember = (typeof TORCH_TAR_MEMBERS)[number];

/** Scans a member of the archives that PyTorch wrote before 0.2, whose pickles have bytes between them. */
export async function scanTarMember(scan: Scan, part: Part, name: TorchTarMember): Promise<void> {
  const layout = name === "pickle" ? { numbered: true } : { bytesAfter: recordsOf(scan, part, name) };
  await scanPickles(scan, part, "loaded", layout);
}

/**
 * A pickle of the number of records; for each a pickle of three items, and its bytes; after storages a pickle of the list
 * of their parts. PyTorch makes what it reads of looser things than it wrote, so that anything else is a finding.
 */
function recordsOf(scan: Scan, part: Part, name: "storages" | "tensors"): BytesAfter {
  const { size } = part.source;
  const numbers = new NumberReader(scan, part);
  const lengthAfter = name === "storages" ? storageLength : shapeLength;
  let count = 0;
  let isAsWritten = true;
  return async (index, { value }, end) => {
    if (!isAsWritten) return undefined;
    let length: number | undefined;
    if (index === 0) {
      count = typeof value === "number" ? value : -1;
      length = count >= 0 ? 0 : undefined;
    } else if (index <= count) {
      const items = value instanceof PyTuple && value.items.length === 3 ? value.items : undefined;
      length = items && (await lengthAfter(numbers, items, end));
    } else if (name === "storages" && value instanceof PyList) {
      length = 0;
    }
    const isLast = index === (name === "storages" ? count + 1 : count);
    const next = end + (length ?? Number.NaN);
    // What follows the last one breaks the rules when its turn comes.
    isAsWritten = isLast ? next <= size : next < size;
    if (!isAsWritten)
      scan.add(part, "malformed-file", `is not laid out as PyTorch wrote its ${name}`, { at: end });
    return next <= size ? length : undefined;
  };
}

/** After `(key, location, class)`: a count of 8 bytes and so many elements. */
async function storageLength(
  numbers: NumberReader,
  [, , storageClass]: readonly PickleValue[],
  at: number,
): Promise<number | undefined> {
  if (!(storageClass instanceof GlobalRef)) return undefined;
  const dtype = STORAGE_CLASSES.get(classifyGlobal(storageClass.module, storageClass.name).path);
  const length = await numbers.int64(at);
  return dtype && length !== undefined && length >= 0 ? 8 + length * dtype.bytes : undefined;
}

/** After `(key, storage, class)`: the rank in 4 bytes, 4 unused ones, sizes, strides and the offset in 8 bytes each. */
async function shapeLength(
  numbers: NumberReader,
  _items: readonly PickleValue[],
  at: number,
): Promise<number | undefined> {
  const rank = await numbers.int32(at);
  return rank !== undefined && rank >= 0 ? 8 + 16 * rank + 8 : undefined;
}
