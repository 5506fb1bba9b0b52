import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import type { FloatDtype } from "../../src/dtype/cast.ts";
import { dequantized } from "../../src/quant/dequantize.ts";
import { findQuantized } from "../../src/quant/find.ts";
import { quantizedConfig } from "../../src/quant/make/config.ts";
import { nvfp4GlobalScale } from "../../src/quant/make/fp4.ts";
import type { StoredPart } from "../../src/quant/make/quantizer.ts";
import { type QuantizerOptions, quantizerOf } from "../../src/quant/make/quantizer-of.ts";
import { viewOf } from "../parallel/tensors.ts";
import { numbers, raises } from "../support.ts";

const SCHEMES = [
  "fp8-dynamic",
  "fp8-tensor",
  "fp8-block",
  "gptq-int2-g64",
  "gptq-int3-g128-asym",
  "gptq-int4-g128",
  "gptq-int8",
  "awq-int4-g128",
  "w4a16",
  "w8a16",
  "ct-int3-g32",
  "ct-int4-g32-asym",
  "ct-int8",
  "mxfp4",
  "nvfp4",
  "nf4",
];

/** Sums of uniform numbers, which are nearly normal. */
function values(seed: number, length: number): Float32Array {
  const next = numbers(seed);
  return Float32Array.from({ length }, () => (next() + next() + next() - 1.5 * 2 ** 32) / 2 ** 32);
}

/** What the library reads of a weight that it has quantised. */
async function readBack(
  scheme: string,
  options: QuantizerOptions,
  dense: Float32Array,
  shape: readonly number[],
  dtype: FloatDtype,
): Promise<Float32Array> {
  const quantizer = quantizerOf(scheme, options);
  const parts = quantizer.quantize(dense, shape, dtype);
  const views = new Map(
    Array.from(parts, ([role, { dtype, shape, bytes }]) => [`layer.${role}`, viewOf(dtype, shape, bytes)]),
  );
  const index = { size: views.size, names: () => views.keys(), find: (name: string) => views.get(name) };
  const stored = new Checkpoint({ format: "test", tensors: index });
  const names = { quantized: ["layer"], dense: [], producer: "test:1" };
  const { quantizationConfig } = quantizedConfig({ scheme: quantizer.scheme, dtype, ...names });
  const configs = { "config.json": { quantization_config: quantizationConfig } };
  const found = await findQuantized(stored, { configs });
  assert.deepEqual(found.problems, []);
  return dequantized(stored, found, { dtype: "F32" }).get("layer.weight").toFloat32();
}

