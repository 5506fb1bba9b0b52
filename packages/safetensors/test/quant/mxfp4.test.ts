import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { dequantized } from "../../src/quant/dequantize.ts";
import { checkCase, checkCuts, checkDamaged, configOf, foundIn, storedIn } from "./others.ts";

describe("MXFP4 of gpt-oss", () => {
  it("is what transformers makes of it: inputs before outputs", async () => {
    const { checkpoint, quantization } = await checkCase("gpt-oss");
    const weight = quantization.weights.get("model.layers.0.mlp.experts.gate_up_proj")!;
    assert.deepEqual([weight.shape, weight.transposed], [[3, 12, 64], true]);
    assert.deepEqual(dequantized(checkpoint, quantization).get(weight.name).shape, [3, 64, 12]);
    assert.deepEqual([weight.bits, weight.group, weight.dense], [4, [32], "BF16"]);
  });

  it("is found under OpenAI's own names, in their order, and without a configuration", async () => {
    await checkCase("gpt-oss-original");
    const { quantization } = await foundIn(await storedIn("gpt-oss-original"));
    for (const { transposed } of quantization.weights.values()) assert.equal(transposed, undefined);
    assert.deepEqual(
      [...quantization.weights.keys()],
      [
        "block.0.mlp.mlp1_weight",
        "block.0.mlp.mlp2_weight",
        "block.1.mlp.mlp1_weight",
        "block.1.mlp.mlp2_weight",
      ],
    );
  });

  it("is cut by experts, rows and blocks", async () => checkCuts(await checkCase("gpt-oss"), 20));

  it("has the values of the specification: each code, the smallest and the largest scale, NaN", async () => {
    const codes = Uint8Array.from({ length: 16 }, (_, i) => ((2 * (i % 8) + 1) << 4) | (2 * (i % 8)));
    const stored = {
      "w.blocks": { dtype: "U8", shape: [1, 3, 1, 16], data: new Uint8Array([...codes, ...codes, ...codes]) },
      "w.scales": { dtype: "U8", shape: [1, 3, 1], data: Uint8Array.of(0, 127, 255) },
    };
    const { checkpoint, quantization } = await foundIn(stored);
    const values = await dequantized(checkpoint, quantization, { dtype: "F32" }).get("w").toFloat32();
    const table = [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0, -0.5, -1, -1.5, -2, -3, -4, -6];
    assert.deepEqual(
      [...values.subarray(0, 16)],
      table.map((value) => value * 2 ** -127),
    );
    assert.deepEqual([...values.subarray(32, 48)], table);
    assert.ok(values.subarray(64).every(Number.isNaN));
  });

  it("is a problem if blocks and scales do not fit", async () => {
    const stored = await storedIn("gpt-oss");
    const name = "model.layers.0.mlp.experts.down_proj_scales";
    delete stored[name];
    const { quantization } = await foundIn(stored, configOf("gpt-oss"));
    assert.equal(quantization.weights.size, 3);
    assert.match(quantization.problems[0]!.text, /down_proj_scales" is missing, expected U8 \[3,8,1\]/);
    await checkDamaged("gpt-oss");
  });
});
