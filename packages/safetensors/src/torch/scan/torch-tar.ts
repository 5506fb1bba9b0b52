import { classifyGlobal } from "../globals.ts";
import { PyTuple } from "../pickle/containers.ts";
import { GlobalRef, type PickleValue } from "../pickle/values.ts";
import { STORAGE_CLASSES } from "../storage.ts";
import { NumberReader } from "./number-reader.ts";
import type { Part, Scan } from "./part.ts";
import { type BytesAfter, scanPickles } from "./pickles.ts";

/** Bytes of a count. */
const COUNT_BYTES = 8;

/** Scans a member of the archives that PyTorch wrote before 0.2, whose pickles have bytes between them. */
export async function scanTarMember(scan: Scan, part: Part, name: string): Promise<void> {
  if (name === "pickle") await scanPickles(scan, part, "loaded", { numbered: true });
  else if (name === "storages")
    await scanPickles(scan, part, "loaded", { bytesAfter: storageAfter(scan, part) });
  else if (name === "tensors")
    await scanPickles(scan, part, "loaded", { bytesAfter: shapeAfter(scan, part) });
  else await scan.scanPart(scan, part);
}

/** After `(key, location, class)`: a count of 8 bytes and so many elements. */
function storageAfter(scan: Scan, part: Part): BytesAfter {
  const numbers = new NumberReader(scan, part);
  return async (_index, { value }, end) => {
    if (!(value instanceof PyTuple)) return undefined;
    const dtype = storageDtype(value.items[2]);
    const length = dtype && (await numbers.int64(end));
    return dtype && length !== undefined && length >= 0 ? COUNT_BYTES + length * dtype.bytes : undefined;
  };
}

function storageDtype(value: PickleValue | undefined): { readonly bytes: number } | undefined {
  if (!(value instanceof GlobalRef)) return undefined;
  return STORAGE_CLASSES.get(classifyGlobal(value.module, value.name).path);
}

/** After `(key, storage, class)`: the rank in 4 bytes, 4 unused ones, sizes, strides and the offset in 8 bytes each. */
function shapeAfter(scan: Scan, part: Part): BytesAfter {
  const numbers = new NumberReader(scan, part);
  return async (_index, { value }, end) => {
    if (!(value instanceof PyTuple)) return undefined;
    const rank = await numbers.int32(end);
    return rank !== undefined && rank >= 0 ? 8 + 16 * rank + 8 : undefined;
  };
}
