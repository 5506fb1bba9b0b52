import { MAX_HDF5_SEARCH_BYTES } from "../limits.ts";
import { decodeLatin1 } from "../pickle/text.ts";
import { draftsOfText } from "./keras.ts";
import type { Part, Scan } from "./part.ts";

/** The signature of an HDF5 file. */
const SIGNATURE = [0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a];

/** The first place of the signature behind a user block, whose size is doubled from there on (HDF5 format, II.A). */
const FIRST_BLOCK = 512;

/** Whether HDF5 begins behind a block of something else: of each power of two, some bytes are read, all at once. */
export async function hasHdf5Inside(scan: Scan, part: Part, head: Uint8Array): Promise<boolean> {
  const places: (Uint8Array | Promise<Uint8Array>)[] = [];
  for (let at = FIRST_BLOCK; at + SIGNATURE.length <= part.source.size; at *= 2) {
    const end = at + SIGNATURE.length;
    places.push(end <= head.length ? head.subarray(at, end) : scan.read(part, at, SIGNATURE.length));
  }
  const found = await Promise.all(places);
  return found.some((bytes) => SIGNATURE.every((byte, index) => bytes[index] === byte));
}

/**
 * Looks for what loading may run in an HDF5 file, whose model configuration is JSON text in the attribute `model_config`. Such
 * files are not understood, but for the weights in a `.keras` archive: of these nothing is loaded but arrays.
 */
export async function scanHdf5(scan: Scan, part: Part): Promise<void> {
  const { size } = part.source;
  const text = decodeLatin1(await scan.read(part, 0, Math.min(size, MAX_HDF5_SEARCH_BYTES)));
  for (const draft of draftsOfText(text)) scan.add(part, ...draft);
  if (part.isKerasWeights && !text.includes("model_config")) return scan.report.addScanned(part.where);
  scan.add(
    part,
    "not-understood",
    "is an HDF5 file, in which only Lambda layers and harmful modules are looked for",
  );
}
