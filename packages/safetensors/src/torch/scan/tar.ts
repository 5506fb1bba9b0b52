import { MAX_SCANNED_TAR_MEMBERS } from "../limits.ts";
import { decodeLatin1 } from "../pickle/text.ts";
import { type Part, type Scan, windowOf } from "./part.ts";
import { scanTarMember } from "./torch-tar.ts";

const BLOCK = 512;

/** Kinds of members whose content is that of a file: regular ones, in old and new spelling, and contiguous ones. */
const FILES = new Set(["\0", "0", "7"]);

/** Kinds that hold names or nothing: links, devices, folders, and the long names of GNU. */
const NO_FILES = new Set(["1", "2", "3", "4", "5", "6", "L", "K"]);

/** Bytes of a member's properties: honest ones hold a long name at most. */
const MAX_PROPERTIES = 1 << 20;

/** Scans each member of a tar archive (POSIX ustar, PAX, GNU). Their real names do not matter, only what is in them. */
export async function scanTar(scan: Scan, part: Part): Promise<void> {
  const { size } = part.source;
  scan.report.addScanned(part.where);
  let at = 0;
  let isTorch = false;
  let files = 0;
  for (let count = 0; at + BLOCK <= size; count++) {
    if (count === MAX_SCANNED_TAR_MEMBERS)
      return scan.add(part, "limit", `has more than ${count} members`, { at });
    const header = await scan.read(part, at, BLOCK);
    if (header.every((byte) => byte === 0)) return checkEnd(scan, part, at);
    const text = decodeLatin1(header);
    const length = octal(text.slice(124, 136));
    if (length === undefined || checksum(header) !== octal(text.slice(148, 156)))
      return scan.add(part, "malformed-file", "has a damaged header of a member", { at });
    const end = at + BLOCK + length;
    if (end > size) return scan.add(part, "malformed-file", "ends within a member", { at });
    const kind = text[156]!;
    if (FILES.has(kind)) {
      const name = /^[^\0]*/.exec(text)![0].slice(0, 100);
      const member = windowOf(part, name, at + BLOCK, length);
      isTorch ||= files === 0 && name === "sys_info";
      files++;
      if (!isTorch) await scan.enter(part, member);
      else if (scan.mayEnter(part, member)) await scanTarMember(scan, member, name);
    } else if (kind === "x" || kind === "g") {
      await checkProperties(scan, windowOf(part, "properties", at + BLOCK, length));
    } else if (!NO_FILES.has(kind)) {
      scan.add(part, "not-understood", "has a member of an unusual kind", { at });
    }
    at = at + BLOCK + Math.ceil(length / BLOCK) * BLOCK;
  }
}

/** Properties (PAX) may give a member another size, which not all readers heed. */
async function checkProperties(scan: Scan, part: Part): Promise<void> {
  const { size } = part.source;
  const text = decodeLatin1(await scan.read(part, 0, Math.min(size, MAX_PROPERTIES)));
  if (size > MAX_PROPERTIES || /(?:^|\n)\d+ (?:size|GNU\.sparse[\w.]*)=/.test(text))
    scan.add(part, "ambiguous-archive", "gives a member of the tar archive another size");
}

/** After the first empty block there is nothing but zeros, up to the size of a tape's record. */
async function checkEnd(scan: Scan, part: Part, at: number): Promise<void> {
  const length = part.source.size - at;
  const rest = await scan.read(part, at, Math.min(length, 1 << 20));
  if (length > 1 << 20 || rest.some((byte) => byte !== 0))
    scan.add(part, "bytes-after-end", "has bytes after the end of the archive", { at });
}

function octal(field: string): number | undefined {
  const digits = /^ *([0-7]+)[ \0]*$/.exec(field)?.[1];
  return digits === undefined ? undefined : Number.parseInt(digits, 8);
}

/** The sum of the header's bytes, its own field taken as blanks. */
function checksum(header: Uint8Array): number {
  let sum = 8 * 0x20;
  for (const [index, byte] of header.entries()) if (index < 148 || index >= 156) sum += byte;
  return sum;
}
