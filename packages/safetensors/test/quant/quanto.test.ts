import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { checkCase, checkCuts, checkDamaged, foundIn, storedIn } from "./others.ts";

describe("quanto", () => {
  it("gives the values of its types, packed or not", async () => {
    const found = await checkCase("quanto-float32");
    const { weights } = found.quantization;
    assert.deepEqual(weights.get("qint2.down_proj.weight")!.shape, [192, 32]);
    assert.deepEqual(weights.get("qint8.up_proj.weight")!.besides, [
      "qint8.up_proj.input_scale",
      "qint8.up_proj.output_scale",
    ]);
    await checkCuts(found);
  });

  it("does not guess a shape", async () => {
    const { quantization } = await foundIn(await storedIn("quanto-float32"));
    assert.equal(quantization.weights.has("qint4.lm_head.weight"), true);
    assert.equal(quantization.weights.has("qint4.up_proj.weight"), false);
    const problem = quantization.problems.find(({ name }) => name === "qint4.up_proj.weight");
    assert.match(problem!.text, /hidden_size/);
  });

  it("stands damage", async () => checkDamaged("quanto-float32"));
});
