import { MAX_SCANNED_TAR_MEMBERS } from "../limits.ts";
import { decodeLatin1 } from "../pickle/text.ts";
import { isTarHeader, octal, TAR_BLOCK_BYTES } from "../tar-header.ts";
import { CodeMembers } from "./code-members.ts";
import { type Part, type Scan, windowOf } from "./part.ts";
import { scanTarMember } from "./torch-tar.ts";

const BLOCK = TAR_BLOCK_BYTES;

/** Kinds of members whose content is that of a file: regular ones, in old and new spelling, and contiguous ones. */
const FILES = new Set(["\0", "0", "7"]);

/** Kinds that hold nothing: links, devices and folders. What stands after them, readers skip or take for members. */
const NO_FILES = new Set(["1", "2", "3", "4", "5", "6"]);

/** Kinds that hold properties of a member (PAX) or its long name (GNU). */
const PROPERTIES = new Set(["x", "g", "L", "K"]);

/** Bytes of a member's properties: honest ones hold a long name at most. */
const MAX_PROPERTIES = 1 << 20;

/** Scans each member of a tar archive (POSIX ustar, PAX, GNU). Their real names do not matter, only what is in them. */
export async function scanTar(scan: Scan, part: Part): Promise<void> {
  const { size } = part.source;
  scan.report.addScanned(part.where);
  let at = 0;
  let isTorch = false;
  let files = 0;
  const code = new CodeMembers(scan, part);
  for (let count = 0; at + BLOCK <= size; count++) {
    if (count === MAX_SCANNED_TAR_MEMBERS)
      return scan.add(part, "limit", `has more than ${count} members`, { at });
    const header = await scan.read(part, at, BLOCK);
    if (header.every((byte) => byte === 0)) return checkEnd(scan, part, at);
    const text = decodeLatin1(header);
    const length = octal(header, 124, 12);
    if (length === undefined || !isTarHeader(header))
      return scan.add(part, "malformed-file", "has a damaged header of a member", { at });
    const end = at + BLOCK + length;
    if (end > size) return scan.add(part, "malformed-file", "ends within a member", { at });
    const kind = text[156]!;
    const name = /^[^\0]*/.exec(text)![0].slice(0, 100);
    const member = windowOf(part, name, at + BLOCK, length);
    const holdsNothing = NO_FILES.has(kind) || (kind === "\0" && name.endsWith("/"));
    if (holdsNothing && length > 0) {
      scan.add(part, "ambiguous-archive", "has a link or a folder with data, which not all readers skip", {
        at,
      });
      await scan.enter(part, member);
    } else if (FILES.has(kind)) {
      code.check(name);
      isTorch ||= files === 0 && name === "sys_info";
      files++;
      if (!isTorch) await scan.enter(part, member);
      else if (scan.mayEnter(part, member)) await scanTarMember(scan, member, name);
    } else if (PROPERTIES.has(kind)) {
      code.check(await properties(scan, windowOf(part, "properties", at + BLOCK, length)));
    } else if (!holdsNothing) {
      scan.add(part, "not-understood", "has a member of an unusual kind", { at });
    }
    at = at + BLOCK + Math.ceil(length / BLOCK) * BLOCK;
  }
}

/** The text of properties, which may give a member another size, which not all readers heed, or its real name. */
async function properties(scan: Scan, part: Part): Promise<string> {
  const { size } = part.source;
  const text = decodeLatin1(await scan.read(part, 0, Math.min(size, MAX_PROPERTIES)));
  if (size > MAX_PROPERTIES || /\d (?:size|GNU\.sparse[\w.]*)=/.test(text))
    scan.add(part, "ambiguous-archive", "gives a member of the tar archive another size");
  return text;
}

/** After the first empty block there is nothing but zeros, up to the size of a tape's record. */
async function checkEnd(scan: Scan, part: Part, at: number): Promise<void> {
  const length = part.source.size - at;
  const rest = await scan.read(part, at, Math.min(length, 1 << 20));
  if (length > 1 << 20 || rest.some((byte) => byte !== 0))
    scan.add(part, "bytes-after-end", "has bytes after the end of the archive", { at });
}
