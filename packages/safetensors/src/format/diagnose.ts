// biome-ignore-all lint/suspicious/noControlCharactersInRegex: signatures are made of such bytes.
import { quote } from "../errors.ts";

/** What a file is that is not safetensors. */
export type FileKind =
  | "empty"
  | "zeros"
  | "git-lfs-pointer"
  | "html"
  | "xml"
  | "shard-index"
  | "json-error"
  | "json"
  | "text"
  | "torch-zip"
  | "torch-legacy"
  | "torch-tar"
  | "pickle"
  | "npz"
  | "npy"
  | "gguf"
  | "ggml"
  | "hdf5"
  | "onnx"
  | "tflite"
  | "parquet"
  | "zip"
  | "tar"
  | "7z"
  | "rar"
  | "gzip"
  | "zlib"
  | "bzip2"
  | "xz"
  | "zstd"
  | "pdf"
  | "png"
  | "jpeg"
  | "elf"
  | "pe";

/** What a file is, and what to do about it. */
export interface Diagnosis {
  readonly kind: FileKind;
  /** What it is, to follow "this is". */
  readonly description: string;
  /** The next step, as a sentence. */
  readonly advice: string;
}

const CONVERT = "Convert it with `safetensors convert`, which runs no code from the file.";
const UNPICKLE =
  "Loading a pickle runs the code in it: `safetensors scan` looks into it, `safetensors convert` takes its tensors out.";
const NUMPY = "Convert it: `safetensors convert`, or numpy.load and `safetensors.numpy.save_file`.";
const OTHER_FORMAT = "Look for the safetensors version of the model, or use the tools of its own format.";
const UNPACK = "Unpack it and open the file inside.";
const DOWNLOAD = "Download it again.";
const PULL = "Run `git lfs pull` in the repository, or download the file itself.";
const INDEX = "Open it by its path, with the files that it names beside it.";
const RIGHT_FILE = "Check that it is the right file; servers also answer with text when they refuse one.";
const SERVER =
  "Check the address, the access token and the model's terms: servers answer so when they refuse a file.";
const WRONG_FILE = "Check that this is the file you meant.";

/** In the description, % stands for what the pattern's group caught. */
type Signature = readonly [kind: FileKind, pattern: RegExp, description: string, advice: string];

