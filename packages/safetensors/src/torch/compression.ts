// biome-ignore-all lint/suspicious/noControlCharactersInRegex: signatures are made of such bytes.

import { looksLikeSafetensors } from "./safetensors-head.ts";

/** What a whole file may be compressed by. */
export type Compression = "gzip" | "zlib" | "zstd" | "xz" | "bzip2" | "lz4";

/**
 * Decompresses what the runtime itself cannot (it can gzip and zlib): gives the stream of the unpacked bytes, or nothing
 * if it does not know how.
 */
export type Decompress = (
  compression: Compression,
  compressed: ReadableStream<Uint8Array<ArrayBuffer>>,
) => ReadableStream<Uint8Array> | undefined;

const SIGNATURES: readonly (readonly [Compression, RegExp])[] = [
  ["gzip", /^\x1f\x8b\x08[\0-\x1f]/],
  // Window of 32 KiB, any effort, and the two bytes a multiple of 31 (RFC 1950).
  ["zlib", /^x[\x01\x5e\x9c\xda]/],
  ["zstd", /^\x28\xb5\x2f\xfd/],
  ["xz", /^\xfd7zXZ\0/],
  ["bzip2", /^BZh[1-9]1AY&SY/],
  ["lz4", /^\x04\x22\x4d\x18/],
];

/** What a file is compressed by, as far as its first bytes tell. */
export function compressionOf(head: Uint8Array): Compression | undefined {
  if (looksLikeSafetensors(head)) return undefined;
  const text = String.fromCharCode(...head.subarray(0, 64));
  return SIGNATURES.find(([, signature]) => signature.test(text))?.[0];
}
