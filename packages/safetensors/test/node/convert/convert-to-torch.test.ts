import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { verifyWritten } from "../../../src/node/convert/verify.ts";
import {
  convertPath,
  convertToTorch,
  type OneFileOptions,
  openFile,
  openPath,
  saveFile,
  saveTorch,
} from "../../../src/node/index.ts";
import { memorySink } from "../../../src/save/index.ts";
import { groupAliases, writeTorch } from "../../../src/torch/index.ts";
import { scan } from "../../../src/torch/scan/index.ts";
import { piecesOf } from "../../../src/view/tiling.ts";
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
    const text = join(folder, "text");
    writeFileSync(text, "neither of these, but long enough");
    await assert.rejects(convertToTorch(text, join(folder, "x.pt")), raises("NOT_SAFETENSORS"));
    assert.deepEqual(readFileSync(input), bytes);
  });

  it("makes a file with tensors only of a PyTorch file, with its ties", async () => {
    for (const name of ["tied.pt", "sharded-tied", "unknown-class.pt", "views.pt"]) {
      const output = join(folder, `${name}.anew.pt`);
      const input = fixturePath(`torch/${name}`);
      const { inputs, aliases } = await convertToTorch(input, output, { verify: true });
      assert.ok(inputs.every(({ report }) => report !== undefined));
      await using original = await openPath(input);
      await using anew = await openPath(output);
      assert.deepEqual([...anew.keys()].sort(), [...original.keys()].sort());
      for (const tensor of original) {
        const found = anew.get(tensor.name);
        assert.deepEqual([found.dtype, found.shape], [tensor.dtype, tensor.shape]);
        assert.deepEqual(await found.bytes(), await tensor.bytes());
      }
      assert.deepEqual(groupAliases(anew).aliases, groupAliases(original).aliases);
      assert.deepEqual(aliases, groupAliases(original).aliases);
      const source = await openFile(output);
      assert.equal((await scan(source)).verdict, "clean");
      await source.close();
    }
  });

  it("takes the options of reading, and the rules for what is written", async () => {
    const names = async (file: string, options: OneFileOptions): Promise<string[]> => {
      const output = join(folder, "chosen.pt");
      await convertToTorch(file, output, options);
      await using checkpoint = await openPath(output);
      return Array.from(checkpoint, ({ name, dtype }) => `${name} ${dtype}`).sort();
    };
    const quantized = fixturePath("torch/unreadable-quantized.pt");
    await assert.rejects(names(quantized, {}), raises("UNSUPPORTED", /quantized/));
    assert.deepEqual(await names(quantized, { quantized: "dequantize" }), ["other F32", "plain F32"]);
    assert.deepEqual(await names(quantized, { exclude: ["other"], dtype: "BF16" }), ["plain BF16"]);
    const two = fixturePath("torch/two-state-dicts.pt");
    await assert.rejects(names(two, {}), raises("AMBIGUOUS"));
    assert.equal((await names(two, { key: "generator", exclude: ["step"] })).length, 2);
    assert.equal((await names(two, { flatten: true, include: /weight/ })).length, 2);
    const bomb = fixturePath("torch/expansion-bomb.pt");
    await assert.rejects(names(bomb, {}), raises("LIMIT_EXCEEDED", /input would become/));
  });

  it("takes names in the metadata of safetensors for tensors", async () => {
    const input = await fileOf("ties.safetensors", { "module.a": "a", "module.c": "a" });
    const output = join(folder, "ties.pt");
    const only = await convertToTorch(input, output, { include: ["module.c", "b"] });
    assert.deepEqual([only.tensors, only.aliases], [2, new Map()]);
    // A choice that can be gone through only once serves as well.
    await convertToTorch(input, output, { include: ["a", "module.c"].values(), stripPrefix: "module." });
    await using checkpoint = await openPath(output);
    assert.deepEqual([...checkpoint.keys()].sort(), ["a", "c"]);
    assert.deepEqual([...groupAliases(checkpoint).aliases], [["c", "a"]]);
  });

  it("finds a damaged input, and when it verifies a damaged output", async () => {
    const damaged = new Uint8Array(readFileSync(fixturePath("torch/state-dict.pt")));
    {
      await using whole = await openPath(fixturePath("torch/state-dict.pt"));
      const [tensor] = [...whole].filter(({ byteLength }) => byteLength > 8);
      const [piece] = piecesOf(tensor!.view);
      damaged[piece!.view.bitOffset / 8 + 1]! ^= 0x10;
    }
    const input = join(folder, "damaged.bin");
    writeFileSync(input, damaged);
    for (const verify of [false, true]) {
      await assert.rejects(
        convertToTorch(input, join(folder, "seen.pt"), { verify }),
        raises("INVALID_ARCHIVE", /checksum/),
      );
    }
    assert.ok(!readdirSync(folder).includes("seen.pt"));
    // What is to be found in a new file is the disk's fault.
    await assert.rejects(
      verifyWritten(input, "new.pt", undefined),
      raises("IO", /new\.pt could not be written/),
    );
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
