import { MAX_HDF5_SEARCH_BYTES } from "../limits.ts";
import { decodeLatin1 } from "../pickle/text.ts";
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
 * Looks for a Lambda layer in an HDF5 file, whose model configuration is JSON text in the attribute `model_config`. Such
 * files are not understood, but for the weights in a `.keras` archive: of these nothing is loaded but arrays.
 */
export async function scanHdf5(scan: Scan, part: Part): Promise<void> {
  const { size } = part.source;
  const text = decodeLatin1(await scan.read(part, 0, Math.min(size, MAX_HDF5_SEARCH_BYTES)));
  const lambda = text.search(/"class_name":\s*"Lambda"/);
  if (lambda >= 0) {
    const code = /"class_name":\s*"(?:__lambda__)"|"function_type":\s*"lambda"/.test(text);
    if (code)
      scan.add(part, "keras-lambda", "holds the Python bytecode of a function, which loading may run", {
        at: lambda,
      });
    else
      scan.add(part, "keras-custom", "has a Lambda layer, which runs a function of its own", { at: lambda });
  }
  if (part.isKerasWeights && !text.includes("model_config")) return scan.report.addScanned(part.where);
  scan.add(part, "not-understood", "is an HDF5 file, in which only Lambda layers are looked for");
}
