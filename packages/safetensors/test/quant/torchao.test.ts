import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { openSafetensors } from "../../src/checkpoint/safetensors.ts";
import { fromBytes } from "../../src/source/memory.ts";
import { fixture } from "../fixtures.ts";
import { checkCase, checkCuts, checkDamaged, foundIn, openCase, storedIn } from "./others.ts";

async function metadataOf(name: string): Promise<Record<string, string>> {
  const checkpoint = await openSafetensors(fromBytes(fixture(`quant/${name}/model.safetensors`)));
  return Object.fromEntries(checkpoint.metadata);
}

describe("torchao", () => {
  it("gives the values of its classes", async () => {
    const { quantization } = await checkCase("torchao-bfloat16");
    const notes = [...quantization.weights.values()].map((weight) => weight.notes[0]);
    assert.deepEqual(
      new Set(notes),
      new Set(["Int8Tensor", "Float8Tensor", "IntxUnpackedToInt8Tensor", "Int4Tensor"]),
    );
  });

  it("is cut", async () => checkCuts(await openCase("torchao-bfloat16"), 12));

  it("reads the names of large models", async () => {
    const stored = await storedIn("torchao-bfloat16");
    const metadata = await metadataOf("torchao-bfloat16");
    const names = Array.from({ length: 40_000 }, (_, i) => `model.layers.${i}.self_attn.weight`);
    const all = JSON.stringify([...names, "model.int8.weight"]);
    const { quantization } = await foundIn(stored, {}, { ...metadata, tensor_names: all });
    assert.deepEqual([...quantization.weights.keys()], ["model.int8.weight"]);
  });

  it("refuses classes by name", async () => {
    const stored = await storedIn("torchao-bfloat16");
    const metadata = await metadataOf("torchao-bfloat16");
    metadata["model.int4.weight"] = metadata["model.int4.weight"]!.replace(
      "Int4Tensor",
      "Int4TilePackedTo4dTensor",
    );
    const { quantization } = await foundIn(stored, {}, metadata);
    assert.deepEqual(quantization.unsupported[0]!.names, [
      "model.int4._weight_qdata",
      "model.int4._weight_scale",
      "model.int4._weight_zero_point",
    ]);
    assert.match(quantization.unsupported[0]!.why, /^Int4TilePackedTo4dTensor: .*tiled/);
  });

  it("takes nothing on trust that stands in metadata", async () => {
    const stored = await storedIn("torchao-bfloat16");
    const honest = await metadataOf("torchao-bfloat16");
    const own = "model.int8.weight";
    for (const [key, text] of [
      ["tensor_names", "{"],
      ["tensor_names", '{"__proto__":["model.int8.weight"]}'],
      ["tensor_names", "[1,null,{},[]]"],
      [own, "null"],
      [own, '{"_type":"__proto__","_data":{}}'],
      [own, honest[own]!.replace("[1, 64]", "[0, 64]")],
      [own, honest[own]!.replace("[1, 64]", "[1, -64]")],
      [own, honest[own]!.replace("[1, 64]", "[7, 5]")],
      [own, honest[own]!.replace("Int8Tensor", "Float8Tensor")],
      [own, `${"[".repeat(5000)}${"]".repeat(5000)}`],
    ] as const) {
      const { quantization } = await foundIn(stored, {}, { ...honest, [key]: text });
      assert.equal(quantization.weights.has(own), false, text.slice(0, 80));
    }
    await checkDamaged("torchao-bfloat16", honest);
  });
});
