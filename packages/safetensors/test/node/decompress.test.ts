import assert from "node:assert/strict";
import { test } from "node:test";
import * as zlib from "node:zlib";
import { decompress } from "../../src/node/decompress.ts";
import { fromBytes } from "../../src/source/memory.ts";
import { openTorch } from "../../src/torch/index.ts";
import { fixture } from "../fixtures.ts";

/** Since Node 22.15. */
const { zstdCompressSync } = zlib as { zstdCompressSync?: (bytes: Uint8Array) => Uint8Array };

test("Node undoes Zstandard, where it can", { skip: !zstdCompressSync }, async () => {
  const plain = fixture("torch/state-dict.pt");
  const expected = await openTorch(fromBytes(plain));
  const checkpoint = await openTorch(fromBytes(zstdCompressSync!(plain)), { decompress });
  for (const tensor of expected) {
    assert.deepEqual(await checkpoint.get(tensor.name).bytes(), await tensor.bytes());
  }
});

test("Node knows no other compression", () => {
  for (const compression of ["xz", "bzip2", "lz4"] as const) {
    assert.equal(decompress(compression, new ReadableStream()), undefined);
  }
});
