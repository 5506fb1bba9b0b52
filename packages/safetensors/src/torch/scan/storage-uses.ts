import type { PickleValue } from "../pickle/values.ts";
import { textOf } from "../python-bytes.ts";
import type { TorchDtype } from "../storage.ts";

/** A storage that a pickle refers to. */
export interface StorageUse {
  readonly dtype: TorchDtype;
  /** Number of elements. */
  readonly length: number;
}

/** The storages that a pickle refers to. */
export class StorageUses {
  readonly byKey: Map<string, StorageUse> = new Map();

  /**
   * Takes the parts of a persistent id, `("storage", class, key, location, length, …)`. False if the storage was
   * described in another way before, nothing if it is none.
   */
  take(parts: readonly PickleValue[], dtype: TorchDtype): boolean | undefined {
    const key = keyOf(parts[2]);
    const length = parts[4];
    const isStorage =
      (parts.length === 5 || parts.length === 6) &&
      textOf(parts[0]) === "storage" &&
      key !== undefined &&
      isStorageKey(key) &&
      typeof length === "number" &&
      length >= 0 &&
      Number.isSafeInteger(length * dtype.bytes);
    if (!isStorage) return undefined;
    const known = this.byKey.get(key);
    if (!known) this.byKey.set(key, { dtype, length });
    return !known || (known.dtype === dtype && known.length === length);
  }
}

/** A number of up to 20 digits. Without a pattern, whose call costs much where there are many storages. */
function isStorageKey(text: string): boolean {
  if (text.length < 1 || text.length > 20) return false;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code < 0x30 || code > 0x39) return false;
  }
  return true;
}

/** The key of a storage: text, a number in the oldest files. */
export function keyOf(value: PickleValue | undefined): string | undefined {
  return typeof value === "number" ? String(value) : textOf(value);
}
