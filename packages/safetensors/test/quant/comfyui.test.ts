import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { checkCase, checkCuts, checkDamaged, foundIn, storedIn } from "./others.ts";

const json = (value: unknown): { dtype: string; shape: number[]; data: Uint8Array } => {
  const data = new TextEncoder().encode(JSON.stringify(value));
  return { dtype: "U8", shape: [data.length], data };
};

describe("ComfyUI", () => {
  it("gives the values of its formats, with scales in tiles", async () => {
    const found = await checkCase("comfyui");
    const { weights } = found.quantization;
    assert.deepEqual(weights.get("blocks.mlp.weight")!.shape, [144, 64]);
    assert.deepEqual(weights.get("blocks.out.weight")!.notes, [
      "nvfp4",
      "scales in tiles",
      "12 rows of padding",
    ]);
    await checkCuts(found);
  });

  it("finds what the header's metadata state, and the older marker", async () => {
    await checkCase("comfyui-metadata");
    const { quantization } = await checkCase("comfyui-scaled-fp8");
    assert.deepEqual([...quantization.extras], ["net.scaled_fp8"]);
    assert.deepEqual(quantization.weights.get("net.a.weight")!.besides, ["net.a.scale_input"]);
  });

  it("refuses formats by name", async () => {
    const stored = await storedIn("comfyui");
    for (const fields of [{ format: "convrot_w4a4" }, { format: "int8_tensorwise", convrot: true }]) {
      stored["blocks.one.comfy_quant"] = json(fields);
      const { quantization } = await foundIn(stored);
      assert.match(quantization.unsupported[0]!.why, /rotated.*comfy-kitchen/);
      assert.deepEqual(quantization.unsupported[0]!.names.length, 3);
    }
  });

  it("takes nothing on trust that stands in JSON", async () => {
    const stored = await storedIn("comfyui");
    for (const value of [null, [], { format: 1 }, { format: "__proto__" }, { format: "nvfp4" }, {}]) {
      const { quantization } = await foundIn({ ...stored, "blocks.one.comfy_quant": json(value) });
      assert.equal(quantization.weights.has("blocks.one.weight"), false);
      assert.equal(quantization.problems[0]!.name.startsWith("blocks.one."), true);
    }
    await checkDamaged("comfyui");
  });
});
