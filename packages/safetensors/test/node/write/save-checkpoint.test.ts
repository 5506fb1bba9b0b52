import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { editCheckpoint, openPath, saveCheckpoint } from "../../../src/node/index.ts";
import type { TensorData } from "../../../src/save/save.ts";
import { splitByLayer } from "../../../src/save/split.ts";
import { fixturePath } from "../../fixtures.ts";
import { raises, temporaryFolder } from "../../support.ts";

const bytes = (length: number, value = 1): TensorData => ({
  dtype: "U8",
  shape: [length],
  data: new Uint8Array(length).fill(value),
});

/** The files of a folder, by name, with their bytes as text. */
function contentOf(folder: string): Map<string, string> {
  return new Map(
    readdirSync(folder)
      .sort()
      .map((name) => [name, readFileSync(join(folder, name), "latin1")]),
  );
}

test("a folder gets numbered files and an index", async () => {
  const folder = join(temporaryFolder(), "model");
  const tensors = { a: bytes(6), b: bytes(6), c: bytes(2), d: bytes(6), e: bytes(2), f: bytes(2) };
  const saved = await saveCheckpoint(folder, tensors, { maxShardSize: 10, metadata: { format: "pt" } });
  const names = [1, 2, 3].map((number) => `model-0000${number}-of-00003.safetensors`);
  assert.deepEqual(readdirSync(folder).sort(), [...names, "model.safetensors.index.json"]);
  assert.deepEqual(
    saved.files.map(({ path, tensors, dataLength }) => [path, tensors, dataLength]),
    [
      [join(folder, names[0]!), 1, 6],
      [join(folder, names[1]!), 2, 8],
      [join(folder, names[2]!), 3, 10],
    ],
  );
  assert.deepEqual(saved.removed, []);
  assert.deepEqual(JSON.parse(readFileSync(saved.index!, "utf8")), {
    metadata: { total_parameters: 24, total_size: 24 },
    weight_map: { a: names[0], b: names[1], c: names[1], d: names[2], e: names[2], f: names[2] },
  });
  await using checkpoint = await openPath(folder);
  assert.deepEqual([...checkpoint.keys()].sort(), Object.keys(tensors));
  assert.deepEqual([...checkpoint.metadata], [["format", "pt"]]);
});

test("a size that holds nothing, and more files than can be read back, are refused", async () => {
  const folder = join(temporaryFolder(), "model");
  for (const maxShardSize of [0, -1, Number.NaN]) {
    const saved = saveCheckpoint(folder, { a: bytes(6) }, { maxShardSize });
    await assert.rejects(saved, raises("OUT_OF_RANGE", /hold nothing/));
  }
  const many = Array.from({ length: 10_001 }, (_, i) => [`t${i}`, bytes(1)] as const);
  const error = raises("LIMIT_EXCEEDED", /10001 files/, { limit: "MAX_SHARDS" });
  await assert.rejects(saveCheckpoint(folder, many, { maxShardSize: 1 }), error);
});

test("the stem cannot lead out of the folder", async () => {
  const folder = join(temporaryFolder(), "model");
  for (const stem of ["../x", "a/b", "a\\b", ".hidden", ""]) {
    const saved = saveCheckpoint(folder, { a: bytes(6) }, { stem });
    await assert.rejects(saved, raises("UNSAFE_FILE_NAME", /must be a bare name/));
  }
  assert.ok(!existsSync(folder));
});

test("every header gets the room that is reserved, which later edits use", async () => {
  const folder = temporaryFolder();
  const tensors = { a: bytes(6), b: bytes(6) };
  const { files, index } = await saveCheckpoint(folder, tensors, { maxShardSize: 6, reserve: 800 });
  for (const { path, byteLength } of files) assert.equal(statSync(path).size, byteLength);
  const edited = await editCheckpoint(index!, { setMetadata: { note: "x".repeat(700) } });
  assert.deepEqual(
    edited.files.map(({ how }) => how),
    ["in-place", "in-place"],
  );
});

test("of one file, there is no index", async () => {
  const folder = temporaryFolder();
  const saved = await saveCheckpoint(folder, { a: bytes(6) }, { stem: "weights" });
  assert.equal(saved.index, undefined);
  assert.deepEqual(readdirSync(folder), ["weights.safetensors"]);
});

test("a path that ends in .safetensors is one file, of any size", async () => {
  const folder = temporaryFolder();
  await saveCheckpoint(join(folder, "x.safetensors"), { a: bytes(6), b: bytes(6) }, { maxShardSize: 1 });
  assert.deepEqual(readdirSync(folder), ["x.safetensors"]);
  const missing = saveCheckpoint(join(folder, "no", "x.safetensors"), { a: bytes(1) });
  await assert.rejects(missing, raises("NOT_FOUND", /no folder/));
});

