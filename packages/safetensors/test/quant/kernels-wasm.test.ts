import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { castFloats } from "../../src/dtype/cast.ts";
import { kernelModule } from "../../src/kernels/module.ts";
import type { KernelCall } from "../../src/quant/kernels/call.ts";
import { runKernel } from "../../src/quant/kernels/run.ts";
import { denseWasm, runWasm } from "../../src/quant/kernels/wasm.ts";
import { wasmJob } from "../../src/quant/kernels/wasm-jobs.ts";
import { CALLS, sameFloats } from "./kernel-calls.ts";

const module = (await kernelModule())!;

function plain(call: KernelCall): Float32Array {
  const out = new Float32Array(call.rows * call.columns);
  runKernel(call, out);
  return out;
}

describe("kernels in WebAssembly", () => {
  it("are there", () => assert.ok(module));

  for (const [kernel, calls] of Object.entries(CALLS)) {
    it(`give for ${kernel} the bits of those in JavaScript`, () => {
      let here = 0;
      const same = fc.property(calls as fc.Arbitrary<KernelCall>, (call) => {
        module.clear();
        if (call.rows * call.columns > 0 && wasmJob(module, call)) here++;
        const out = new Float32Array(call.rows * call.columns).fill(12345);
        assert.equal(runWasm(module, call, out), out);
        return sameFloats(out, plain(call));
      });
      fc.assert(same, { seed: 42, numRuns: 100 });
      assert.ok(here >= 8, `only ${here} calls were done in WebAssembly`);
    });
  }

  it("give other dtypes as a cast of the values does", () => {
    const same = fc.property(
      fc.oneof(...Object.values(CALLS)),
      fc.constantFrom("F32", "BF16", "F16", "F8_E4M3", "F8_E5M2", "F64"),
      (call, dtype) => {
        const values = plain(call);
        // The sign of a NaN may be another.
        for (let i = 0; i < values.length; i++) if (Number.isNaN(values[i])) return;
        const bytes = new Uint8Array(values.buffer);
        const expected = dtype === "F32" ? bytes : castFloats("F32", dtype, bytes);
        const parts = 1 + (call.rows % 3);
        for (const backend of [module, undefined]) {
          const dense = new Uint8Array(expected.length).fill(77);
          for (let part = 0; part < parts; part++) denseWasm(backend, call, dtype, dense, { part, parts });
          assert.deepEqual(dense, expected);
        }
      },
    );
    fc.assert(same, { seed: 42, numRuns: 80 });
  });

  it("take words that are many a step at a time", () => {
    for (const kernel of ["k-major", "awq"] as const) {
      const same = fc.property(CALLS[kernel], fc.integer({ min: 1, max: 3 }), (call, by) => {
        module.clear();
        const job = call.rows * call.columns > 0 ? wasmJob(module, call, 0) : undefined;
        if (!job) return;
        const { units, values, multiple } = job;
        const out = module.reserve(units * values * 4);
        const step = by * multiple;
        for (let first = 0; first < units; first += step)
          job.fill(first, Math.min(step, units - first), out + first * values * 4);
        const bytes = module.bytes(out, units * values * 4).slice();
        assert.ok(sameFloats(new Float32Array(bytes.buffer), plain(call)));
      });
      fc.assert(same, { seed: 42, numRuns: 60 });
    }
  });
});
