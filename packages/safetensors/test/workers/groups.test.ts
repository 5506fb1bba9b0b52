import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { TensorHandle } from "../../src/checkpoint/tensor.ts";
import type { Dtype } from "../../src/dtype/dtype.ts";
import { fromBytes } from "../../src/source/memory.ts";
import { contiguousStrides } from "../../src/view/view.ts";
import { budgetFor } from "../../src/workers/budget.ts";
import { type GroupOptions, groupsOf, type WantedTensor } from "../../src/workers/groups.ts";
import { raises } from "../support.ts";

const MiB = 1 << 20;
const source = fromBytes(new Uint8Array(0));

function wanted(dtype: Dtype, shape: readonly number[], strides = contiguousStrides(shape)): WantedTensor {
  const whole = new TensorHandle("t", { source, dtype, shape, strides, bitOffset: 0 });
  return { whole, chosen: whole, slice: undefined };
}

const options = (form: "bytes" | "F32" = "bytes"): GroupOptions => ({ form, workers: 2, slots: 4 });
const BUDGET = 256 * MiB;

describe("groups of tensors", () => {
  it("take ten thousand small tensors in few messages", () => {
    const small = Array.from({ length: 10_000 }, () => wanted("F32", [16]));
    const groups = [...groupsOf(small, BUDGET, options())];
    assert.equal(groups.length, 10);
    assert.ok(groups.every(({ batches }) => batches.length === 1));
    assert.equal(groups.flatMap(({ tensors }) => tensors).length, 10_000);
  });

  it("stay below an eighth of a small budget, and begin every tensor where all dtypes may lie", () => {
    const groups = [
      ...groupsOf(
        Array.from({ length: 20 }, () => wanted("U8", [99])),
        8 * 500,
        options(),
      ),
    ];
    assert.deepEqual(
      groups.map(({ tensors, size }) => [tensors.map(({ at }) => at), size]),
      [...Array(5).keys()].map(() => [[0, 104, 208, 312], 416]).slice(0, groups.length),
    );
  });

  it("cut a large tensor for all workers, none of its parts above 8 MiB", () => {
    const parts = (dtype: Dtype, rows: number, form?: "F32"): number[] => {
      const [group, ...others] = groupsOf([wanted(dtype, [rows, MiB])], BUDGET, options(form));
      assert.deepEqual(others, []);
      return group!.batches.map(({ bytes }) => bytes / MiB);
    };
    assert.deepEqual(parts("U8", 8), [8]);
    assert.deepEqual(parts("U8", 10), [5, 5]);
    assert.deepEqual(parts("U8", 40), [8, 8, 8, 8, 8]);
    // What a part has before or after it is decoded, whichever is more.
    assert.deepEqual(parts("BF16", 4, "F32"), [4, 4]);
    assert.deepEqual(parts("F64", 2, "F32"), [8, 8]);
  });

  it("count what is decoded at the same time", () => {
    const [group] = groupsOf([wanted("BF16", [40, MiB])], BUDGET, options("F32"));
    assert.deepEqual([group!.size / MiB, group!.batches.length, group!.scratch / MiB], [160, 20, 16]);
    const [floats] = groupsOf([wanted("C64", [40, MiB])], BUDGET, options("F32"));
    assert.deepEqual([floats!.size / MiB, floats!.scratch], [320, 0]);
  });
});

describe("the budget of a call", () => {
  it("grows for a large tensor, unless it is given or the tensor repeats little data", () => {
    const large = wanted("U8", [400, MiB]);
    assert.equal(budgetFor([wanted("U8", [1])], undefined, options()), BUDGET);
    assert.equal(budgetFor([large], undefined, options()), 400 * MiB);
    assert.equal(budgetFor([large], 500 * MiB, options()), 500 * MiB);
    const tooSmall = raises("LIMIT_EXCEEDED", /budget/, { limit: "budget", tensor: "t" });
    assert.throws(() => budgetFor([large], 399 * MiB, options()), tooSmall);
    assert.throws(() => budgetFor([large], Number.NaN, options()), tooSmall);
    assert.throws(() => budgetFor([wanted("U8", [400, MiB], [0, 1])], undefined, options()), tooSmall);
  });
});
