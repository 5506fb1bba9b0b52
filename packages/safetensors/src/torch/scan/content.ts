import { readHeader } from "../../checkpoint/safetensors.ts";
import { diagnose, type FileKind } from "../../format/diagnose.ts";
import { fromBytes } from "../../source/memory.ts";
import { MAX_SCANNED_TEXT_BYTES } from "../limits.ts";
import { isTarHeader } from "../tar-header.ts";
import { hasHdf5Inside, scanHdf5 } from "./hdf5.ts";
import { inflate, inflateLimit } from "./inflate.ts";
import { scanKerasConfig } from "./keras.ts";
import { scanNpy } from "./numpy.ts";
import { draftOf, type Part, type Scan } from "./part.ts";
import { scanPickles } from "./pickles.ts";
import { salvageZip } from "./salvage.ts";
import { scanTar } from "./tar.ts";
import { scanZip } from "./zip.ts";

/** Bytes by which content is recognised. */
const HEAD_BYTES = 4096;

/** Bytes of text that are read at once. */
const TEXT_PIECE = 1 << 20;

/** Bytes of a ZIP's end record, and of the longest comment after it. */
const ZIP_END_BYTES = 22;
const MAX_COMMENT_BYTES = 0xffff;

/** Bytes of the two records of ZIP64, and the signatures of the end record and of an entry of the directory. */
const ZIP64_END_BYTES = 76;
const ZIP_END = 0x06054b50;
const ZIP_ENTRY = 0x02014b50;

type Reader = (scan: Scan, part: Part, kind: FileKind) => void | Promise<void>;

const holdsNoCode: Reader = (scan, part, kind) => {
  // Archives have many such members.
  if (part.where.member.length === 0)
    scan.add(part, "holds-no-code", `is ${NO_CODE.get(kind)}: loading it runs nothing`);
};

/** Text is harmless if all of it is text, and no configuration of a Keras model. */
const scanText: Reader = async (scan, part, kind) => {
  const { size } = part.source;
  if (size > MAX_SCANNED_TEXT_BYTES)
    return scan.add(part, "limit", `begins as text, and has more than ${MAX_SCANNED_TEXT_BYTES} bytes`);
  const utf8 = new TextDecoder("utf-8", { fatal: true });
  let isKeras = false;
  let before = "";
  try {
    for (let at = 0; at < size; at += TEXT_PIECE) {
      const length = Math.min(TEXT_PIECE, size - at);
      const text = utf8.decode(await scan.read(part, at, length), { stream: at + length < size });
      if (text.includes("\0")) throw new TypeError("NUL is no text");
      // The key may lie across two pieces, or be written with escapes that no encoder makes.
      isKeras ||=
        (kind === "json" || kind === "shard-index") && /"class_name"|\\u00[4-7]/i.test(before + text);
      before = text.slice(-16);
    }
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return scan.add(part, "not-understood", "begins as text, and goes on as something else");
  }
  if (isKeras) await scanKerasConfig(scan, part);
  else await holdsNoCode(scan, part, kind);
};

const NO_CODE: ReadonlyMap<FileKind, string> = new Map([
  ["empty", "empty"],
  ["text", "text"],
  ["json", "JSON"],
  ["shard-index", "the index of a checkpoint"],
  ["xml", "XML"],
  ["png", "a PNG image"],
  ["jpeg", "a JPEG image"],
]);

const notUnderstood: Reader = (scan, part, kind) =>
  scan.add(part, "not-understood", `is of the kind ${kind}, which the scanner does not look into`);

const notDownloaded: Reader = (scan, part, kind) =>
  scan.add(part, "not-downloaded", `is no model, but a placeholder or an answer of a server (${kind})`);

const compressed: Reader = (scan, part, kind) =>
  scan.add(part, "compressed", `is compressed or packed (${kind}): unpack it and scan what comes out`);

/**
 * How each kind is scanned, besides as a pickle. What begins as a ZIP archive is no pickle, as for
 * torch.load; all others are tried as pickles too, since pickle.load takes whatever can be read as one. Kinds that are
 * not here are pickles or unknown.
 */
const READERS: ReadonlyMap<FileKind, Reader> = new Map<FileKind, Reader>([
  ["npy", scanNpy],
  ["tar", scanTar],
  ["torch-tar", scanTar],
  ["hdf5", scanHdf5],
  ["gzip", unpack],
  ["zlib", unpack],
  ...(["empty", "png", "jpeg"] as const).map((kind) => [kind, holdsNoCode] as const),
  ...(["text", "json", "xml", "shard-index"] as const).map((kind) => [kind, scanText] as const),
  ...(["bzip2", "xz", "zstd", "7z", "rar"] as const).map((kind) => [kind, compressed] as const),
  ...(["zeros", "git-lfs-pointer", "html", "json-error"] as const).map(
    (kind) => [kind, notDownloaded] as const,
  ),
  ...(["gguf", "ggml", "onnx", "tflite", "parquet", "pdf", "elf", "pe"] as const).map(
    (kind) => [kind, notUnderstood] as const,
  ),
]);

