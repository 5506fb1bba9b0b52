import { PyList } from "../pickle/containers.ts";
import { NumberReader } from "./number-reader.ts";
import type { Part, Scan } from "./part.ts";
import type { BytesAfter } from "./pickles.ts";
import { keyOf, type StorageUse } from "./storage-uses.ts";

/** The first pickle of the files that torch.save wrote before PyTorch 1.6. */
export const LEGACY_MAGIC = 0x1950a86a20f9469cfc6cn;

const COUNT_BYTES = 8;

/**
 * The storages after the fifth pickle of a legacy file: of each key in the list, a count of 8 bytes and so many elements.
 * They are taken out of those that were `used`, and nothing may follow them.
 */
export function legacyStorages(scan: Scan, part: Part, used: () => Map<string, StorageUse>): BytesAfter {
  const { size } = part.source;
  return async (index, { value }, end) => {
    if (index < 4) {
      if (end >= size) scan.add(part, "malformed-file", "ends before its storages", { at: end });
      return undefined;
    }
    const storages = used();
    const length = value instanceof PyList && (await storagesLength(scan, part, end, value, storages));
    if (length === false || length === undefined) {
      scan.add(part, "storage-size", "has other storages than its pickle says", { at: end });
      return size - end;
    }
    storages.clear();
    if (end + length < size)
      scan.add(part, "bytes-after-end", `has ${size - end - length} bytes after its storages`, {
        at: end + length,
      });
    return size - end;
  };
}

async function storagesLength(
  scan: Scan,
  part: Part,
  start: number,
  keys: PyList,
  storages: ReadonlyMap<string, StorageUse>,
): Promise<number | undefined> {
  const numbers = new NumberReader(scan, part);
  const seen = new Set<string>();
  let at = start;
  for (const item of keys.items) {
    const key = keyOf(item) ?? "";
    const use = storages.get(key);
    if (!use || seen.has(key) || (await numbers.int64(at)) !== use.length) return undefined;
    seen.add(key);
    at += COUNT_BYTES + use.length * use.dtype.bytes;
  }
  return seen.size === storages.size && at <= part.source.size ? at - start : undefined;
}
