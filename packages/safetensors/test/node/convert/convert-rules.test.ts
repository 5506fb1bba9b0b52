import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { crc32, deflateRawSync } from "node:zlib";
import { castFloats } from "../../../src/dtype/cast.ts";
import { convertPath, openPath } from "../../../src/node/index.ts";
import { fixturePath } from "../../fixtures.ts";
import { pickleOf } from "../../torch/containers.ts";
import { storage, tensor, torchFile } from "../../torch/torch-file.ts";

function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "safetensors-rules-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

async function hashes(path: string): Promise<Map<string, string>> {
  await using checkpoint = await openPath(path);
  const found: [string, string][] = [];
  for (const tensor of checkpoint) {
    const bytes = await tensor.bytes();
    found.push([tensor.name, `${tensor.dtype} ${createHash("sha256").update(bytes).digest("hex")}`]);
  }
  return new Map(found.sort());
}

const SHARDED = fixturePath("torch/sharded");

test("a checkpoint of several files becomes one file", async (t) => {
  const folder = temporaryFolder(t);
  const result = await convertPath(SHARDED, join(folder, "one.safetensors"), { maxShardSize: Infinity });
  assert.equal(result.index, undefined);
  assert.equal(result.files.length, 1);
  assert.equal(result.files[0]!.inputs.length, 3);
  assert.deepEqual(readdirSync(folder), ["one.safetensors"]);
  const before = await hashes(SHARDED);
  for (const [name, hash] of await hashes(join(folder, "one.safetensors")))
    assert.equal(hash, before.get(name));
});

test("a checkpoint is split anew, and numbered anew", async (t) => {
  const folder = temporaryFolder(t);
  const whole = await convertPath(SHARDED, join(folder, "whole"), { maxShardSize: Infinity });
  const most = Math.ceil(whole.files[0]!.dataLength / 4);
  const { files, index } = await convertPath(SHARDED, join(folder, "parts"), {
    maxShardSize: most,
    verify: true,
  });
  assert.ok(files.length > 3);
  const count = String(files.length).padStart(5, "0");
  assert.deepEqual(
    files.map(({ path }) => path),
    files.map((_, i) =>
      join(folder, "parts", `model-${String(i + 1).padStart(5, "0")}-of-${count}.safetensors`),
    ),
  );
  for (const { dataLength, tensors } of files) assert.ok(dataLength <= most || tensors === 1);
  assert.equal(index, join(folder, "parts", "model.safetensors.index.json"));
  assert.equal(JSON.parse(readFileSync(index!, "utf8")).metadata.total_size, whole.files[0]!.dataLength);
  assert.deepEqual(await hashes(join(folder, "parts")), await hashes(join(folder, "whole")));
});

test("names are chosen and shortened; a file that nothing is left of is not written", async (t) => {
  const folder = temporaryFolder(t);
  const all = await hashes(SHARDED);
  const [first] = all.keys();
  const prefix = first!.slice(0, 3);
  const { files } = await convertPath(SHARDED, join(folder, "out.safetensors"), {
    include: [first!],
    stripPrefix: prefix,
  });
  assert.equal(files.length, 1);
  assert.deepEqual(
    [...(await hashes(join(folder, "out.safetensors")))],
    [[first!.slice(3), all.get(first!)]],
  );
  await assert.rejects(convertPath(SHARDED, join(folder, "none"), { exclude: /./ }), {
    code: "TENSOR_NOT_FOUND",
  });
  assert.deepEqual(readdirSync(folder), ["out.safetensors"]);
});

test("names to choose may come from an iterator, for all files", async (t) => {
  const all = [...(await hashes(SHARDED)).keys()];
  const output = join(temporaryFolder(t), "one.safetensors");
  await convertPath(SHARDED, output, { include: all.slice(1).values(), maxShardSize: Infinity });
  assert.deepEqual([...(await hashes(output)).keys()], all.slice(1));
});

test("floats are cast, integers stay", async (t) => {
  const output = join(temporaryFolder(t), "out.safetensors");
  await convertPath(fixturePath("torch/state-dict.pt"), output, { dtype: "BF16", verify: true });
  await using before = await openPath(fixturePath("torch/state-dict.pt"));
  await using after = await openPath(output);
  let cast = 0;
  for (const tensor of after) {
    const original = before.get(tensor.name);
    assert.deepEqual(tensor.shape, original.shape);
    const bytes = await original.bytes();
    const { dtype } = original;
    if (dtype === "F32" || dtype === "F64" || dtype === "F16") {
      cast++;
      assert.equal(tensor.dtype, "BF16");
      assert.deepEqual(await tensor.bytes(), castFloats(dtype, "BF16", bytes));
    } else {
      assert.equal(tensor.dtype, dtype);
      assert.deepEqual(await tensor.bytes(), bytes);
    }
  }
  assert.ok(cast > 0);
});

