import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { convertPath, openPath } from "../../../src/node/index.ts";
import { isContiguous } from "../../../src/view/view.ts";
import { fixture, fixturePath } from "../../fixtures.ts";
import { stridedViewOf } from "../../support.ts";

interface ExpectedTensor {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly sha256: string;
}

interface Expected {
  readonly tensors: readonly ExpectedTensor[];
  readonly aliases: readonly (readonly string[])[];
  readonly refused?: string;
}

const EXPECTED: Readonly<Record<string, Expected>> = JSON.parse(
  new TextDecoder().decode(fixture("torch/expected.json")),
);

function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "safetensors-convert-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

async function describe(path: string): Promise<ExpectedTensor[]> {
  await using checkpoint = await openPath(path);
  const found: ExpectedTensor[] = [];
  for (const tensor of checkpoint) {
    const sha256 = createHash("sha256")
      .update(await tensor.bytes())
      .digest("hex");
    found.push({ name: tensor.name, dtype: tensor.dtype, shape: tensor.shape, sha256 });
  }
  return found.sort(byName);
}

const byName = (a: ExpectedTensor, b: ExpectedTensor): number => (a.name < b.name ? -1 : 1);

for (const [file, expected] of Object.entries(EXPECTED)) {
  if (expected.refused !== undefined) {
    test(`${file} is refused, and nothing is written`, async (t) => {
      const folder = temporaryFolder(t);
      const output = join(folder, "out.safetensors");
      await assert.rejects(convertPath(fixturePath(`torch/${file}`), output), { name: "SafetensorsError" });
      assert.deepEqual(readdirSync(folder), []);
    });
    continue;
  }
  test(`${file} becomes what torch reads from it`, async (t) => {
    const output = join(temporaryFolder(t), "out");
    const { files } = await convertPath(fixturePath(`torch/${file}`), output);
    const dropped = new Set(files.flatMap(({ aliases }) => [...aliases.keys()]));
    const tied = expected.aliases.reduce((sum, group) => sum + group.length - 1, 0);
    assert.equal(dropped.size, tied);
    // A tensor alone has no name in the file.
    const named = expected.tensors.map((one) =>
      file === "bare-tensor.pt" ? { ...one, name: "tensor" } : one,
    );
    const wanted = named.filter((tensor) => !dropped.has(tensor.name));
    assert.deepEqual(
      await describe(output),
      wanted.map(({ name, dtype, shape, sha256 }) => ({ name, dtype, shape, sha256 })).sort(byName),
    );
    for (const { aliases } of files) {
      for (const [name, kept] of aliases) {
        assert.ok(expected.aliases.some((group) => group.includes(name) && group.includes(kept)));
      }
    }
  });
}

test("every tensor of a trained model is the same as in its source, strided ones too", async (t) => {
  const input = fileURLToPath(
    new URL("../../../../../../examples/quickstart/pytorch_model.bin", import.meta.url),
  );
  const output = join(temporaryFolder(t), "out");
  await convertPath(input, output);
  await using source = await openPath(input);
  await using converted = await openPath(output);
  const strided = [...source].filter((tensor) => !isContiguous(stridedViewOf(tensor)));
  assert.ok(strided.length > 0);
  for (const tensor of source) {
    const name = converted.metadata.get(tensor.name) ?? tensor.name;
    const found = converted.get(name);
    assert.equal(found.dtype, tensor.dtype);
    assert.deepEqual(found.shape, tensor.shape);
    assert.deepEqual(await found.bytes(), await tensor.bytes());
  }
});

test("progress grows to the total, over all files", async (t) => {
  const steps: [number, number, string][] = [];
  const { files } = await convertPath(fixturePath("torch/sharded"), temporaryFolder(t), {
    onProgress: (...step) => steps.push(step),
  });
  const total = files.reduce((sum, file) => sum + file.dataLength, 0);
  let last = 0;
  for (const [done, all] of steps) {
    assert.ok(done >= last);
    assert.equal(all, total);
    last = done;
  }
  assert.equal(last, total);
  assert.deepEqual(
    [...new Set(steps.map(([, , file]) => file))],
    files.map(({ path }) => path.slice(path.lastIndexOf("model-"))),
  );
});

test("a conversion that is aborted leaves nothing behind", async (t) => {
  const folder = temporaryFolder(t);
  for (const [input, output] of [
    ["torch/sharded", "new/out"],
    ["torch/state-dict.pt", "out.safetensors"],
  ] as const) {
    const controller = new AbortController();
    const { signal } = controller;
    const onProgress = (): void => controller.abort();
    const conversion = convertPath(fixturePath(input), join(folder, output), { signal, onProgress });
    await assert.rejects(conversion, { name: "AbortError" });
    assert.deepEqual(readdirSync(folder), []);
    await assert.rejects(convertPath(fixturePath(input), join(folder, output), { signal }), {
      name: "AbortError",
    });
    assert.deepEqual(readdirSync(folder), []);
  }
});

test("metadata of the caller goes into every file; a tied tensor of that name is written in full", async (t) => {
  const folder = temporaryFolder(t);
  const metadata = { source: "here", copy: "a key that is also the name of a tied tensor" };
  await convertPath(fixturePath("torch/tied.pt"), join(folder, "out"), { metadata });
  await using checkpoint = await openPath(join(folder, "out"));
  assert.ok(checkpoint.has("copy"));
  assert.equal(checkpoint.metadata.get("format"), "pt");
  assert.equal(checkpoint.metadata.get("source"), "here");
  assert.equal(checkpoint.metadata.get("copy"), metadata.copy);
});

test("the result names files, sizes and the index", async (t) => {
  const folder = temporaryFolder(t);
  cpSync(fixturePath("torch/sharded"), folder, { recursive: true });
  const { inputs, files, index } = await convertPath(join(folder, "pytorch_model.bin.index.json"));
  assert.equal(index, join(folder, "model.safetensors.index.json"));
  assert.equal(files.length, 3);
  for (const { path, byteLength } of [...inputs, ...files])
    assert.equal(readFileSync(path).length, byteLength);
  assert.deepEqual(
    files.flatMap((file) => file.inputs),
    inputs.map(({ path }) => path),
  );
  const whole = JSON.parse(readFileSync(index, "utf8"));
  assert.equal(
    whole.metadata.total_size,
    files.reduce((sum, file) => sum + file.dataLength, 0),
  );
  assert.deepEqual(await describe(folder), await describe(index));
});

test("what is safetensors already, or no weights at all, is told apart", async (t) => {
  const folder = temporaryFolder(t);
  const output = join(folder, "model.safetensors");
  await convertPath(fixturePath("torch/state-dict.pt"), output);
  await assert.rejects(convertPath(output, join(folder, "again")), { code: "UNSUPPORTED" });
  await assert.rejects(convertPath(folder), { code: "UNSUPPORTED" });
  await assert.rejects(convertPath(fixturePath("torch/expected.json"), output), { name: "SafetensorsError" });
  await assert.rejects(convertPath(join(folder, "missing")), { code: "NOT_FOUND" });
});

test("only what the limit allows is expanded", async (t) => {
  const bomb = fixturePath("torch/expansion-bomb.pt");
  const output = join(temporaryFolder(t), "out");
  await assert.rejects(convertPath(bomb, output), { code: "LIMIT_EXCEEDED" });
});
