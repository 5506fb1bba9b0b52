import { quote } from "../../errors.ts";
import { MAX_SALVAGE_BYTES, MAX_SALVAGED_MEMBERS } from "../limits.ts";
import { decodeLatin1 } from "../pickle/text.ts";
import { inflate, inflateLimit } from "./inflate.ts";
import { scanKerasConfig } from "./keras.ts";
import { type Part, type Scan, unpacked, windowOf } from "./part.ts";
import { scanPickles } from "./pickles.ts";

/** The bytes `PK` and two more. */
const SIGNATURE_BYTES = 4;
const HEADER_BYTES = 30;

/**
 * Scans what some reader may find in an archive that is refused because readers could disagree: everything that stands
 * after the signature of a local header, up to the next signature.
 */
export async function salvageZip(scan: Scan, part: Part): Promise<void> {
  const { size } = part.source;
  const bytes = await scan.read(part, 0, Math.min(size, MAX_SALVAGE_BYTES));
  if (bytes.length < size)
    scan.add(
      part,
      "limit",
      `is refused, and its members are looked for in the first ${MAX_SALVAGE_BYTES} bytes only`,
    );
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let count = 0;
  for (
    let at = nextSignature(bytes, 0, true);
    at >= 0;
    at = nextSignature(bytes, at + SIGNATURE_BYTES, true)
  ) {
    if (at + HEADER_BYTES > bytes.length) break;
    if (++count > MAX_SALVAGED_MEMBERS)
      return scan.add(
        part,
        "limit",
        `has more than ${MAX_SALVAGED_MEMBERS} members that can be found by signature`,
      );
    const nameStart = at + HEADER_BYTES;
    const start = nameStart + view.getUint16(at + 26, true) + view.getUint16(at + 28, true);
    if (start >= bytes.length) continue;
    const name = decodeLatin1(bytes.subarray(nameStart, nameStart + view.getUint16(at + 26, true)));
    const next = nextSignature(bytes, start, false);
    const end = next < 0 ? bytes.length : next;
    // Its method may be a lie as well: both readings are tried.
    await scanStored(scan, part, name, start, end);
    await scanDeflated(scan, part, name, bytes.subarray(start, end));
  }
}

/** Place of the next local header; of a central one or the end of the directory too, if not only `local`. */
function nextSignature(bytes: Uint8Array, from: number, local: boolean): number {
  for (let at = bytes.indexOf(0x50, from); at >= 0; at = bytes.indexOf(0x50, at + 1)) {
    if (bytes[at + 1] !== 0x4b) continue;
    const [third, fourth] = [bytes[at + 2], bytes[at + 3]];
    if (third === 3 && fourth === 4) return at;
    if (
      !local &&
      ((third === 1 && fourth === 2) || (third === 5 && fourth === 6) || (third === 6 && fourth === 6))
    )
      return at;
  }
  return -1;
}

/** Whether a member has the configuration of a Keras model: what is read in two ways may be so in one of them. */
function isKerasConfig(name: string): boolean {
  return name === "config.json";
}

async function scanStored(scan: Scan, part: Part, name: string, start: number, end: number): Promise<void> {
  if (!scan.spend(part, end - start)) return;
  const member = windowOf(part, name, start, end - start);
  if (isKerasConfig(name)) await scanKerasConfig(scan, member);
  const found = await scanPickles(scan, member, "data");
  if (found.isPickle)
    scan.add(part, "salvaged-member", `has a pickle where ${quote(name)} is`, { at: start });
}

async function scanDeflated(scan: Scan, part: Part, name: string, packed: Uint8Array): Promise<void> {
  const limit = Math.min(inflateLimit(packed.length), scan.remaining);
  const { bytes } = await inflate(packed, "deflate-raw", limit);
  if (bytes.length === 0 || !scan.spend(part, bytes.length)) return;
  const member = unpacked(part, name, bytes);
  if (isKerasConfig(name)) await scanKerasConfig(scan, member);
  const found = await scanPickles(scan, member, "data");
  if (found.isPickle) scan.add(part, "salvaged-member", `has a compressed pickle where ${quote(name)} is`);
}
