import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { kernelModule, loadKernelModule, type WebAssemblyApi } from "../../src/kernels/module.ts";

const { WebAssembly: api } = globalThis as unknown as { WebAssembly: WebAssemblyApi };

describe("the module of kernels", () => {
  it("is loaded once", async () => {
    const module = await kernelModule();
    assert.ok(module);
    assert.equal(await kernelModule(), module);
    assert.notEqual(await loadKernelModule(api), module);
  });

  it("is left out where there is no WebAssembly, no SIMD, or a policy against it", async () => {
    assert.equal(await loadKernelModule(undefined), undefined);
    assert.equal(await loadKernelModule({ ...api, validate: () => false }), undefined);
    const forbids = { validate: api.validate, instantiate: () => Promise.reject(new Error("policy")) };
    assert.equal(await loadKernelModule(forbids), undefined);
  });

  it("has memory that grows, at addresses of cache lines", async () => {
    const module = (await loadKernelModule(api))!;
    const first = module.reserve(1000);
    const second = module.reserve(5 << 20);
    assert.ok(first > 0 && first % 64 === 0 && second % 64 === 0 && second >= first + 1000);
    assert.equal(module.bytes(second, 5 << 20).length, 5 << 20);
    const placed = module.place(Uint32Array.of(1, 2, 3).subarray(1));
    assert.deepEqual([...module.words(placed, 2)], [2, 3]);
    module.clear();
    assert.equal(module.reserve(1), first);
    assert.throws(() => module.reserve(2 ** 33), RangeError);
  });
});
