// biome-ignore-all lint/suspicious/noControlCharactersInRegex: fields end with such a byte.
import { quote, SafetensorsError } from "../errors.ts";
import { readExactly } from "../source/read-into.ts";
import type { ByteSource, ReadOptions } from "../source/source.ts";
import { MAX_TAR_MEMBERS, MAX_TAR_PROPERTIES_BYTES } from "./limits.ts";
import { isTarHeader, octal, properties, TAR_BLOCK_BYTES } from "./tar-header.ts";

/** Where the data of a member lies. */
export interface TarMember {
  readonly start: number;
  readonly end: number;
}

/** Properties of a member that change nothing of what it is: Python writes the time with its fraction so. */
const HARMLESS = new Set(["mtime", "atime", "ctime", "uid", "gid", "uname", "gname"]);

/** Bytes of zeros after the last member: two blocks, and what fills a tape record of usual size. */
const MAX_END_BYTES = 1 << 20;

/**
 * The members of an uncompressed tar archive by name (POSIX.1-2001, "pax"), when all readers see the same: regular files,
 * each name once, no property that renames or resizes one.
 *
 * @throws `INVALID_ARCHIVE`, `UNSUPPORTED` for other members than files, `LIMIT_EXCEEDED`
 */
export async function tarMembers(source: ByteSource, options?: ReadOptions): Promise<Map<string, TarMember>> {
  const members = new Map<string, TarMember>();
  let at = 0;
  let awaitsMember = false;
  for (let count = 0; ; count++) {
    if (count > 2 * MAX_TAR_MEMBERS) {
      throw new SafetensorsError("LIMIT_EXCEEDED", "the tar archive has too many members", {
        limit: "MAX_TAR_MEMBERS",
      });
    }
    if (at + TAR_BLOCK_BYTES > source.size) throw invalid("the tar archive is cut off", at);
    const header = await readExactly(source, at, TAR_BLOCK_BYTES, options);
    if (header.every((byte) => byte === 0)) {
      if (awaitsMember) throw invalid("the tar archive ends with properties of no member", at);
      await checkEnd(source, at, options);
      return members;
    }
    const start = at + TAR_BLOCK_BYTES;
    const { name, type, size } = parseHeader(header, at);
    const end = start + size;
    at = start + Math.ceil(size / TAR_BLOCK_BYTES) * TAR_BLOCK_BYTES;
    if (at > source.size) throw invalid(`${quote(name)} runs over the end of the tar archive`, start);
    awaitsMember = type === "x";
    if (awaitsMember) {
      await checkProperties(source, { start, end }, options);
    } else if (type === "0" || type === "\0") {
      if (members.has(name)) throw invalid(`two members of the tar archive are named ${quote(name)}`, start);
      members.set(name, { start, end });
    } else {
      const text = `the tar archive has ${quote(name)}, which is no regular file`;
      throw new SafetensorsError("UNSUPPORTED", text, { kind: "tar" });
    }
  }
}

function parseHeader(header: Uint8Array, at: number): { name: string; type: string; size: number } {
  const text = String.fromCharCode(...header);
  const field = (start: number, length: number): string =>
    text.slice(start, start + length).split("\0", 1)[0]!;
  const size = octal(header, 124, 12);
  if (!isTarHeader(header) || size === undefined || !/^ustar(?:\0\d\d| {2}\0)$/.test(text.slice(257, 265))) {
    throw invalid("a member of the tar archive has no proper header", at);
  }
  if (field(345, 155) !== "") throw invalid("a member of the tar archive lies in a folder", at);
  const name = field(0, 100);
  const type = text[156]!;
  // A folder in old spelling, whose data Python does not skip.
  if (type === "\0" && name.endsWith("/")) throw invalid("the tar archive has a folder", at);
  return { name, type, size };
}

async function checkProperties(
  source: ByteSource,
  { start, end }: TarMember,
  options: ReadOptions | undefined,
): Promise<void> {
  if (end - start > MAX_TAR_PROPERTIES_BYTES) {
    throw new SafetensorsError("LIMIT_EXCEEDED", "a member of the tar archive has too many properties", {
      limit: "MAX_TAR_PROPERTIES_BYTES",
    });
  }
  const found = properties(await readExactly(source, start, end - start, options));
  if (!found) throw invalid("the properties of a member of the tar archive are malformed", start);
  for (const [key] of found) {
    if (!HARMLESS.has(key)) throw invalid(`the tar archive gives a member the property ${quote(key)}`, start);
  }
}

/** Nothing but zeros follows, and not too many. */
async function checkEnd(source: ByteSource, at: number, options: ReadOptions | undefined): Promise<void> {
  const length = source.size - at;
  const zeros =
    length <= MAX_END_BYTES && (await readExactly(source, at, length, options)).every((byte) => byte === 0);
  if (!zeros) throw invalid("something follows the end of the tar archive", at);
}

function invalid(reason: string, at: number): SafetensorsError {
  return new SafetensorsError("INVALID_ARCHIVE", reason, { at });
}
