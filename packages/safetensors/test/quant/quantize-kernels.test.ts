import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { awqLimits } from "../../src/quant/make/calibrated/awq-limits.ts";
import { gptq } from "../../src/quant/make/calibrated/gptq.ts";
import type { Block } from "../../src/quant/make/kernels/matrices.ts";
import {
  loadQuantizeKernels,
  plainQuantizeKernels,
  type QuantizeKernels,
} from "../../src/quant/make/kernels/quantize-kernels.ts";
import { quantizerOf } from "../../src/quant/make/quantizer-of.ts";
import { gaussian, inputsOf } from "./calibrated-inputs.ts";

const wasm = await loadQuantizeKernels();
const SETTINGS = { seed: 42, numRuns: 60 };

const weightOf = (length: number): Float32Array => Float32Array.from({ length }, gaussian(7));

/** The same from both kinds of kernels. */
function assertSame(compute: (kernels: QuantizeKernels) => unknown): void {
  assert.deepEqual(compute(wasm), compute(plainQuantizeKernels));
}

it("kernels in WebAssembly are found here", () => {
  assert.equal(wasm.backend, "wasm");
});

describe("runs", () => {
  /** Numbers of all sizes, some of them special. */
  const numbersOf = (length: number, seed: number): Float32Array => {
    const next = gaussian(seed);
    const special = [0, -0, 2 ** -149, 3e38, -3e38];
    return Float32Array.from(
      { length },
      () => special[Math.abs(next() * 20) | 0] ?? next() * 2 ** (next() * 8),
    );
  };
  const shapes = [fc.integer({ min: 1, max: 70 }), fc.integer({ min: 1, max: 150 }), fc.nat()] as const;

  it("give the same bits, of any length and number", () => {
    fc.assert(
      fc.property(...shapes, fc.integer({ min: 2, max: 8 }), (runs, length, seed, bits) => {
        const values = numbersOf(runs * length, seed);
        const own = numbersOf(runs, seed + 1);
        const scales = own.map(Math.abs);
        const top = 2 ** bits - 1;
        const steps = { scales, before: own.map(Math.round), after: own.map(() => 2 ** (bits - 1)) };
        assertSame(({ runs: kernels }) => [
          kernels.largest(values, length),
          kernels.ranges(values, length),
          kernels.divideToE4M3(values, length, scales),
          kernels.multiplyToE4M3(values, length, own),
          kernels.codes(values, length, steps, top),
        ]);
      }),
      {
        ...SETTINGS,
        examples: [
          [3, 20000, 5, 4],
          [1, 100001, 6, 4],
          [33000, 1, 7, 8],
          [1, (1 << 20) + 1, 8, 4],
        ],
      },
    );
  });

  it("find what is not finite", () => {
    for (const length of [1, 7, 33, 40000]) {
      const values = numbersOf(length, length);
      for (const { runs } of [wasm, plainQuantizeKernels]) {
        assert.ok(runs.areFinite(values));
        for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
          for (const at of [0, length >> 1, length - 1]) {
            const some = values.slice();
            some[at] = bad;
            assert.ok(!runs.areFinite(some));
          }
        }
      }
    }
  });
});

describe("matrices", () => {
  /** A matrix inside a larger one. */
  const blockOf = (rows: number, columns: number, seed: number, gap: number): Block => {
    const stride = columns + gap;
    const next = gaussian(seed);
    const values = Float64Array.from({ length: rows * stride + gap }, next);
    return { values, at: gap, stride };
  };
  const triangleOf = (width: number, seed: number, gap: number): Block => {
    const block = blockOf(width, width, seed, gap);
    for (let i = 0; i < width; i++) block.values[block.at + i * (block.stride + 1)] = 2 + i / 8;
    return block;
  };
  const gap = fc.integer({ min: 0, max: 3 });
  const size = (max: number) => fc.integer({ min: 1, max });

  it("products are the same bits, and touch nothing else", () => {
    fc.assert(
      fc.property(
        size(150),
        size(150),
        fc.integer({ min: 0, max: 300 }),
        fc.nat(),
        gap,
        (rows, columns, depth, seed, gap) => {
          const a = blockOf(rows, depth, seed, gap);
          const b = blockOf(columns, depth, seed + 1, gap);
          assertSame(({ matrices }) => {
            const c = blockOf(rows, columns, seed + 2, gap);
            matrices.subtractProduct(c, a, b, rows, columns, depth);
            return c.values;
          });
        },
      ),
      SETTINGS,
    );
  });

  it("quotients and sweeps are the same bits, and touch nothing else", () => {
    fc.assert(
      fc.property(size(300), size(128), fc.nat(), gap, (rows, width, seed, gap) => {
        const l = triangleOf(width, seed, gap);
        const few = Math.min(rows, 128);
        const grid = {
          scales: Float32Array.from({ length: few * width }, (_, i) => (i % 17) / 16),
          zeros: Uint8Array.from({ length: few * width }, (_, i) => i % 16),
        };
        assertSame(({ matrices }) => {
          const x = blockOf(rows, width, seed + 1, gap);
          matrices.divideByTriangle(x, l, rows, width);
          const swept = blockOf(few, width, seed + 2, gap);
          const codes = new Uint8Array(few * width);
          matrices.sweepColumns(swept, l, few, width, grid, 15, codes);
          return [x.values, swept.values, codes];
        });
      }),
      SETTINGS,
    );
  });

  it("a sweep takes what is no number for code 0", () => {
    assertSame(({ matrices }) => {
      const x = { values: Float64Array.of(Number.NaN, 1, Number.POSITIVE_INFINITY, 1), at: 0, stride: 1 };
      const l = { values: Float64Array.of(1), at: 0, stride: 1 };
      const codes = new Uint8Array(4);
      const grid = { scales: Float32Array.of(1, 0, 1, 1), zeros: Uint8Array.of(8, 8, 8, 8) };
      matrices.sweepColumns(x, l, 4, 1, grid, 15, codes);
      return [codes, x.values];
    });
  });
});

describe("whole weights", () => {
  it("of all schemes are the same bits", () => {
    const values = weightOf(128 * 256);
    for (const scheme of [
      "fp8-dynamic",
      "fp8-tensor",
      "fp8-block",
      "gptq-int4-g128",
      "gptq-int3-g64-asym",
      "awq-int4-g32",
      "ct-int4-g128",
      "ct-int5-asym",
      "mxfp4",
      "nvfp4",
    ])
      assertSame((kernels) => quantizerOf(scheme).quantize(values, [128, 256], "BF16", kernels));
  });

  it("with calibration are the same bits", () => {
    const { xtx, absMean } = inputsOf(200, 300, 3);
    const weight = weightOf(150 * 200);
    const rest = { weight, hessian: xtx, columns: 200, bits: 4 };
    for (const group of [16, 100, 128, -1]) {
      for (const actOrder of [false, true])
        assertSame((kernels) => gptq({ ...rest, group, symmetric: actOrder, actOrder }, kernels));
    }
    const format = { bits: 4, group: 100, symmetric: false };
    assertSame((kernels) => awqLimits(weight, absMean, xtx, format, kernels));
  });
});
