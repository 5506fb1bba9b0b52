import assert from "node:assert/strict";
import { closeSync, openSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { TensorHandle } from "../../../src/checkpoint/tensor.ts";
import { fileSink, openPath, saveFile } from "../../../src/node/index.ts";
import { copyBuffers, copyRange } from "../../../src/node/write/copy-range.ts";
import { save } from "../../../src/save/save.ts";
import { fromBytes } from "../../../src/source/memory.ts";
import { noise, raises, temporaryFolder } from "../../support.ts";

/** More than the sink's pieces, and no multiple of them. */
const LENGTH = (5 << 20) + 12345;

const bytes = noise(LENGTH, 7);

/** A tensor that the sink copies by itself, from a source that begins with some bytes of something else. */
function largeTensor(read?: (offset: number) => void): TensorHandle {
  const whole = new Uint8Array(3 + LENGTH);
  whole.set(bytes, 3);
  const memory = fromBytes(whole);
  const source = {
    size: whole.length,
    read: async (offset: number, length: number): Promise<Uint8Array> => {
      read?.(offset);
      return (await memory.read(offset, length)).slice();
    },
  };
  return new TensorHandle("w", { source, dtype: "U8", shape: [LENGTH], strides: [1], bitOffset: 24 });
}

test("a large tensor arrives, among small ones, with progress", async () => {
  const path = join(temporaryFolder(), "x.safetensors");
  const small = { dtype: "U8", shape: [3], data: Uint8Array.of(1, 2, 3) } as const;
  const progress: [number, number][] = [];
  const tensors = { a: small, w: largeTensor(), z: { ...small, data: Uint8Array.of(4, 5, 6) } };
  await saveFile(path, tensors, { onProgress: (done, total) => progress.push([done, total]) });
  await using checkpoint = await openPath(path);
  assert.deepEqual(await checkpoint.get("a").bytes(), Uint8Array.of(1, 2, 3));
  assert.ok(Buffer.from(bytes).equals(await checkpoint.get("w").bytes()));
  assert.deepEqual(await checkpoint.get("z").bytes(), Uint8Array.of(4, 5, 6));
  assert.equal(progress.length, 8);
  assert.ok(progress.every(([done], place) => place === 0 || done > progress[place - 1]![0]));
  assert.deepEqual(progress.at(-1), [LENGTH + 6, LENGTH + 6]);

  const copy = join(temporaryFolder(), "copy.safetensors");
  await saveFile(copy, checkpoint);
  assert.ok(readFileSync(copy).equals(readFileSync(path)));
});

test("an error of reading names the tensor; nothing is left, and nothing goes on", async () => {
  const folder = temporaryFolder();
  let reads = 0;
  const tensor = largeTensor((offset) => {
    reads++;
    if (offset > 2 << 20) throw new Error("gone");
  });
  await assert.rejects(saveFile(join(folder, "x.safetensors"), { w: tensor }), /gone/);
  const before = reads;
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(reads, before);
  assert.deepEqual(readdirSync(folder), []);
});

test("the signal ends it between two pieces", async () => {
  const folder = temporaryFolder();
  const controller = new AbortController();
  const sink = await fileSink(join(folder, "x.safetensors"));
  const onProgress = (): void => controller.abort(new Error("enough"));
  const saving = save(sink, { w: largeTensor() }, { signal: controller.signal, onProgress });
  await assert.rejects(saving, /enough/);
  assert.deepEqual(readdirSync(folder), []);
});

test("an error of writing names the file", async () => {
  const path = join(temporaryFolder(), "x");
  closeSync(openSync(path, "w"));
  const fd = openSync(path, "r");
  const range = { length: LENGTH, read: () => {} };
  const copying = copyRange(fd, path, 0, range, copyBuffers(), { onCopied: () => {} });
  await assert.rejects(copying, raises("IO", /x/, { file: path }));
  closeSync(fd);
});