/** Tried in order on the bytes, each as the character of its number. Precise enough that no text matches by chance. */
// biome-ignore format: a line for each signature
const BINARY: readonly Signature[] = [
  ["zeros", /^\0+$/, "nothing but zero bytes, as a download leaves that reserved its space and stopped", DOWNLOAD],
  ["torch-zip", /^PK\x03\x04[^/]+\/(?:data\.pkl|constants\.pkl|version|byteorder|\.format_version|\.storage_alignment|data\/\d+|code\/__torch__.*)$/, "a PyTorch file", CONVERT],
  ["npz", /^PK\x03\x04.*\.npy$/, "a NumPy .npz archive", NUMPY],
  ["zip", /^PK(?:\x03\x04|\x05\x06|\x07\x08)/, "a ZIP archive", UNPACK],
  // The first pickle of the file holds torch's magic number 0x1950a86a20f9469cfc6c; protocol 4 puts a frame before it.
  ["torch-legacy", /^\x80[\x02-\x05](?:\x95.{8})?\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19/s, "a PyTorch file as versions before 1.6 write it", CONVERT],
  ["torch-tar", /^sys_info\0.{248}ustar/s, "a PyTorch file as versions before 0.2 write it", CONVERT],
  ["tar", /^.{257}ustar/s, "a tar archive", UNPACK],
  ["pickle", /^\x80[\x02-\x05][^\0]/, "a Python pickle", UNPICKLE],
  // Protocols 0 and 1 have no signature: a container or a global, followed by its memo entry.
  ["pickle", /^(?:\([dl]p\d+\n|c[\w.]+\n\w+\n(?:p\d+\n|q\0)|[\]}]q\0[^\0])/, "a Python pickle", UNPICKLE],
  ["npy", /^\x93NUMPY/, "a NumPy .npy file", NUMPY],
  // The version follows, in the byte order of the file.
  ["gguf", /^GGUF(?:[\x01-\x0f]\0\0\0|\0\0\0[\x01-\x0f])/, "a GGUF file", OTHER_FORMAT],
  // "ggml", "ggmf", "ggjt" or "ggla" as a little-endian number, then a small one.
  ["ggml", /^(?:lmgg|fmgg|tjgg|algg).{3}\0/s, "a GGML file, the predecessor of GGUF", OTHER_FORMAT],
  ["hdf5", /^\x89HDF\r\n\x1a\n/, "an HDF5 file, perhaps of Keras", OTHER_FORMAT],
  // Field 1 (ir_version) and field 2 (producer_name) of the ModelProto message.
  ["onnx", /^\x08[\x01-\x1f]\x12[\x01-\x7f](?:pytorch|[\w. -]*onnx)/i, "an ONNX model", OTHER_FORMAT],
  ["tflite", /^.{4}TFL3/s, "a TensorFlow Lite model", OTHER_FORMAT],
  ["parquet", /^PAR1\x15/, "a Parquet file", WRONG_FILE],
  ["7z", /^7z\xbc\xaf'\x1c/, "a 7-Zip archive", UNPACK],
  ["rar", /^Rar!\x1a\x07/, "a RAR archive", UNPACK],
  ["gzip", /^\x1f\x8b\x08[\0-\x1f].{4}[\0\x02\x04]/s, "data compressed by gzip", UNPACK],
  ["zlib", /^x[\x01\x9c\xda][^\0]/, "data compressed by zlib, perhaps by joblib", UNPACK],
  ["bzip2", /^BZh[1-9]1AY&SY/, "data compressed by bzip2", UNPACK],
  ["xz", /^\xfd7zXZ\0/, "data compressed by xz", UNPACK],
  ["zstd", /^\(\xb5\/\xfd/, "data compressed by Zstandard", UNPACK],
  ["pdf", /^%PDF-\d/, "a PDF document", WRONG_FILE],
  ["png", /^\x89PNG\r\n\x1a\n/, "a PNG image", WRONG_FILE],
  ["jpeg", /^\xff\xd8\xff/, "a JPEG image", WRONG_FILE],
  ["elf", /^\x7fELF[\x01\x02]{2}/, "a program or library for Linux (ELF)", WRONG_FILE],
  // Offset 60 holds the place of the PE header, a small number.
  ["pe", /^MZ.{60}\0\0/s, "a program or library for Windows (PE)", WRONG_FILE],
];

/** Tried in order on what is text. */
// biome-ignore format: a line for each signature
const TEXT: readonly Signature[] = [
  // Git LFS specification, "The Pointer"; "hawser" was its name before version 1.
  ["git-lfs-pointer", /^version https:\/\/(?:git-lfs|hawser)\.github\.com\/spec\/v1\s.*?\bsize (\d+)/s, "a Git LFS pointer to a file of % bytes that was not downloaded", PULL],
  ["html", /^\s*<(?:!doctype html|html|head|body)\b.*?<title[^>]*>\s*([^<]*[^<\s])/is, 'an HTML page titled "%"', SERVER],
  ["html", /^\s*<(?:!doctype html|html|head|body)\b/i, "an HTML page", SERVER],
  ["xml", /^\s*<(?:\?xml.*?<)?Error>.*?<Code>([^<]*)/s, 'a storage server\'s answer "%" (XML)', SERVER],
  ["xml", /^\s*<\?xml\b/, "an XML document", WRONG_FILE],
  ["shard-index", /^\s*\{.*"weight_map"\s*:/s, "the index of a checkpoint in several files (JSON)", INDEX],
  ["json-error", /^\s*\{\s*"(?:error|message|detail)".*?:\s*"((?:[^"\\]|\\.)*)/is, 'a server\'s answer "%" (JSON)', SERVER],
  ["json", /^\s*[[{]/, "a JSON text", WRONG_FILE],
  ["text", /(\S[^\r\n]{0,79})/u, 'a text that begins "%"', RIGHT_FILE],
];

/** Only so many bytes are looked at. */
const HEAD_BYTES = 4096;

/**
 * Says what a file that is not safetensors is instead, from its first bytes (4 KiB tell most, fewer will do) and its
 * size. Undefined if it begins like safetensors, whose defects the header parser names better, or like nothing known.
 */
export function diagnose(head: Uint8Array, size: number): Diagnosis | undefined {
  if (size === 0) return { kind: "empty", description: "an empty file", advice: DOWNLOAD };
  const start = new Uint8Array(head.subarray(0, HEAD_BYTES));
  const binary = String.fromCharCode(...start);
  // A length below 2^32, then the header's brace.
  if (/^.{4}\0{4}[ \t\r\n]*\{/s.test(binary)) return undefined;
  const text = asText(start);
  return match(BINARY, zipMember(binary) ?? binary) ?? (text === undefined ? undefined : match(TEXT, text));
}

function match(signatures: readonly Signature[], content: string): Diagnosis | undefined {
  for (const [kind, pattern, template, advice] of signatures) {
    const found = pattern.exec(content);
    if (!found) continue;
    const description = template.replace("%", () => quote(found[1] ?? "").slice(1, -1));
    return { kind, description, advice };
  }
  return undefined;
}

/** The signature of a ZIP's first local header, directly followed by the member's name. */
function zipMember(binary: string): string | undefined {
  if (!binary.startsWith("PK\x03\x04")) return undefined;
  const nameLength = binary.charCodeAt(26) + binary.charCodeAt(27) * 256;
  return binary.slice(0, 4) + binary.slice(30, 30 + nameLength);
}

/** The bytes as UTF-8 without control characters, if they are; a character cut at the end does not matter. */
function asText(bytes: Uint8Array): string | undefined {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream: true });
    return /[\0-\x08\x0e-\x1a\x1c-\x1f]/.test(text) ? undefined : text;
  } catch {
    return undefined;
  }
}
