import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import type { Dtype } from "../../src/dtype/dtype.ts";
import { type ConfigFiles, quantConfigOf } from "../../src/quant/config.ts";
import { findQuantized } from "../../src/quant/find.ts";
import { tensorOf } from "../parallel/tensors.ts";

type Named = readonly [name: string, dtype: Dtype, shape: readonly number[]];

function find(tensors: readonly Named[], quantization?: object) {
  const views = new Map(tensors.map(([name, dtype, shape]) => [name, tensorOf(name, shape, dtype).view]));
  const index = { size: views.size, names: () => views.keys(), find: (name: string) => views.get(name) };
  const configs: ConfigFiles = quantization ? { "config.json": { quantization_config: quantization } } : {};
  return findQuantized(new Checkpoint({ format: "test", tensors: index }), { configs });
}

const FP8 = { quant_method: "fp8", weight_block_size: [4, 4] };
const whole = (module: string): Named[] => [
  [`${module}.weight`, "F8_E4M3", [8, 8]],
  [`${module}.weight_scale_inv`, "F32", [2, 2]],
];

describe("what is left of quantised weights", () => {
  it("is told, as it would pass for dense weights or mean nothing", async () => {
    const { weights, problems } = await find([...whole("a"), whole("b")[0]!, whole("c")[1]!], FP8);
    assert.deepEqual([...weights.keys()], ["a.weight"]);
    assert.deepEqual(
      problems.map(({ name }) => name),
      ["b.weight", "c.weight_scale_inv"],
    );
  });

  it("is no matter where nothing is quantised, and of integers that are no codes", async () => {
    const plain: Named[] = [
      ["a.weight", "F8_E4M3", [8, 8]],
      ["a.masked_bias", "U8", [4, 4]],
      ["ids", "I32", [4, 4]],
    ];
    assert.deepEqual((await find(plain)).problems, []);
    const { problems } = await find([...whole("b"), ...plain.slice(1)], FP8);
    assert.deepEqual(problems, []);
  });
});

describe("what files say of quantisation", () => {
  const placeOf = (files: ConfigFiles): string | undefined => quantConfigOf(files)?.place;

  it("is found in all places, the most telling first", () => {
    const own = { bits: 4 };
    assert.equal(
      placeOf({ "config.json": { quantization_config: own }, "quant_config.json": own }),
      "config.json: quantization_config",
    );
    assert.equal(
      placeOf({ "config.json": { text_config: { quantization_config: own } } }),
      "config.json: text_config.quantization_config",
    );
    assert.equal(placeOf({ "config.json": { quantization: own } }), "config.json: quantization");
    assert.equal(placeOf({ "config.json": {}, "quantize_config.json": own }), "quantize_config.json");
    assert.equal(placeOf({ "params.json": { quantization: own } }), "params.json: quantization");
    assert.equal(placeOf({ "config.json": { model_type: "llama" } }), undefined);
  });

  it("has a method, by its own words or by the name of the file", () => {
    const methodOf = (files: ConfigFiles): string | undefined => quantConfigOf(files)?.method;
    assert.equal(methodOf({ "config.json": { quantization_config: { quant_method: "GPTQ" } } }), "gptq");
    assert.equal(methodOf({ "quantize_config.json": { bits: 4 } }), "gptq");
    assert.equal(methodOf({ "quant_config.json": { w_bit: 4 } }), "awq");
    assert.equal(methodOf({ "hf_quant_config.json": { quantization: { quant_algo: "FP8" } } }), "modelopt");
  });

  it("is nothing if it is no object", () => {
    for (const value of [null, 1, "x", [], [{}]]) {
      assert.equal(placeOf({ "config.json": value, "params.json": value }), undefined);
      assert.equal(placeOf({ "config.json": { quantization_config: value } }), undefined);
    }
  });
});
