import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { convertPath, convertToTorch, openPath, saveFile, saveTorch } from "../../../src/node/index.ts";
import { memorySink } from "../../../src/save/index.ts";
import { groupAliases, writeTorch } from "../../../src/torch/index.ts";
import { fixturePath } from "../../fixtures.ts";
import { noise, raises, temporaryFolder } from "../../support.ts";

const folder = temporaryFolder();
const tensors = {
  a: { dtype: "F32", shape: [300, 1000], data: noise(1_200_000, 1) },
  b: { dtype: "I8", shape: [5], data: noise(5, 2) },
} as const;

async function fileOf(name: string, metadata: Record<string, string> = {}): Promise<string> {
  const path = join(folder, name);
  await saveFile(path, tensors, { metadata });
  return path;
}

describe("saveTorch", () => {
  it("writes what writeTorch writes, from memory and from a checkpoint", async () => {
    const aliases = { tied: "a" };
    const sink = memorySink();
    await writeTorch(sink, tensors, { aliases });
    const direct = join(folder, "direct.pt");
    await saveTorch(direct, tensors, { aliases });
    assert.deepEqual(new Uint8Array(readFileSync(direct)), sink.bytes());

    await using checkpoint = await openPath(await fileOf("saved.safetensors", { tied: "a" }));
    const copied = join(folder, "copied.pt");
    await saveTorch(copied, checkpoint);
    assert.deepEqual(readFileSync(copied), readFileSync(direct));
  });

  it("leaves the old file whole when it fails, and nothing else", async () => {
    const place = join(folder, "failing");
    await mkdir(place);
    const path = join(place, "model.pt");
    writeFileSync(path, "old");
    const wrong = { ...tensors, c: { dtype: "F6_E2M3", shape: [4], data: new Uint8Array(3) } } as const;
    await assert.rejects(saveTorch(path, wrong), raises("UNSUPPORTED", /"c" is F6_E2M3/));
    const short = { ...tensors, c: { dtype: "U8", shape: [4], data: new Uint8Array(3) } } as const;
    await assert.rejects(saveTorch(path, short), raises("SIZE_MISMATCH"));
    assert.deepEqual(readdirSync(place), ["model.pt"]);
    assert.equal(readFileSync(path, "utf8"), "old");
  });
});

describe("convertToTorch", () => {
  it("tells what it did", async () => {
    const input = await fileOf("model.safetensors", { format: "pt", tied: "a" });
    const output = join(folder, "model.pt");
    const seen: unknown[] = [];
    const result = await convertToTorch(input, output, {
      onProgress: (done, total, file) => seen.push([done, total, file]),
    });
    assert.deepEqual(result, {
      inputs: [{ path: input, byteLength: readFileSync(input).length }],
      output,
      byteLength: readFileSync(output).length,
      tensors: 2,
      dataLength: 1_200_005,
      aliases: new Map([["tied", "a"]]),
    });
    assert.deepEqual(seen.at(-1), [1_200_005, 1_200_005, "model.pt"]);
    await using checkpoint = await openPath(output);
    assert.deepEqual([...checkpoint.keys()].sort(), ["a", "b", "tied"]);
    assert.deepEqual(await checkpoint.get("tied").bytes(), tensors.a.data);
  });

  it("takes a checkpoint back that convertPath made, with its ties", async () => {
    for (const name of ["tied.pt", "sharded-tied"]) {
      const made = join(folder, `${name}.made`);
      await convertPath(fixturePath(`torch/${name}`), name.endsWith(".pt") ? made : `${made}/`);
      const output = join(folder, `${name}.again.pt`);
      await convertToTorch(made, output);
      await using original = await openPath(fixturePath(`torch/${name}`));
      await using again = await openPath(output);
      assert.deepEqual([...again.keys()].sort(), [...original.keys()].sort());
      for (const tensor of original) {
        const found = again.get(tensor.name);
        assert.deepEqual([found.dtype, found.shape], [tensor.dtype, tensor.shape]);
        assert.deepEqual(await found.bytes(), await tensor.bytes());
      }
      assert.ok(groupAliases(again).aliases.size > 0);
      assert.deepEqual(groupAliases(again).aliases, groupAliases(original).aliases);
    }
  });

  it("destroys nothing", async () => {
    const input = await fileOf("kept.pt");
    const bytes = readFileSync(input);
    await assert.rejects(convertToTorch(input, input), raises("IO", /is the input itself/));
    await assert.rejects(convertToTorch(input, folder), raises("IO", /is a folder/));
    await assert.rejects(
      convertToTorch(input, join(folder, "none", "x.pt")),
      raises("NOT_FOUND", /there is no folder/),
    );
    await assert.rejects(convertToTorch(join(folder, "none"), join(folder, "x.pt")), raises("NOT_FOUND"));
    const torch = fixturePath("torch/state-dict.pt");
    await assert.rejects(convertToTorch(torch, join(folder, "x.pt")), raises("NOT_SAFETENSORS"));
    assert.deepEqual(readFileSync(input), bytes);
  });

  it("leaves nothing when it is stopped", async () => {
    const place = join(folder, "stopped");
    await mkdir(place);
    const controller = new AbortController();
    const stopped = convertToTorch(await fileOf("large.safetensors"), join(place, "x.pt"), {
      signal: controller.signal,
      onProgress: () => controller.abort(new Error("enough")),
    });
    await assert.rejects(stopped, /enough/);
    assert.deepEqual(readdirSync(place), []);
  });
});