test("of tied tensors the wanted name is kept", async (t) => {
  const folder = temporaryFolder(t);
  const usual = await convertPath(fixturePath("torch/tied.pt"), join(folder, "a.safetensors"));
  const [[dropped, kept]] = [...usual.files[0]!.aliases] as [[string, string]];
  const other = await convertPath(fixturePath("torch/tied.pt"), join(folder, "b.safetensors"), {
    keep: [dropped],
  });
  assert.equal(other.files[0]!.aliases.get(kept), dropped);
  const third = await convertPath(fixturePath("torch/tied.pt"), join(folder, "c.safetensors"), {
    discard: [kept],
  });
  assert.ok(third.files[0]!.aliases.has(kept));
  for (const options of [{ keep: ["nothing"] }, { discard: ["nothing"] }]) {
    await assert.rejects(convertPath(fixturePath("torch/tied.pt"), join(folder, "d"), options), {
      code: "TENSOR_NOT_FOUND",
    });
  }
  // The names are those in the output.
  const stripped = await convertPath(fixturePath("torch/tied.pt"), join(folder, "e.safetensors"), {
    stripPrefix: "wte.",
    keep: ["weight"],
  });
  assert.equal(stripped.files[0]!.aliases.get(kept), "weight");
});

test("NumPy files are converted as well", async (t) => {
  const folder = temporaryFolder(t);
  const archives = readdirSync(fixturePath("numpy")).filter((name) => /\.np[yz]$/.test(name));
  let converted = 0;
  for (const name of archives) {
    const input = fixturePath(`numpy/${name}`);
    const before = await hashes(input).catch(() => undefined);
    if (!before) continue;
    converted++;
    const { files, inputs } = await convertPath(input, join(folder, `${name}.safetensors`));
    assert.deepEqual(await hashes(files[0]!.path), before);
    assert.equal(inputs[0]!.report, undefined);
  }
  assert.ok(converted > 3);
  await using checkpoint = await openPath(join(folder, readdirSync(folder)[0]!));
  assert.equal(checkpoint.metadata.get("format"), "np");
});

test("verifying finds damage in the part of a compressed storage that no tensor has", async (t) => {
  const folder = temporaryFolder(t);
  const elements = 500_000;
  const bytes = Uint8Array.from({ length: 4 * elements }, (_, index) => (index * index) >> 7);
  const member = {
    name: "model/data/0",
    method: 8,
    data: deflateRawSync(bytes),
    size: bytes.length,
    crc32: crc32(bytes) ^ 1,
  };
  const value = {
    x: tensor({ storage: storage("torch.FloatStorage", "0", elements), size: [2], stride: [1] }),
  };
  const path = join(folder, "part.pt");
  writeFileSync(
    path,
    torchFile({ "data.pkl": pickleOf(value) }, "model", [{ ...member, compressedSize: member.data.length }]),
  );
  await convertPath(path, join(folder, "a.safetensors"));
  await assert.rejects(convertPath(path, join(folder, "b.safetensors"), { verify: true }), {
    code: "INVALID_ARCHIVE",
    message: /another CRC/,
  });
});

test("what is given in parts is included and excluded by its name, too", async (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, "complex.pt");
  const complex = storage("torch.ComplexDoubleStorage", "0", 3);
  const value = {
    w: tensor({ storage: complex, size: [3], stride: [1] }),
    x: tensor({ storage: storage("torch.FloatStorage", "1") }),
  };
  const data = { "data/0": new Uint8Array(48), "data/1": new Uint8Array(48) };
  writeFileSync(path, torchFile({ "data.pkl": pickleOf(value), ...data }));
  for (const [rules, names] of [
    [{ include: ["w"] }, ["w.imag", "w.real"]],
    [{ include: ["w.real"] }, ["w.real"]],
    [{ exclude: ["w"] }, ["x"]],
    [{ exclude: ["w.real"] }, ["w.imag", "x"]],
  ] as const) {
    const output = join(folder, "out.safetensors");
    await convertPath(path, output, { complex128: "split", ...rules });
    await using checkpoint = await openPath(output);
    assert.deepEqual([...checkpoint.keys()].sort(), names);
  }
});
