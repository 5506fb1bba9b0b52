import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { open } from "../../src/checkpoint/open.ts";
import { fromBlob } from "../../src/source/blob.ts";
import { cached } from "../../src/source/cached.ts";
import { observed } from "../../src/source/observed.ts";
import { retrying } from "../../src/source/retrying.ts";
import type { ByteSource } from "../../src/source/source.ts";
import { wholeFile } from "../../src/source/whole.ts";
import { type HandMade, handMade, noise } from "../support.ts";

const names = Array.from({ length: 30 }, (_, i) => `layer.${i}`);
const tensors = Object.fromEntries(
  names.map((name, i): [string, HandMade] => [
    name,
    { dtype: "U8", shape: [i * 37], data: noise(i * 37, i) },
  ]),
);
const file = handMade(tensors);

async function readAll(source: ByteSource): Promise<void> {
  await using checkpoint = await open(source);
  let count = 0;
  for await (const { name, bytes } of checkpoint.read()) {
    assert.deepEqual(new Uint8Array(bytes), tensors[name]!.data.slice());
    count++;
  }
  assert.equal(count, names.length);
  for (const name of names) {
    assert.deepEqual(new Uint8Array(await checkpoint.get(name).bytes()), tensors[name]!.data.slice());
  }
}

describe("layers above a source", () => {
  it("carry a checkpoint, one above the other", async () => {
    const below = { requests: 0, bytes: 0 };
    const above = { requests: 0, bytes: 0 };
    const source = observed(retrying(fromBlob(new Blob([file]))), below);
    await readAll(observed(cached(source, { block: 1024, budget: 64 << 10, ahead: 2 }), above));
    assert.equal(below.bytes, file.length);
    assert.ok(above.bytes > 2 * below.bytes && above.requests > below.requests);
  });

  it("carry a checkpoint from memory", async () => {
    const traffic = { requests: 0, bytes: 0 };
    const blob = observed(fromBlob(new Blob([file])), traffic);
    await readAll(
      retrying(observed(await wholeFile(blob, { piece: 999, segment: 2500 }), { requests: 0, bytes: 0 })),
    );
    assert.equal(traffic.bytes, file.length);
  });
});
