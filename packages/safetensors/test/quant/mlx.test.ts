import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { checkCase, checkCuts, checkDamaged, configOf, foundIn, openCase, storedIn } from "./others.ts";

describe("MLX", () => {
  it("gives the values of affine weights, and of modules that have settings of their own", async () => {
    const { quantization } = await checkCase("mlx-affine-3-float32");
    const of = (name: string) => quantization.weights.get(`${name}.weight`)!;
    assert.deepEqual([of("embed_tokens").bits, of("layers.1.down_proj").bits], [3, 8]);
    assert.equal(quantization.weights.has("layers.0.up_proj.weight"), false);
    assert.equal(of("embed_tokens").dense, "F32");
  });

  it("gives the values of 16-bit scales but for the rounding of the product", async () => {
    await checkCase("mlx-affine-3-bfloat16");
  });

  for (const mode of ["mxfp4-4", "nvfp4-4", "mxfp8-8"])
    it(`gives the values of mode ${mode}`, async () => checkCuts(await checkCase(`mlx-${mode}-float32`)));

  it("is cut by rows, and by words and groups", async () =>
    checkCuts(await openCase("mlx-affine-3-float32"), 20));

  it("needs its configuration: sizes do not tell bits", async () => {
    const { quantization } = await foundIn(await storedIn("mlx-affine-3-float32"));
    assert.equal(quantization.weights.size, 0);
    assert.match(quantization.problems[0]!.text, /without "quantization" in config.json/);
  });

  it("is a problem if sizes and configuration disagree", async () => {
    const stored = await storedIn("mlx-affine-3-float32");
    for (const [quantization, expected] of [
      [{ bits: 4, group_size: 32 }, /expected \[8,/],
      [{ bits: 7, group_size: 32 }, /no bits/],
      [{ bits: 3, group_size: -32 }, /no bits/],
      [{ bits: 3, group_size: 32, mode: "x" }, /mode/],
      [{ bits: 8, group_size: 32, mode: "mxfp4" }, /4 bits in groups of 32/],
      [{ bits: 3, group_size: 32, embed_tokens: false }, /says that it is not/],
    ] as const) {
      const found = await foundIn(stored, { "config.json": { quantization } });
      assert.equal(found.quantization.weights.has("embed_tokens.weight"), false);
      const problem = found.quantization.problems.find(({ name }) => name === "embed_tokens.weight");
      assert.match(problem!.text, expected);
    }
    assert.equal((await foundIn(stored, configOf("mlx-affine-3-float32"))).quantization.weights.size, 4);
    await checkDamaged("mlx-affine-3-float32");
    await checkDamaged("mlx-mxfp8-8-float32");
  });
});
