import { SafetensorsError } from "../errors.ts";
import { fromBytes } from "../source/memory.ts";
import type { ByteSource } from "../source/source.ts";
import { COUNT_BYTES, countAt, readCounts } from "./counts.ts";
import type { OpenTools, StoragePlace, TorchFile } from "./file.ts";
import { LEGACY_PICKLES, type LegacyPickles, runLegacyPickles } from "./legacy-pickles.ts";
import type { PickleResult } from "./pickle/machine.ts";
import { readPickles } from "./stacked.ts";
import { finish, steadily } from "./steps.ts";
import type { StorageNode } from "./storage.ts";

/**
 * Opens a file as PyTorch wrote it before 1.6, and still does if told to: five pickles one after the other, then of each
 * storage the number of its elements in eight bytes and its data, little-endian on all machines. Of the storages only
 * the numbers are read.
 *
 * @throws `INVALID_PICKLE`, `INVALID_ARCHIVE` if the storages are not those of the pickle, or do not fill the file
 */
export async function openLegacy(source: ByteSource, tools: OpenTools): Promise<TorchFile> {
  const bytes = await readPickles(source, 0, source.size, LEGACY_PICKLES, tools);
  const pickles = await steadily(runLegacyPickles(bytes, tools), tools.signal);
  const offsets = countOffsets(pickles, source.size);
  checkCounts(pickles.storages, offsets, await readCounts(source, offsets, tools));
  const places = placesIn(source, pickles, offsets);
  return {
    container: "legacy",
    root: "",
    pickle: pickles.object,
    placeOf: (storage) => places.get(storage)!,
  };
}

/** What a legacy file in memory holds, and where its storages are. */
export function readLegacyBytes(
  bytes: Uint8Array,
  tools: Pick<OpenTools, "loadBytes">,
): { readonly pickle: PickleResult; readonly places: ReadonlyMap<StorageNode, StoragePlace> } {
  const pickles = finish(runLegacyPickles(bytes, tools));
  const offsets = countOffsets(pickles, bytes.length);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  checkCounts(
    pickles.storages,
    offsets,
    offsets.map((offset) => countAt(view, offset)),
  );
  return { pickle: pickles.object, places: placesIn(fromBytes(bytes, "the pickle"), pickles, offsets) };
}

/** Where the number of elements of each storage stands; they and the data must fill the file. */
function countOffsets({ storages, end }: LegacyPickles, size: number): Float64Array {
  const offsets = new Float64Array(storages.length);
  let at = end;
  for (const [index, storage] of storages.entries()) {
    offsets[index] = at;
    at += COUNT_BYTES + storage.byteLength;
  }
  if (at === size) return offsets;
  throw invalid(
    `the storages of the pickle end at byte ${at}, the file has ${size} bytes`,
    Math.min(at, size),
  );
}

function checkCounts(storages: readonly StorageNode[], offsets: Float64Array, counts: Float64Array): void {
  for (const [index, { key, length }] of storages.entries()) {
    if (counts[index] === length) continue;
    throw invalid(
      `storage ${key} has ${counts[index]} elements in the file, the pickle says ${length}`,
      offsets[index]!,
    );
  }
}

function placesIn(
  source: ByteSource,
  { storages, views }: LegacyPickles,
  offsets: Float64Array,
): Map<StorageNode, StoragePlace> {
  const places = new Map<StorageNode, StoragePlace>();
  for (const [index, storage] of storages.entries()) {
    places.set(storage, { source, offset: offsets[index]! + COUNT_BYTES });
  }
  for (const { storage, root, byteOffset } of views) {
    places.set(storage, { source, offset: places.get(root)!.offset + byteOffset });
  }
  return places;
}

function invalid(reason: string, at: number): SafetensorsError {
  return new SafetensorsError("INVALID_ARCHIVE", reason, { at });
}
