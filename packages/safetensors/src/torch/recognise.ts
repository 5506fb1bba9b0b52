// biome-ignore-all lint/suspicious/noControlCharactersInRegex: signatures are made of such bytes.
/** Bytes from the start of a file by which it is recognised. */
export const HEAD_BYTES = 4096;

/** The kinds of files that torch.save has written: since 1.6, before, and before 0.2. */
export type TorchKind = "zip" | "legacy" | "tar";

/** The pickled magic number that begins a legacy file, 0x1950a86a20f9469cfc6c; protocol 4 puts a frame before it. */
const LEGACY = /^\x80[\x02-\x05](?:\x95.{8})?\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\./s;

/** A tar archive whose first member is `sys_info`. */
const TAR = /^sys_info\0.{248}ustar/s;

/** How a file begins, as torch.load looks at it: what begins as a ZIP archive is nothing else. */
export function torchKind(head: Uint8Array): TorchKind | undefined {
  const text = String.fromCharCode(...head.subarray(0, 512));
  if (text.startsWith("PK\x03\x04")) return "zip";
  if (LEGACY.test(text)) return "legacy";
  return TAR.test(text) ? "tar" : undefined;
}

/** Whether a file is worth opening as a PyTorch file: of ZIP archives, those with a folder at the top. */
export function looksLikeTorch(head: Uint8Array): boolean {
  if (torchKind(head) !== "zip") return torchKind(head) !== undefined;
  const nameLength = head.length < 30 ? 0 : head[26]! + head[27]! * 256;
  const name = String.fromCharCode(...head.subarray(30, 30 + Math.min(nameLength, HEAD_BYTES)));
  // NumPy's .npz archives may have folders too.
  return name.includes("/") && !name.endsWith(".npy");
}
