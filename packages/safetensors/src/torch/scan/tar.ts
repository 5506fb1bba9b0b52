import { MAX_SCANNED_TAR_MEMBERS } from "../limits.ts";
import { decodeLatin1 } from "../pickle/text.ts";
import { tarMembers } from "../tar.ts";
import { isTarHeader, octal, properties, TAR_BLOCK_BYTES } from "../tar-header.ts";
import { CodeMembers } from "./code-members.ts";
import type { FindingCode } from "./finding.ts";
import { draftOf, type Part, type Scan, windowOf } from "./part.ts";
import { scanTarMember, TORCH_TAR_MEMBERS, type TorchTarMember } from "./torch-tar.ts";

const BLOCK = TAR_BLOCK_BYTES;

/** Kinds of members whose content is that of a file: regular ones, in old and new spelling, and contiguous ones. */
const FILES = new Set(["\0", "0", "7"]);

/** Kinds that hold nothing: links, devices and folders. What stands after them, readers skip or take for members. */
const NO_FILES = new Set(["1", "2", "3", "4", "5", "6"]);

/** Kinds that hold properties of a member, or of all (PAX). */
const PROPERTIES = new Set(["x", "g"]);

/** Kinds that hold a member's long name, or that of a link's target (GNU). */
const LONG_NAMES = new Set(["L", "K"]);

/** Bytes of a member's properties: honest ones hold a long name at most. */
const MAX_PROPERTIES = 1 << 20;

/** Scans each member of a tar archive (POSIX ustar, PAX, GNU). */
export async function scanTar(scan: Scan, part: Part): Promise<void> {
  scan.report.addScanned(part.where);
  await new TarScan(scan, part).run();
}

class TarScan {
  readonly #scan: Scan;
  readonly #part: Part;
  readonly #code: CodeMembers;
  /** Files with PyTorch's names, which are read in another way if the archive is one of PyTorch. */
  readonly #named: [name: TorchTarMember, file: Part][] = [];
  #isTorch = false;

  constructor(scan: Scan, part: Part) {
    this.#scan = scan;
    this.#part = part;
    this.#code = new CodeMembers(scan, part);
  }

  async run(): Promise<void> {
    await this.#scanMembers();
    for (const [name, file] of this.#named) {
      if (!this.#isTorch) await this.#scan.enter(this.#part, file);
      else if (this.#scan.mayEnter(this.#part, file)) await scanTarMember(this.#scan, file, name);
    }
    if (this.#isTorch) await this.#checkTorchMembers();
  }

  async #scanMembers(): Promise<void> {
    const { size } = this.#part.source;
    let at = 0;
    for (let count = 0; at + BLOCK <= size; count++) {
      if (count === MAX_SCANNED_TAR_MEMBERS) return this.#add("limit", `has more than ${count} members`, at);
      const header = await this.#scan.read(this.#part, at, BLOCK);
      if (header.every((byte) => byte === 0)) break;
      const length = octal(header, 124, 12);
      if (length === undefined || !isTarHeader(header))
        return this.#add("malformed-file", "has a damaged header of a member", at);
      if (at + BLOCK + length > size) return this.#add("malformed-file", "ends within a member", at);
      await this.#scanMember(decodeLatin1(header), at, length);
      at += BLOCK + Math.ceil(length / BLOCK) * BLOCK;
    }
    if (at < size) await this.#checkEnd(at);
  }

  async #scanMember(header: string, at: number, length: number): Promise<void> {
    const kind = header[156]!;
    const name = upToNul(header.slice(0, 100));
    const member = windowOf(this.#part, name, at + BLOCK, length);
    const isFolder = kind === "5" || (kind === "\0" && name.endsWith("/"));
    if (!isFolder && upToNul(header.slice(345, 500)) === "") this.#noteName(name);
    if (isFolder || NO_FILES.has(kind)) {
      if (length === 0) return;
      this.#add("ambiguous-archive", "has a link or a folder with data, which not all readers skip", at);
      await this.#scan.enter(this.#part, member);
    } else if (FILES.has(kind)) {
      this.#code.check(name);
      const torchName = TORCH_TAR_MEMBERS.find((one) => one === name);
      if (torchName) this.#named.push([torchName, member]);
      else await this.#scan.enter(this.#part, member);
    } else if (PROPERTIES.has(kind) || LONG_NAMES.has(kind)) {
      const bytes = await this.#scan.read(member, 0, Math.min(length, MAX_PROPERTIES));
      const text = decodeLatin1(bytes);
      this.#code.check(text);
      if (LONG_NAMES.has(kind)) this.#noteName(upToNul(text));
      else this.#noteProperties(length > MAX_PROPERTIES ? undefined : properties(bytes), at);
    } else {
      this.#add("not-understood", "has a member of an unusual kind", at);
    }
  }

  /** Properties may give a member another size, which not all readers heed, or its real name. */
  #noteProperties(found: ReturnType<typeof properties>, at: number): void {
    if (!found) return this.#add("ambiguous-archive", "has malformed properties of a member", at);
    for (const [key, value] of found) {
      if (key === "path") this.#noteName(value);
      if (key === "size" || key.startsWith("GNU.sparse."))
        this.#add("ambiguous-archive", "gives a member of the tar archive another size", at);
    }
  }

  /** PyTorch finds its members by their names, wherever these stand, and looks for its storages before all else. */
  #noteName(name: string): void {
    this.#isTorch ||= name.replace(/\/+$/, "") === TORCH_TAR_MEMBERS[0];
  }

  /** Which members PyTorch finds must be beyond doubt. */
  async #checkTorchMembers(): Promise<void> {
    try {
      await tarMembers(this.#part.source, this.#scan.options);
    } catch (error) {
      const [, reason, { at } = {}] = draftOf(error);
      this.#add("ambiguous-archive", `may be PyTorch's, which writes no such archive: ${reason}`, at);
    }
  }

  /** After the first empty block there is nothing but zeros, up to the size of a tape's record. */
  async #checkEnd(at: number): Promise<void> {
    const length = this.#part.source.size - at;
    const rest = await this.#scan.read(this.#part, at, Math.min(length, 1 << 20));
    if (length > 1 << 20 || rest.some((byte) => byte !== 0))
      this.#add("bytes-after-end", "has bytes after the end of the archive", at);
  }

  #add(code: FindingCode, message: string, at: number | undefined): void {
    this.#scan.add(this.#part, code, message, { at });
  }
}

function upToNul(text: string): string {
  return text.split("\0", 1)[0]!;
}