describe("quantisers", () => {
  it("store what they describe, in the same order", () => {
    const scheme = fc.constantFrom(...SCHEMES);
    const dtype = fc.constantFrom<FloatDtype>("F32", "BF16", "F16", "F64");
    const size = fc.constantFrom(1, 8, 32, 48, 128, 136);
    fc.assert(
      fc.property(scheme, dtype, size, size, fc.integer(), (name, dtype, rows, columns, seed) => {
        const quantizer = quantizerOf(name);
        const described = quantizer.describe([rows, columns], dtype);
        const dense = values(seed, rows * columns);
        if (typeof described === "string") {
          assert.throws(() => quantizer.quantize(dense, [rows, columns], dtype), raises("UNSUPPORTED"));
          return;
        }
        const parts = quantizer.quantize(dense, [rows, columns], dtype);
        const stored = Array.from(parts, ([role, { dtype, shape }]) => ({ role, dtype, shape }));
        assert.deepEqual(stored, described);
      }),
      { seed: 42, numRuns: 60 },
    );
  });

  it("state one scale for all in one form, however many rows it is for", () => {
    for (const rows of [1, 2]) {
      const described = quantizerOf("fp8-tensor").describe([rows, 8], "BF16") as readonly StoredPart[];
      assert.deepEqual(described[1], { role: "weight_scale", dtype: "BF16", shape: [1] });
    }
  });

  for (const [scheme, most] of [
    ["fp8-dynamic", 0.03],
    ["fp8-tensor", 0.03],
    ["fp8-block", 0.03],
    ["gptq-int2-g64", 0.6],
    ["gptq-int3-g128-asym", 0.2],
    ["gptq-int4-g128", 0.11],
    ["gptq-int8", 0.006],
    ["awq-int4-g128", 0.11],
    ["w4a16", 0.11],
    ["ct-int4-g32-asym", 0.08],
    ["ct-int8", 0.006],
    ["mxfp4", 0.13],
    ["nvfp4", 0.11],
    ["nf4", 0.1],
  ] as const) {
    it(`${scheme}: the library reads it, and it is near`, async () => {
      const dense = values(7, 128 * 128);
      const back = await readBack(scheme, {}, dense, [128, 128], "BF16");
      const norm = (all: Float32Array): number => Math.sqrt(all.reduce((sum, value) => sum + value ** 2, 0));
      const error = norm(dense.map((value, i) => value - back[i]!)) / norm(dense);
      assert.ok(error > most / 3 && error < most, `an error of ${error}`);
    });
  }

  it("zeros stay zeros", async () => {
    for (const scheme of SCHEMES) {
      const back = await readBack(scheme, {}, new Float32Array(128 * 128), [128, 128], "F16");
      assert.deepEqual([...new Set(back)], [0], scheme);
    }
  });

  it("mxfp4: the rules for scales, from least to greatest", () => {
    // 7 is 1.75 * 4, 5 is between, 4 a power of two; 6 is the largest code.
    const dense = new Float32Array(4 * 32);
    for (const [row, amax] of [4, 5, 6, 7].entries()) dense[row * 32] = amax;
    const exponents = (scaleRule: QuantizerOptions["scaleRule"]): number[] => [
      ...quantizerOf("mxfp4", { scaleRule }).quantize(dense, [4, 32], "F32").get("weight_scale")!.bytes,
    ];
    assert.deepEqual(exponents("floor"), [127, 127, 127, 127]);
    assert.deepEqual(exponents("even"), [127, 127, 127, 128]);
    assert.deepEqual(exponents("ceil"), [127, 128, 128, 128]);
    assert.deepEqual(exponents("rceil"), [127, 127, 127, 128]);
    assert.deepEqual(exponents(undefined), exponents("even"));
  });

  it("nvfp4: a global scale for several weights", () => {
    const scale = nvfp4GlobalScale(4, "F32");
    assert.equal(scale, 672);
    const parts = quantizerOf("nvfp4", { globalScale: scale }).quantize(values(1, 512), [16, 32], "F32");
    assert.deepEqual(
      new Float32Array(parts.get("weight_global_scale")!.bytes.slice().buffer),
      Float32Array.of(672),
    );
    assert.equal(nvfp4GlobalScale(0, "F32"), 1);
    for (const globalScale of [0, -1, Number.NaN, 1e39])
      assert.throws(() => quantizerOf("nvfp4", { globalScale }), raises("UNSUPPORTED", /global scale/));
  });

  it("gptq: no zero point of 0, which readers understand in two ways", async () => {
    const dense = values(3, 32 * 128).map(Math.abs);
    const zeros = quantizerOf("gptq-int4-g128-asym").quantize(dense, [32, 128], "F32").get("qzeros")!;
    assert.deepEqual([...new Set(zeros.bytes)], [0]);
    const back = await readBack("gptq-int4-g128-asym", {}, dense, [32, 128], "F32");
    const step = Math.max(...dense) / 14;
    for (const [i, value] of dense.entries()) assert.ok(Math.abs(value - back[i]!) <= 0.51 * step);
  });

  it("names the element that has no code", () => {
    for (const scheme of SCHEMES) {
      for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
        const dense = values(1, 128 * 128);
        dense[2 * 128 + 5] = value;
        const shown = new RegExp(`: element \\[2, 5\\] is ${value}`);
        assert.throws(
          () => quantizerOf(scheme).quantize(dense, [128, 128], "F32"),
          raises("UNSUPPORTED", shown),
        );
      }
    }
  });

  it("refuses shapes that do not fit, with the reason", () => {
    const why = (scheme: string, ...shape: number[]): unknown => quantizerOf(scheme).describe(shape, "BF16");
    assert.equal(why("w4a16", 64, 100), "100 inputs are no multiple of the group of 128");
    assert.equal(why("gptq-int3", 64, 100), "100 inputs are no multiple of 32, which fill words");
    assert.equal(why("gptq-int4-g32", 60, 128), "60 outputs are no multiple of 8, which fill words");
    assert.equal(why("awq-int4-g64", 60, 128), "60 outputs are no multiple of 8, which fill words");
    assert.equal(why("fp8-block", 192, 128), "[192, 128] is no whole number of blocks of 128 by 128");
    assert.equal(why("mxfp4", 64, 48), "48 inputs are no multiple of the group of 32");
    assert.equal(why("nvfp4", 64, 40), "40 inputs are no multiple of the group of 16");
    for (const shape of [[], [8], [2, 8, 8], [0, 128], [128, 0]])
      assert.equal(why("nf4", ...shape), `a weight of shape [${shape}] is no matrix that has elements`);
    const tooFew = () => quantizerOf("nf4").quantize(new Float32Array(7), [2, 4], "F32");
    assert.throws(tooFew, raises("SIZE_MISMATCH", /7 values for a weight of shape \[2,4\]/));
  });

  it("nf4 takes any number of elements", async () => {
    for (const columns of [1, 3, 63, 65]) {
      const dense = values(columns, 3 * columns);
      const parts = quantizerOf("nf4").quantize(dense, [3, columns], "F32");
      assert.equal(parts.get("weight")!.bytes.length, Math.ceil((3 * columns) / 2));
      assert.equal(parts.get("weight.absmax")!.shape[0], Math.ceil((3 * columns) / 64));
    }
  });

  it("knows names in general, and refuses others", () => {
    assert.equal(quantizerOf("w4a16").scheme, "ct-int4-g128");
    assert.equal(quantizerOf("w4a16-asym").scheme, "ct-int4-g128-asym");
    assert.equal(quantizerOf("gptq-int8-g64").scheme, "gptq-int8-g64");
    assert.equal(quantizerOf("gptq-int4", { symmetric: false }).scheme, "gptq-int4-asym");
    for (const name of [
      "",
      "int4",
      "gptq-int5",
      "gptq-int4-g0",
      "awq-int8",
      "awq-int4-asym",
      "fp8",
      "__proto__",
    ])
      assert.throws(() => quantizerOf(name), raises("UNSUPPORTED", /no scheme to quantise in/));
    const wrong: [string, QuantizerOptions][] = [
      ["nf4", { symmetric: true }],
      ["awq-int4-g128", { symmetric: true }],
      ["nvfp4", { scaleRule: "floor" }],
      ["mxfp4", { globalScale: 1 }],
    ];
    for (const [name, options] of wrong)
      assert.throws(() => quantizerOf(name, options), raises("UNSUPPORTED", /has no option/));
  });
});
