import { Duplex } from "node:stream";
import * as zlib from "node:zlib";
import type { Decompress } from "../torch/index.ts";

/** Since Node 22.15. */
const { createZstdDecompress } = zlib as { createZstdDecompress?: () => Duplex };

/** What Node can undo beyond what all runtimes can, for `TorchOptions.decompress`: Zstandard, in Node 22.15 and later. */
export const decompress: Decompress = (compression, compressed) => {
  if (compression !== "zstd" || !createZstdDecompress) return undefined;
  const { readable, writable } = Duplex.toWeb(createZstdDecompress());
  const pair = { readable, writable } as unknown as Parameters<typeof compressed.pipeThrough<Uint8Array>>[0];
  return compressed.pipeThrough(pair);
};
