import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import { crc32 } from "node:zlib";
import { checksumOf } from "../../src/save/tensor-sum.ts";
import { fromBytes } from "../../src/source/memory.ts";
import { openTorch, type TorchCheckpoint } from "../../src/torch/index.ts";
import { fixture, fixturePath } from "../fixtures.ts";

function open(file: string): Promise<TorchCheckpoint> {
  return openTorch(fromBytes(fixture(`torch/${file}`), file));
}

test("tensors of files that PyTorch wrote have the checksums of their storages", async () => {
  let compared = 0;
  for (const file of readdirSync(fixturePath("torch")).filter((name) => name.endsWith(".pt"))) {
    let checkpoint: TorchCheckpoint;
    try {
      checkpoint = await open(file);
    } catch {
      continue;
    }
    for (const tensor of checkpoint) {
      const checksum = checksumOf(tensor);
      if (!checksum) continue;
      compared++;
      assert.equal(crc32(await tensor.bytes()), checksum.crc32, `${file} ${tensor.name}`);
      assert.ok(
        checksum.member.includes("/data/") || checksum.member.includes("/constants/"),
        checksum.member,
      );
    }
  }
  assert.ok(compared > 100, String(compared));
});

test("there is none for parts, other orders, swapped bytes, and what the file has none of", async () => {
  const which = async (file: string): Promise<string[]> => {
    const checkpoint = await open(file);
    return [...checkpoint].filter(checksumOf).map(({ name }) => name);
  };
  for (const file of ["no-crc.pt", "compressed.pt", "legacy.pt", "tar-archive.pt"])
    assert.deepEqual(await which(file), [], file);
  assert.deepEqual(await which("conj-and-neg.pt"), ["plain"]);
  // Of single bytes the order means nothing.
  const swapped = await open("big-endian-dtypes.pt");
  for (const tensor of swapped)
    assert.equal(checksumOf(tensor) !== undefined, /^(U8|I8|BOOL|F8_.*)$/.test(tensor.dtype), tensor.dtype);
  const views = await open("views.pt");
  assert.ok((await which("views.pt")).length < views.size);
});
