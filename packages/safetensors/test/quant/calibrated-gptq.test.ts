import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { open } from "../../src/checkpoint/open.ts";
import { gptq, roundToNearest } from "../../src/quant/make/calibrated/gptq.ts";
import { factorHessian } from "../../src/quant/make/calibrated/hessian-factor.ts";
import { joinRows, type SolveOptions, solveRows } from "../../src/quant/make/calibrated/solve-rows.ts";
import { squaredErrors } from "../../src/quant/make/calibrated/squared-errors.ts";
import { fixture } from "../fixtures.ts";
import { raises } from "../support.ts";
import { inputsOf, outputError, weightOf } from "./calibrated-inputs.ts";

const COLUMNS = 128;
const weight = weightOf(32, COLUMNS, 1);
const { xtx } = inputsOf(COLUMNS, 512, 2);
const heldOut = inputsOf(COLUMNS, 512, 3).xtx;
const FORMAT = { bits: 4, group: 32, symmetric: true };

describe("GPTQ", () => {
  const CASES: Readonly<Record<string, SolveOptions & { readonly actOrder: boolean }>> = {
    plain: { bits: 4, group: 32, symmetric: true, actOrder: false },
    order: { bits: 3, group: 16, symmetric: false, actOrder: true },
    static: { bits: 4, group: 32, symmetric: false, actOrder: true, staticGroups: true },
    channel: { bits: 2, group: -1, symmetric: true, actOrder: true },
  };
  for (const [name, options] of Object.entries(CASES)) {
    it(`gives the codes of the published algorithm: ${name}`, async () => {
      const golden = await open(fixture("quant/calibrated.safetensors"));
      const data = async (of: string) => golden.get(of).data();
      const given = (await data("weight")) as Float32Array;
      const hessian = (await data("xtx")) as Float32Array;
      const found = gptq({ weight: given, hessian, columns: 64, ...options });
      assert.deepEqual(found.codes, await data(`${name}.codes`));
      assert.deepEqual(found.scales, await data(`${name}.scales`));
      assert.deepEqual(found.zeros, await data(`${name}.zeros`));
      const { groups } = found;
      const all = Int32Array.from({ length: 64 }, (_, k) =>
        typeof groups === "number" ? Math.floor(k / groups) : groups[k]!,
      );
      assert.deepEqual(all, await data(`${name}.groups`));
      assert.equal(found.note, undefined);
    });
  }

  it("loses much less than rounding, on inputs it has not seen", () => {
    const root = (options: SolveOptions & { actOrder?: boolean }): number =>
      Math.sqrt(outputError(gptq({ weight, hessian: xtx, columns: COLUMNS, ...options }), weight, heldOut));
    const rounded = Math.sqrt(outputError(roundToNearest(weight, COLUMNS, FORMAT), weight, heldOut));
    const plain = root(FORMAT);
    assert.ok(plain <= 0.6 * rounded, `${plain} of ${rounded}`);
    assert.ok(root({ ...FORMAT, actOrder: true }) <= 1.02 * plain);
    const byBits = [8, 4, 3, 2].map((bits) => root({ ...FORMAT, bits }));
    assert.deepEqual(
      byBits,
      byBits.toSorted((a, b) => a - b),
    );
    const byGroup = [16, 64, -1].map((group) => root({ ...FORMAT, group }));
    assert.deepEqual(
      byGroup,
      byGroup.toSorted((a, b) => a - b),
    );
  });

  it("says what the outputs lose, and what rounding would have", () => {
    for (const options of [
      FORMAT,
      { ...FORMAT, actOrder: true, symmetric: false },
      { ...FORMAT, group: 48 },
    ]) {
      const found = gptq({ weight, hessian: xtx, columns: COLUMNS, ...options });
      const after = outputError(found, weight, xtx);
      const before = outputError(roundToNearest(weight, COLUMNS, options), weight, xtx);
      assert.ok(Math.abs(found.error!.after / after - 1) < 1e-9);
      assert.ok(Math.abs(found.error!.before / before - 1) < 1e-9);
    }
  });

  it("solves rows on their own: in parts they are what they are together", () => {
    const factor = factorHessian(xtx, COLUMNS, { actOrder: true, shared: true })!;
    assert.ok(factor.inverse.buffer instanceof SharedArrayBuffer);
    const whole = solveRows(weight, factor, FORMAT);
    const cuts = [0, 1, 18, 32];
    const parts = cuts
      .slice(1)
      .map((to, i) => solveRows(weight.subarray(cuts[i]! * COLUMNS, to * COLUMNS), factor, FORMAT));
    const { error, ...joined } = joinRows(parts);
    const { error: wholeError, ...expected } = whole;
    assert.deepEqual(joined, expected);
    assert.ok(Math.abs(error.after / wholeError.after - 1) < 1e-12);
    assert.ok(Math.abs(error.before / wholeError.before - 1) < 1e-12);
  });

  it("chooses codes for scales as they will be stored", () => {
    const found = gptq({ weight, hessian: xtx, columns: COLUMNS, ...FORMAT, scaleDtype: "BF16" });
    const bits = new Uint32Array(found.scales.buffer);
    assert.ok(bits.every((word) => (word & 0xffff) === 0));
    assert.ok(Math.abs(found.error!.after / outputError(found, weight, xtx) - 1) < 1e-9);
  });

  it("makes the weights of inputs that are always zero zero", () => {
    const hessian = xtx.slice();
    for (let k = 0; k < COLUMNS; k++) hessian[7 * COLUMNS + k] = hessian[k * COLUMNS + 7] = 0;
    const { codes, zeros } = gptq({ weight, hessian, columns: COLUMNS, ...FORMAT });
    for (let row = 0; row < 32; row++) assert.equal(codes[row * COLUMNS + 7], zeros[row]);
  });

  it("damps more where it has to, or rounds, and says so", () => {
    // Inputs that are all the same, and no damping: singular.
    const ones = new Float32Array(16).fill(1);
    const small = weightOf(2, 4, 4);
    const damped = gptq({ weight: small, hessian: ones, columns: 4, ...FORMAT, damp: 0 });
    assert.match(damped.note!, /damping of 0: 0\.01 was used/);
    const notSo = Float32Array.from([1, 9, 0, 0, 9, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]);
    const { note, error, ...rounded } = gptq({ weight: small, hessian: notSo, columns: 4, ...FORMAT });
    assert.match(note!, /not positive definite .* rounded/);
    assert.equal(error, undefined);
    assert.deepEqual(rounded, roundToNearest(small, 4, FORMAT));
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const hessian = ones.map((one, i) => (i % 5 === 0 ? one : 0));
      hessian[5] = value;
      assert.match(gptq({ weight: small, hessian, columns: 4, ...FORMAT }).note!, /rounded/);
    }
  });

  it("refuses what it cannot do", () => {
    const of = (changes: object) => () =>
      gptq({ weight, hessian: xtx, columns: COLUMNS, ...FORMAT, ...changes });
    assert.throws(of({ columns: 64 }), raises("SIZE_MISMATCH", /4096 elements, this one has 16384/));
    assert.throws(of({ weight: weight.subarray(1) }), raises("SIZE_MISMATCH", /no whole rows of 128/));
    assert.throws(of({ bits: 9 }), raises("UNSUPPORTED", /2 to 8 bits/));
    assert.throws(of({ group: 0 }), raises("UNSUPPORTED", /0 inputs/));
    assert.throws(of({ damp: -1 }), raises("OUT_OF_RANGE", /-1/));
    const bad = weight.slice();
    bad[COLUMNS + 2] = Number.NaN;
    assert.throws(of({ weight: bad }), raises("UNSUPPORTED", /element \[1, 2\] of the weight is NaN/));
  });
});

