import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { decodePiece } from "../../src/quant/dense-source.ts";
import { checkCase, checkCuts, checkDamaged, foundIn, storedIn } from "./others.ts";

const NAME = "model.layers.0.q_proj.weight";

describe("BitNet", () => {
  it("gives the values that transformers computes with", async () => checkCuts(await checkCase("bitnet")));

  it("is times the scale, if config.json says so", async () => {
    const stored = await storedIn("bitnet");
    stored["model.layers.0.q_proj.weight_scale"] = {
      dtype: "F32",
      shape: [1],
      data: new Uint8Array(Float32Array.of(3).buffer),
    };
    for (const [linear_class, step] of [
      ["autobitlinear", 3],
      ["bitlinear", Math.fround(1 / 3)],
    ] as const) {
      const config = { quantization_config: { quant_method: "bitnet", linear_class } };
      const { checkpoint, quantization } = await foundIn(stored, { "config.json": config });
      const weight = quantization.weights.get(NAME)!;
      const values = await decodePiece(weight, (name) => checkpoint.get(name), []);
      assert.deepEqual(new Set(values.map(Math.abs)), new Set([0, step]));
    }
  });

  it("is found by its configuration only: bytes with a scale are many things", async () => {
    const { quantization } = await foundIn(await storedIn("bitnet"));
    assert.equal(quantization.weights.size, 0);
  });

  it("stands damage", async () => checkDamaged("bitnet"));
});
