import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { castFloats } from "../../src/dtype/cast.ts";
import { loadKernels, plainKernels } from "../../src/quant/kernels/load.ts";

describe("memory of the kernels", () => {
  it("is lent, stays valid while others work, and is ordinary when there is no more", async () => {
    const kernels = await loadKernels({ memory: 10_000 });
    const [given, into] = [kernels.allocate(4000), kernels.allocate(2000)];
    assert.equal(given.buffer, into.buffer);
    const beyond = kernels.allocate(8000);
    assert.notEqual(beyond.buffer, given.buffer);
    given.set(new Uint8Array(Float32Array.from({ length: 1000 }, (_, i) => i / 7).buffer));
    // Of another size each: the kernels take memory of their own for it.
    const large = new Uint8Array(8 << 20).fill(63);
    assert.equal(kernels.cast("F32", "BF16", large).length, 4 << 20);
    assert.equal(given.length, 4000);
    assert.equal(kernels.cast("F32", "BF16", given, into), into);
    assert.deepEqual(new Uint8Array(into), castFloats("F32", "BF16", given));
    kernels.release(beyond);
    kernels.release(given);
    assert.equal(kernels.allocate(3000).byteOffset, given.byteOffset);
  });

  it("has a size that is possible, and none unless asked for", async () => {
    for (const memory of [-1, 0.5, 2 ** 32])
      await assert.rejects(loadKernels({ memory }), { code: "OUT_OF_RANGE" });
    for (const kernels of [await loadKernels(), plainKernels]) {
      const memory = kernels.allocate(100);
      assert.deepEqual([memory.length, memory.buffer.byteLength], [100, 100]);
      kernels.release(memory);
      assert.throws(() => kernels.allocate(-1), RangeError);
      assert.throws(() => kernels.cast("F32", "BF16", memory, new Uint8Array(51)), { code: "SIZE_MISMATCH" });
    }
  });
});
