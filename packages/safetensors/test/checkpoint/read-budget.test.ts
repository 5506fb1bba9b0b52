import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { open } from "../../src/checkpoint/open.ts";
import { handMade, noise, raises } from "../support.ts";

const SIZES = { first: 2 ** 20 + 2, second: 100 };

/** Reads of an eighth, or of a quarter, leave two bytes of the first tensor, which come with the second one, through a buffer. */
function twoTensors(): Promise<Checkpoint> {
  return tensorsOf(SIZES, noise);
}

function tensorsOf(
  sizes: Readonly<Record<string, number>>,
  make: (length: number) => Uint8Array,
): Promise<Checkpoint> {
  const tensors = Object.entries(sizes).map(([name, size]) => {
    return [name, { dtype: "U8", shape: [size], data: make(size) }] as const;
  });
  const file = handMade(Object.fromEntries(tensors));
  return open({
    size: file.length,
    read: async (offset, length) => file.slice(offset, offset + length),
    readInto: (offset, target) => target.set(file.subarray(offset, offset + target.length)),
  });
}

async function sizesRead(checkpoint: Checkpoint, budget: number): Promise<Record<string, number>> {
  const sizes: Record<string, number> = {};
  for await (const { name, bytes } of checkpoint.read({ budget })) sizes[name] = bytes.length;
  return sizes;
}

describe("the budget that a plan names", () => {
  it("will do, though smaller reads than the plan's would need more", async () => {
    const checkpoint = await twoTensors();
    const { peakMemory, requests } = await checkpoint.plan();
    assert.deepEqual({ peakMemory, requests }, { peakMemory: SIZES.first, requests: 2 });
    assert.deepEqual(await checkpoint.plan({ budget: peakMemory }), await checkpoint.plan());
    assert.deepEqual(await sizesRead(checkpoint, peakMemory), SIZES);
  });

  it("will do where smaller reads leave a piece that comes with the next tensors", async () => {
    const MIB = 1 << 20;
    const sizes = { first: 40 * MIB + 100 * 1024, second: 50 * 1024, third: 1000 };
    const checkpoint = await tensorsOf(sizes, (length) => new Uint8Array(length));
    const { peakMemory } = await checkpoint.plan();
    assert.ok((await checkpoint.plan({ budget: peakMemory })).peakMemory <= peakMemory);
    assert.deepEqual(await sizesRead(checkpoint, peakMemory), sizes);
  });

  it("gets small reads where there is room for what they need", async () => {
    const checkpoint = await twoTensors();
    const budget = 2 * SIZES.first;
    const { peakMemory, requests } = await checkpoint.plan({ budget });
    const all = SIZES.first + SIZES.second;
    assert.deepEqual({ peakMemory, requests }, { peakMemory: all + 4096, requests: 5 });
    assert.deepEqual(await sizesRead(checkpoint, budget), SIZES);
  });

  it("is not enough if it is smaller", async () => {
    const checkpoint = await twoTensors();
    await assert.rejects(sizesRead(checkpoint, SIZES.first - 1), raises("LIMIT_EXCEEDED", /budget/));
  });
});
