import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { open } from "../../src/checkpoint/open.ts";
import { CalibrationStatistics } from "../../src/quant/make/calibrated/statistics.ts";
import { type HandMade, handMade, raises } from "../support.ts";
import { inputsOf } from "./calibrated-inputs.ts";

const { xtx, absMean, absMax, count } = inputsOf(4, 16, 1);
const METADATA = { calibration_statistics: "1" };

function f32(values: Float32Array, shape: readonly number[]): HandMade {
  return { dtype: "F32", shape, data: new Uint8Array(values.slice().buffer) };
}

function tensors(module = "a.b", changes: Readonly<Record<string, HandMade>> = {}): Record<string, HandMade> {
  return {
    [`${module}.xtx`]: f32(xtx, [4, 4]),
    [`${module}.absmean`]: f32(absMean, [4]),
    [`${module}.absmax`]: f32(absMax, [4]),
    [`${module}.count`]: {
      dtype: "I64",
      shape: [1],
      data: new Uint8Array(BigInt64Array.of(BigInt(count)).buffer),
    },
    ...changes,
  };
}

async function statistics(
  of: Readonly<Record<string, HandMade>>,
  metadata: Readonly<Record<string, string>> = METADATA,
): Promise<CalibrationStatistics> {
  return new CalibrationStatistics(await open(handMade(of, metadata)));
}

describe("calibration statistics", () => {
  it("are read module by module", async () => {
    const same = { ...METADATA, same_input: JSON.stringify({ c: "a.b" }) };
    const found = await statistics(tensors(), same);
    assert.deepEqual([...found.modules()], ["a.b", "c"]);
    assert.equal(found.columns("c"), 4);
    assert.equal(found.columns("d"), undefined);
    assert.deepEqual([found.owner("c"), found.owner("a.b"), found.owner("d")], ["a.b", "a.b", undefined]);
    for (const module of found.modules())
      assert.deepEqual(await found.read(module), { xtx, absMean, absMax, count });
    await assert.rejects(found.read("d"), raises("TENSOR_NOT_FOUND", /no calibration statistics for "d"/));
  });

  it("say what they are", async () => {
    await assert.rejects(statistics(tensors(), {}), raises("UNSUPPORTED", /there is none/));
    const other = { calibration_statistics: "2" };
    await assert.rejects(statistics(tensors(), other), raises("UNSUPPORTED", /it is "2"/));
  });

  it("are complete, of the right dtypes and shapes, and nothing else", async () => {
    for (const role of ["xtx", "absmean", "absmax", "count"]) {
      const { [`a.b.${role}`]: tensor, ...rest } = tensors();
      const missing = raises("TENSOR_NOT_FOUND", /not complete/, { tensor: `a.b.${role}` });
      await assert.rejects(statistics(rest), missing);
      const flat = { ...tensor!, shape: [1, ...tensor!.shape] };
      await assert.rejects(statistics(tensors("a.b", { [`a.b.${role}`]: flat })), raises("INVALID_TENSOR"));
    }
    const ints = { "a.b.absmax": { ...tensors()["a.b.absmax"]!, dtype: "I32" } };
    const message = /"a.b.absmax" is I32 \[4\], expected F32 \[4\]/;
    await assert.rejects(statistics(tensors("a.b", ints)), raises("INVALID_TENSOR", message));
    const more = { "a.b.weight": f32(absMean, [4]) };
    await assert.rejects(statistics(tensors("a.b", more)), raises("INVALID_TENSOR", /is no statistic/));
    const none = { "a.b.xtx": f32(new Float32Array(0), [0, 0]) };
    await assert.rejects(statistics(tensors("a.b", none)), raises("INVALID_TENSOR", /expected F32 \[K,K\]/));
  });

  it("share inputs only with modules that are there", async () => {
    const CASES = [
      ["{", /is not JSON/],
      ["[]", /no JSON object/],
      ['{"c":"d"}', /"c" has the input of a module/],
      ['{"c":1}', /"c" has the input of a module/],
      ['{"a.b":"a.b"}', /"a.b", which has statistics of its own/],
    ] as const;
    for (const [text, message] of CASES) {
      const metadata = { ...METADATA, same_input: text };
      await assert.rejects(statistics(tensors(), metadata), raises("INVALID_TENSOR", message));
    }
  });

  it("can be those of inputs", async () => {
    const changed = (values: Float32Array, at: number, value: number): Float32Array => {
      const copy = values.slice();
      copy[at] = value;
      return copy;
    };
    const sums = Float32Array.from(xtx, (value) => value / count);
    const CASES: readonly (readonly [string, HandMade, RegExp])[] = [
      ["xtx", f32(changed(xtx, 5, -1), [4, 4]), /-1 on the diagonal at 1/],
      ["xtx", f32(changed(xtx, 5, Number.NaN), [4, 4]), /NaN on the diagonal/],
      ["xtx", f32(changed(xtx, 6, Number.NaN), [4, 4]), /at \[2, 1\] and NaN at \[1, 2\]/],
      ["xtx", f32(changed(xtx, 6, xtx[6]! + xtx[5]!), [4, 4]), /expected the same/],
      ["absmax", f32(changed(absMax, 2, 1.1 * Math.sqrt(xtx[10]!)), [4]), /more than the sum of all/],
      ["absmax", f32(changed(absMax, 2, 0), [4]), /expected a magnitude up to the largest, 0/],
      ["absmean", f32(changed(absMean, 0, Number.NaN), [4]), /NaN at 0/],
      ["xtx", f32(sums, [4, 4]), /more than the sum of all/],
      ["count", { dtype: "I64", shape: [1], data: new Uint8Array(8) }, /0 tokens/],
      [
        "count",
        { dtype: "I64", shape: [1], data: new Uint8Array(BigInt64Array.of(99n).buffer) },
        /sum over all/,
      ],
    ];
    for (const [role, tensor, message] of CASES) {
      const found = await statistics(tensors("a.b", { [`a.b.${role}`]: tensor }));
      await assert.rejects(found.read("a.b"), raises("INVALID_TENSOR", message));
    }
  });
});