describe("the factor of a Hessian", () => {
  it("is that of its inverse, for every size", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 140 }), fc.boolean(), fc.nat(), (size, actOrder, seed) => {
        const hessian = inputsOf(size, size, seed).xtx;
        const { inverse, order, damping } = factorHessian(hessian, size, { actOrder })!;
        // With e = a row of U, e * H * transposed(e) is 1, and rows of U do not mix.
        const damped = Float64Array.from(
          hessian,
          (value, at) => value + (at % (size + 1) === 0 ? damping : 0),
        );
        const rows = new Float64Array(size * size);
        for (let i = 0; i < size; i++)
          for (let j = i; j < size; j++) rows[i * size + (order?.[j] ?? j)] = inverse[j * size + i]!;
        for (const one of squaredErrors(rows, size, damped, size)) assert.ok(Math.abs(one - 1) < 1e-6);
        const sums = rows.slice(0, size);
        for (let at = size; at < rows.length; at++) sums[at % size]! += rows[at]!;
        assert.ok(Math.abs(squaredErrors(sums, 1, damped, size)[0]! / size - 1) < 1e-6);
      }),
      {
        seed: 42,
        numRuns: 8,
        examples: [
          [64, false, 1],
          [65, true, 2],
          [128, true, 3],
          [1, false, 4],
        ],
      },
    );
  });
});