test("the order of tensors and of metadata does not matter", async () => {
  const folder = temporaryFolder();
  const tensors = Object.entries({
    a: bytes(6, 1),
    b: bytes(6, 2),
    "layers.2.w": bytes(3, 3),
    c: bytes(9, 4),
  });
  const metadata = Array.from({ length: 50 }, (_, index) => [`key ${index}`, "x"] as const);
  const save = async (
    to: string,
    order: typeof tensors,
    keys: typeof metadata,
  ): Promise<Map<string, string>> => {
    await saveCheckpoint(join(folder, to), order, { maxShardSize: 10, metadata: new Map(keys) });
    return contentOf(join(folder, to));
  };
  const expected = await save("expected", tensors, metadata);
  assert.equal(expected.size, 5);
  const shuffled = fc.tuple(
    fc.shuffledSubarray(tensors, { minLength: tensors.length }),
    fc.shuffledSubarray(metadata, { minLength: metadata.length }),
  );
  const property = fc.asyncProperty(shuffled, async ([order, keys]) => {
    assert.deepEqual(await save("other", order, keys), expected);
  });
  await fc.assert(property, { seed: 42, numRuns: 10 });
});

test("in the given order, if that is asked for", async () => {
  const folder = temporaryFolder();
  const tensors = { z: bytes(6), a: bytes(6) };
  const { index } = await saveCheckpoint(folder, tensors, { maxShardSize: 6, order: "given" });
  assert.equal(JSON.parse(readFileSync(index!, "utf8")).weight_map.z, "model-00001-of-00002.safetensors");
});

test("names for the same data are stored once", async () => {
  const folder = temporaryFolder();
  const tied = bytes(4);
  const part = { ...tied, shape: [2], data: (tied.data as Uint8Array).subarray(0, 2) };
  const { aliases } = await saveCheckpoint(folder, { b: tied, a: tied, part, other: bytes(4) });
  assert.deepEqual([...aliases], [["b", "a"]]);
  await using checkpoint = await openPath(folder);
  assert.deepEqual([...checkpoint.keys()], ["a", "other", "part"]);
  assert.deepEqual([...checkpoint.metadata], [["b", "a"]]);
});

test("what there was of an older checkpoint goes, and nothing else", async () => {
  const folder = temporaryFolder();
  const kept = [
    "config.json",
    "model.safetensors.bak",
    "model-00001-of-00002.safetensors.old",
    "other-00001-of-00002.safetensors",
    "model_00001-of-00002.safetensors",
    "xmodel.safetensors",
    "model.fp16.safetensors",
    "model-1-of-2.safetensors",
  ];
  for (const name of kept) writeFileSync(join(folder, name), "kept");
  mkdirSync(join(folder, "model-00009-of-00009.safetensors.d"));
  await saveCheckpoint(folder, { a: bytes(6), b: bytes(6), c: bytes(6) }, { maxShardSize: 6 });
  const before = readdirSync(folder);
  const dry = await saveCheckpoint(folder, { a: bytes(6) }, { dryRun: true });
  assert.equal(dry.removed.length, 4);
  assert.deepEqual(readdirSync(folder), before);
  const { removed } = await saveCheckpoint(folder, { a: bytes(6) });
  assert.deepEqual(removed, dry.removed);
  const expected = [...kept, "model-00009-of-00009.safetensors.d", "model.safetensors"].sort();
  assert.deepEqual(readdirSync(folder).sort(), expected);
});

test("a checkpoint is copied with its metadata, onto itself too", async () => {
  const folder = temporaryFolder();
  const path = join(folder, "model.safetensors");
  {
    await using checkpoint = await openPath(fixturePath("torch/sharded"));
    await saveCheckpoint(path, checkpoint, { metadata: { format: "pt", note: "x" } });
  }
  const whole = readFileSync(path);
  {
    await using checkpoint = await openPath(path);
    const refused = saveCheckpoint(folder, checkpoint, { maxShardSize: 100, keep: [path] });
    await assert.rejects(refused, raises("IO", /is the input itself/));
    assert.deepEqual(readdirSync(folder), ["model.safetensors"]);
    await saveCheckpoint(folder, checkpoint, { maxShardSize: 100, verify: true });
  }
  assert.ok(!readdirSync(folder).includes("model.safetensors"));
  {
    await using checkpoint = await openPath(folder);
    await saveCheckpoint(folder, checkpoint, { maxShardSize: Number.POSITIVE_INFINITY });
  }
  assert.deepEqual(readdirSync(folder), ["model.safetensors"]);
  assert.deepEqual(readFileSync(path), whole);
});

test("a split must place every tensor once", async () => {
  const folder = temporaryFolder();
  const tensors = { "h.0.w": bytes(1), "h.1.w": bytes(1), x: bytes(1) };
  for (const split of [() => [["x"]], () => [["x", "x", "h.0.w"]], () => [["x", "h.0.w", "y"]]]) {
    await assert.rejects(saveCheckpoint(folder, tensors, { split }), raises("OUT_OF_RANGE", /into one file/));
  }
  const { files } = await saveCheckpoint(folder, tensors, { split: splitByLayer });
  assert.equal(files.length, 3);
});

test("no tensors at all are a file", async () => {
  const folder = temporaryFolder();
  await saveCheckpoint(folder, {});
  await using checkpoint = await openPath(folder);
  assert.equal(checkpoint.size, 0);
});
