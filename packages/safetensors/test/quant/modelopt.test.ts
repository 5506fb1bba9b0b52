import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { any, assertDense, assertHostile, assertPieces, casesOf, foundAmong, shown } from "./fp8-cases.ts";

const cases = await casesOf("modelopt");
const config = (more: object) => ({ "hf_quant_config.json": { quantization: more } });
const nvfp4 = {
  "l.weight": any("U8", 4, 16),
  "l.weight_scale": any("F8_E4M3", 4, 2),
  "l.weight_scale_2": any("F32"),
};

describe("weights of ModelOpt", () => {
  for (const one of cases) it(`are what the formulas give: ${one.title}`, () => assertDense(one));

  it("are cut with their parts, which are a weight again", async () => {
    for (const one of cases) await assertPieces(one, 3);
  });

  it("are known by their tensors without a configuration", async () => {
    const found = await foundAmong(nvfp4);
    assert.deepEqual(found.weights.get("l.weight")?.notes, ["NVFP4"]);
    assert.deepEqual(found.weights.get("l.weight")?.shape, [4, 32]);
  });

  it("have the groups that the configuration says, for all or for a layer", async () => {
    const wrong = await foundAmong(nvfp4, config({ quant_algo: "NVFP4", group_size: 32 }));
    assert.match(
      shown(wrong),
      /^l\.weight scales "l\.weight_scale" are F8_E4M3 of shape \[4,2\], expected .*\[4,1\]/,
    );
    const layers = { l: { quant_algo: "NVFP4", group_size: 16 } };
    const mixed = await foundAmong(
      nvfp4,
      config({ quant_algo: "MIXED_PRECISION", quantized_layers: layers }),
    );
    assert.equal(shown(mixed), "");
    assert.equal(mixed.weights.size, 1);
  });

  it("are not passed over where the tensors have other names", async () => {
    const fused = {
      "e.gate_up_proj": any("U8", 2, 4, 16),
      "e.gate_up_proj_weight_scale": any("F8_E4M3", 2, 4),
    };
    const found = await foundAmong(fused, config({ quant_algo: "NVFP4" }));
    assert.match(shown(found), /^e\.gate_up_proj is U8, and no scale of it is known/);
  });

  it("need the second scale", async () => {
    const { "l.weight_scale_2": _, ...rest } = nvfp4;
    const found = await foundAmong(rest, config({ quant_algo: "NVFP4" }));
    assert.match(shown(found), /has no weight_scale_2/);
  });

  it("are refused by name where the stored weight is not all", async () => {
    const svd = { ...nvfp4, "l.svdquant_lora_a": any("BF16", 2, 32), "l.svdquant_lora_b": any("BF16", 4, 2) };
    const refused = await foundAmong(svd, config({ quant_algo: "NVFP4_SVD" }));
    assert.equal(shown(refused), "modelopt (NVFP4_SVD)");
    assert.deepEqual(new Set(refused.unsupported[0]!.names), new Set(Object.keys(svd)));
    const awq = {
      "l.weight": any("U8", 4, 32),
      "l.weight_scale": any("BF16", 8, 1),
      "l.weight_scale_2": any("F32"),
    };
    assert.equal(shown(await foundAmong(awq, config({ quant_algo: "W4A8_AWQ" }))), "modelopt (W4A8_AWQ)");
  });

  it("are nothing but problems whatever the headers say", async () => {
    for (const one of cases) await assertHostile(one, 3);
  });
});
