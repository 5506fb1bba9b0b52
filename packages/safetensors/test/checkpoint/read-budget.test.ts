import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { open } from "../../src/checkpoint/open.ts";
import { handMade, noise, raises } from "../support.ts";

const SIZES = { first: 2 ** 20 + 2, second: 100 };

/** Reads of an eighth, or of a quarter, leave two bytes of the first tensor, which come with the second one, through a buffer. */
async function twoTensors(): Promise<Checkpoint> {
  const file = handMade({
    first: { dtype: "U8", shape: [SIZES.first], data: noise(SIZES.first) },
    second: { dtype: "U8", shape: [SIZES.second], data: noise(SIZES.second) },
  });
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
