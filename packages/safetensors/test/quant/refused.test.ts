import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { foundIn, type Stored } from "./others.ts";

const one = (dtype = "U8"): Stored[string] => ({
  dtype,
  shape: [4],
  data: new Uint8Array(dtype === "U8" ? 4 : 16),
});

const MODULES: Readonly<Record<string, Readonly<Record<string, Stored[string]>>>> = {
  exl3: { trellis: one(), suh: one(), svh: one() },
  exl2: { q_weight: one(), q_scale: one(), q_invperm: one() },
  marlin: { B: one("I32"), s: one(), workspace: one() },
  eetq: { qweight: one(), weight_scales: one() },
  aqlm: { codes: one(), codebooks: one(), scales: one() },
  vptq: { indices: one(), "centroids.weight": one(), perm: one() },
  nunchaku: { qweight: one(), wscales: one(), proj_down: one(), proj_up: one(), smooth_factor: one() },
  "quip#": { Qidxs: one(), SU: one(), SV: one() },
  spqr: { dense_weights: one(), row_offsets: one(), col_vals: one() },
};

describe("schemes that are refused", () => {
  for (const [scheme, tensors] of Object.entries(MODULES))
    it(`${scheme}: by its tensors, with a reason, and what to take instead`, async () => {
      const stored: Stored = {};
      for (const layer of [0, 1])
        for (const [last, tensor] of Object.entries(tensors)) stored[`layers.${layer}.up.${last}`] = tensor;
      stored["norm.weight"] = one("F32");
      const { quantization } = await foundIn(stored);
      assert.equal(quantization.unsupported.length, 1);
      const [{ scheme: name, why, names }] = quantization.unsupported as [
        (typeof quantization.unsupported)[0],
      ];
      assert.equal(name, scheme);
      assert.match(why, /: take /);
      assert.deepEqual(new Set(names), new Set(Object.keys(stored).filter((key) => key !== "norm.weight")));
      assert.equal(quantization.weights.size, 0);
      assert.deepEqual(quantization.problems, []);
    });

  it("by the configuration, whatever the tensors are called", async () => {
    const configs = { "config.json": { quantization_config: { quant_method: "aqlm" } } };
    const { quantization } = await foundIn({ "a.odd": one() }, configs);
    assert.deepEqual(
      quantization.unsupported.map(({ scheme, names }) => [scheme, names]),
      [["aqlm", []]],
    );
  });

  it("not if a name alone is the same", async () => {
    const { quantization } = await foundIn({ "a.indices": one(), "b.B": one(), "c.codes": one() });
    assert.deepEqual(quantization.unsupported, []);
  });
});
