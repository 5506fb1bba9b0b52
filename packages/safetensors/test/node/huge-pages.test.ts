import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { describe, it } from "node:test";
import koffi from "koffi";
import { hugePageAdvice, hugePages } from "../../src/node/huge-pages.ts";
import { loadKernels } from "../../src/quant/index.ts";
import { openKernelPool } from "../../src/workers/index.ts";

const HUGE_PAGE = 2 << 20;

/** Only such systems can be asked. */
const skip = existsSync("/sys/kernel/mm/transparent_hugepage") ? false : "the system has no huge pages";

/** Whether the system is to use huge pages where this byte lies: the flag "hg" of its mapping, see proc(5). */
function isAdvised(memory: Uint8Array, at: number): boolean {
  const address = koffi.address(memory) + BigInt(at);
  const mappings = readFileSync("/proc/self/smaps", "latin1").split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  const mapping = mappings.find((text) => {
    const [, start, end] = /^([0-9a-f]+)-([0-9a-f]+) /.exec(text)!;
    return BigInt(`0x${start}`) <= address && address < BigInt(`0x${end}`);
  });
  return /^VmFlags:.* hg\b/m.test(mapping!);
}

describe("hugePages", () => {
  it("gives memory of the size asked for, all zero", async () => {
    const allocate = await hugePages();
    for (const size of [0, 1, HUGE_PAGE - 1, HUGE_PAGE, 3 * HUGE_PAGE + 5]) {
      const memory = allocate(size);
      assert.equal(memory.length, size);
      assert.ok(memory.every((byte) => byte === 0));
    }
  });

  it("asks for huge pages in large pieces", { skip }, async () => {
    const memory = (await hugePages())(4 * HUGE_PAGE);
    assert.equal(koffi.address(memory) % BigInt(HUGE_PAGE), 0n);
    assert.ok(isAdvised(memory, 0));
  });
});

describe("hugePageAdvice", () => {
  it("asks for them in the memory of kernels and of a pool, and nowhere else", { skip }, async () => {
    const advise = await hugePageAdvice();
    const kernels = await loadKernels({ memory: 16 * HUGE_PAGE });
    await using pool = openKernelPool({ workers: 1, memory: 16 * HUGE_PAGE });
    for (const { allocate } of [kernels, pool].map((owner) => ({ allocate: owner.allocate.bind(owner) }))) {
      const before = allocate(HUGE_PAGE);
      const memory = allocate(8 * HUGE_PAGE);
      assert.equal(advise(memory), true);
      assert.ok(isAdvised(memory, 4 * HUGE_PAGE));
      assert.ok(!isAdvised(before, 0));
      assert.ok(memory.every((byte) => byte === 0));
    }
  });

  it("leaves small pieces as they are", async () => {
    const advise = await hugePageAdvice();
    assert.equal(advise(new Uint8Array(HUGE_PAGE)), false);
    assert.equal(advise(new Uint8Array(0)), false);
  });
});