/** Scans a part in every reading that could apply to its content. Its name plays no part. */
export async function scanPart(scan: Scan, part: Part): Promise<void> {
  const { size } = part.source;
  const head = await scan.read(part, 0, Math.min(size, HEAD_BYTES));
  // Both may begin with something else. torch.load looks for a tar archive before it takes a file for a pickle.
  const isTar = isTarHeader(head);
  if (isTar) await scanTar(scan, part);
  const isHdf5 = await hasHdf5Inside(scan, part, head);
  if (isHdf5) await scanHdf5(scan, part);
  if (head[0] === 0x50 && head[1] === 0x4b && (head[2] === 3 || head[2] === 5 || head[2] === 7))
    return scanZip(scan, part);
  const kind = zlibStart(head) === undefined ? diagnose(head, size)?.kind : "zlib";
  const reader = kind === undefined ? undefined : READERS.get(kind);
  const isSafetensors = kind === undefined && looksLikeSafetensors(head);
  if (reader && !(isTar && reader === scanTar)) await reader(scan, part, kind!);
  if (isSafetensors) await scanSafetensors(scan, part);
  const known = reader !== undefined || isSafetensors || isTar || isHdf5;
  if (size > 0) {
    const mode = part.isLoaded ? "loaded" : known ? "data" : "file";
    const { isPickle, storages } = await scanPickles(scan, part, mode);
    if (!isPickle && !known) scan.add(part, "not-understood", "is of no kind that the scanner knows");
    if (isPickle && storages.size > 0)
      scan.add(part, "persistent-id", "refers to storages, but is not in a PyTorch archive");
  }
  // Members of a tar archive have been looked into, and nothing may follow them.
  if (!isTar && reader !== scanTar && (await endsAsZip(scan, part))) {
    scan.add(part, "archive-after-data", "ends as a ZIP archive, which some readers will open instead");
    await salvageZip(scan, part);
  }
}

/** `ZF` and a size as Python's int reads it: how joblib before 0.10 began what it had packed, and how it still reads it. */
const ZFILE = /^ZF\s*[-+]?(?:0x)?[\da-f_]+\s*$/i;
const ZFILE_BYTES = 21;

/** Where data begins that zlib has packed; nothing if this is none. No pickle begins with an x or a Z. */
function zlibStart(bytes: Uint8Array): number | undefined {
  // In Python 2 there was room for an L more.
  if (ZFILE.test(String.fromCharCode(...bytes.subarray(0, ZFILE_BYTES))))
    return bytes[ZFILE_BYTES] === 0x20 ? ZFILE_BYTES + 1 : ZFILE_BYTES;
  // The header with any level of compression (RFC 1950): joblib uses all.
  const isHeader = bytes[0] === 0x78 && bytes.length > 2 && (0x7800 + bytes[1]!) % 31 === 0;
  // A block that is only stored has its length twice, once inverted (RFC 1951); the header of safetensors has not.
  const isStored = isHeader && (bytes[2]! & 6) === 0 && bytes.length > 6;
  const isBroken = isStored && (bytes[3]! + bytes[5]! !== 255 || bytes[4]! + bytes[6]! !== 255);
  return isHeader && !isBroken ? 0 : undefined;
}

/** A length below 2^32, then the header's brace. */
function looksLikeSafetensors(head: Uint8Array): boolean {
  return head.length > 8 && head.subarray(4, 8).every((byte) => byte === 0) && head[8] === 0x7b;
}

async function scanSafetensors(scan: Scan, part: Part): Promise<void> {
  try {
    await readHeader(part.source, scan.options);
    scan.report.addScanned(part.where);
  } catch (error) {
    scan.add(part, ...draftOf(error));
  }
}

/** Unpacks data that gzip or zlib has packed, as joblib does, if that is not too much. */
async function unpack(scan: Scan, part: Part, kind: FileKind): Promise<void> {
  const { size } = part.source;
  if (!scan.spend(part, size)) return;
  const limit = Math.min(inflateLimit(size), scan.remaining);
  const bytes = await scan.read(part, 0, size);
  const packed = bytes.subarray(kind === "zlib" ? zlibStart(bytes) : 0);
  const { bytes: content, short } = await inflate(packed, kind === "gzip" ? "gzip" : "deflate", limit);
  if (short !== undefined) scan.add(part, "compressed", `could not be unpacked in full (${kind}, ${short})`);
  if (!scan.spend(part, content.length)) return;
  const { member } = part.where;
  const where = { member: [...member, `unpacked ${kind}`], base: undefined };
  await scan.enter(part, { ...part, source: fromBytes(content), where, archives: part.archives + 1 });
}

/**
 * Whether a ZIP archive ends here, for some reader: its end record need not be the last thing in the file, but a directory
 * must lie right before it, or before the records of ZIP64.
 */
async function endsAsZip(scan: Scan, part: Part): Promise<boolean> {
  const { size } = part.source;
  if (size < ZIP_END_BYTES) return false;
  const length = Math.min(size, ZIP_END_BYTES + MAX_COMMENT_BYTES);
  const tail = await scan.read(part, size - length, length);
  const view = new DataView(tail.buffer, tail.byteOffset, tail.length);
  for (let at = tail.indexOf(0x50); at >= 0; at = tail.indexOf(0x50, at + 1)) {
    if (at + ZIP_END_BYTES > length || view.getUint32(at, true) !== ZIP_END) continue;
    const directory = view.getUint32(at + 12, true);
    for (const between of [0, ZIP64_END_BYTES]) {
      const place = size - length + at - between - directory;
      if (directory < 4 || place < 0) continue;
      const start = await scan.read(part, place, 4);
      if (new DataView(start.buffer, start.byteOffset, 4).getUint32(0, true) === ZIP_ENTRY) return true;
    }
    if (directory === 0xffffffff) return true;
  }
  return false;
}
