import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { PAGE, sharedKernelMemory, type WebAssemblyApi } from "../../src/kernels/memory.ts";
import { kernelModule, loadKernelModule, sharedKernelModule } from "../../src/kernels/module.ts";

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
    const { Memory, validate } = api;
    const forbids = { Memory, validate, instantiate: () => Promise.reject(new Error("policy")) };
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

  it("has constants that fit the first page", async () => {
    assert.ok((await loadKernelModule(api))!.reserve(1) < PAGE);
  });

  it("works in a range of shared memory, and only there", async () => {
    const memory = sharedKernelMemory(4 * PAGE)!;
    assert.ok(memory.buffer instanceof SharedArrayBuffer);
    const all = new Uint8Array(memory.buffer).fill(99);
    const modules = await Promise.all(
      [1, 2].map((page) => sharedKernelModule({ memory, start: page * PAGE, size: PAGE })),
    );
    for (const [i, module] of modules.entries()) {
      const at = module!.place(new Uint8Array(64).fill(i + 1));
      assert.equal(at, (i + 1) * PAGE);
      assert.equal(module!.reserve(PAGE - 64), at + 64);
      assert.throws(() => module!.reserve(1), RangeError);
    }
    modules[0]!.functions.bf16ToF32(PAGE, 2 * PAGE + 64, 16);
    const written = all.subarray(2 * PAGE, 2 * PAGE + 128);
    assert.deepEqual([written[0], written[64], written[66]], [2, 0, 1]);
    assert.ok(all.subarray(2 * PAGE + 128).every((byte) => byte === 99));
    assert.ok(all.subarray(PAGE + 64, 2 * PAGE).every((byte) => byte === 99));
  });

  it("has no shared memory where there can be none", () => {
    assert.equal(sharedKernelMemory(2 ** 33), undefined);
  });
});
