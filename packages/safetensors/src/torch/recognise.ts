// biome-ignore-all lint/suspicious/noControlCharactersInRegex: signatures are made of such bytes.
import { compressionOf } from "./compression.ts";
import { looksLikeSafetensors } from "./safetensors-head.ts";
import { isTarHeader, TAR_BLOCK_BYTES } from "./tar-header.ts";

/** Bytes from the start of a file by which it is recognised. */
export const HEAD_BYTES = 4096;

/** The kinds of files that torch.save has written: since 1.6, before, and before 0.2. */
export type TorchKind = "zip" | "legacy" | "tar";

/**
 * The pickled magic number that begins a legacy file, 0x1950a86a20f9469cfc6c: protocol 4 puts a frame before it, and
 * protocol 1 writes it in digits.
 */
const LEGACY =
  /^(?:\x80[\x02-\x05](?:\x95.{8})?\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19|L119547037146038801333356L\n)\./s;

/** Members of a tar archive of PyTorch; Python puts a member with more properties before each. */
const TAR_MEMBER = /^(?:sys_info|pickle|storages|tensors)\0/;
const TAR_PROPERTIES = /^(?:\.\/\.\/@PaxHeader|PaxHeader)/;

/**
 * The start of a pickle of protocol 2 or later, and the usual ones of protocols 0 and 1, which have no signature: a
 * container or a name, followed by its memo entry.
 */
const PICKLE = /^(?:\x80[\x02-\x05][^\0]|\([dl]p\d+\n|c[\w.]+\n\w+\n(?:p\d+\n|q.|\()|[\]}]q\0[^\0])/s;

/** How a file begins, as torch.load looks at it: first for a ZIP archive, then for a tar archive, then for pickles. */
export function torchKind(head: Uint8Array): TorchKind | undefined {
  const text = latin1(head, 0, 40);
  if (text.startsWith("PK\x03\x04")) return "zip";
  if (isTarHeader(head)) return "tar";
  return LEGACY.test(text) ? "legacy" : undefined;
}

/** Whether a file may be a pickle that was not written by torch.save. */
export function looksLikePickle(head: Uint8Array): boolean {
  return PICKLE.test(latin1(head, 0, 512));
}

/**
 * Whether a file is worth opening as a PyTorch file: of ZIP archives, those with a folder at the top; of tar archives,
 * those with the members of PyTorch; any pickle; and what is compressed, for it may be any of these.
 */
export function looksLikeTorch(head: Uint8Array): boolean {
  if (looksLikeSafetensors(head)) return false;
  const kind = torchKind(head);
  if (kind === "legacy") return true;
  if (kind === "tar") return hasTorchMember(head);
  if (kind === undefined) return looksLikePickle(head) || compressionOf(head) !== undefined;
  const nameLength = head.length < 30 ? 0 : head[26]! + head[27]! * 256;
  const name = latin1(head, 30, Math.min(nameLength, HEAD_BYTES));
  // NumPy's .npz archives may have folders too.
  return name.includes("/") && !name.endsWith(".npy");
}

/** Whether the first member of a tar archive, properties aside, is one of PyTorch's. */
function hasTorchMember(head: Uint8Array): boolean {
  for (let at = 0; at < Math.min(head.length, HEAD_BYTES); at += TAR_BLOCK_BYTES) {
    const block = latin1(head, at, TAR_BLOCK_BYTES);
    if (isTarHeader(head.subarray(at)) && !TAR_PROPERTIES.test(block)) return TAR_MEMBER.test(block);
  }
  return false;
}

function latin1(bytes: Uint8Array, start: number, length: number): string {
  return String.fromCharCode(...bytes.subarray(start, start + length));
}
