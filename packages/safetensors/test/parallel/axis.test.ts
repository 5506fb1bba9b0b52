import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { cutTensor } from "../../src/parallel/cut-tensor.ts";
import { type Style, shardTensor } from "../../src/parallel/style.ts";
import { raises } from "../support.ts";
import { countingTensor, tensorOf } from "./tensors.ts";

/** The first column of what each rank has of a matrix of counting rows: which rows they are. */
async function rowsOf(rows: number, style: Style, world: number, uneven?: "strict"): Promise<number[][]> {
  const whole = countingTensor("x.weight", rows, 1);
  return Promise.all(
    Array.from({ length: world }, async (_, rank) => {
      const options = { rank, world, ...(uneven && { uneven }) };
      return [...(await cutTensor(whole, shardTensor("x.weight", whole.shape, style, options)).bytes())];
    }),
  );
}

describe("sizes that do not divide", () => {
  it("leave less for the last ranks, as in torch.chunk", async () => {
    assert.deepEqual(await rowsOf(5, "colwise", 4), [[0, 1], [2, 3], [4], []]);
  });

  it("are refused where that is asked for, and always for experts", async () => {
    const message = /"x.weight" of shape \[5,1\], style "colwise": 5 does not divide by 4 ranks/;
    await assert.rejects(
      rowsOf(5, "colwise", 4, "strict"),
      raises("INVALID_SLICE", message, { tensor: "x.weight" }),
    );
    await assert.rejects(rowsOf(5, "grouped_gemm", 4), raises("INVALID_SLICE", /does not divide/));
  });
});

describe("matrices in one", () => {
  it("are cut each on its own", async () => {
    assert.deepEqual(await rowsOf(8, "packed_colwise", 2), [
      [0, 1, 4, 5],
      [2, 3, 6, 7],
    ]);
    assert.deepEqual(await rowsOf(8, { along: "out", kind: "blocks", blocks: [2, 1, 1] }, 2), [
      [0, 1, 4, 6],
      [2, 3, 5, 7],
    ]);
  });

  it("have to fit", async () => {
    const style: Style = { along: "out", kind: "blocks", blocks: 3 };
    await assert.rejects(
      rowsOf(8, style, 2),
      raises("INVALID_SLICE", /8 indices are not made of blocks of 1 : 1 : 1/),
    );
    await assert.rejects(rowsOf(7, "packed_colwise", 2), raises("INVALID_SLICE", /not made of blocks/));
    const many: Style = { along: "out", kind: "blocks", blocks: 1e9 };
    await assert.rejects(rowsOf(8, many, 2), raises("INVALID_SLICE", /are no blocks/));
  });

  it("that take turns stay in pairs", async () => {
    assert.deepEqual(await rowsOf(6, { along: "out", kind: "units", unit: 2 }, 2), [
      [0, 1, 2, 3],
      [4, 5],
    ]);
    const odd = rowsOf(5, { along: "out", kind: "units", unit: 2 }, 2);
    await assert.rejects(odd, raises("INVALID_SLICE", /units of 2/));
  });
});

describe("heads", () => {
  it("are shared by neighbouring ranks where they are fewer (vLLM)", async () => {
    const style: Style = { along: "out", kind: "key_value_heads", heads: 2, headDim: 2 };
    assert.deepEqual(await rowsOf(4, style, 4), [
      [0, 1],
      [0, 1],
      [2, 3],
      [2, 3],
    ]);
  });

  it("of q, k and v go with each other in both orders", async () => {
    // Four query heads 0 to 3 and two key heads, of one row each.
    const heads = { along: "out", kind: "fused_heads", heads: 4, keyValueHeads: 2 } as const;
    const blocks: Style = { ...heads, order: "blocks" };
    assert.deepEqual(await rowsOf(8, blocks, 2), [
      [0, 1, 4, 6],
      [2, 3, 5, 7],
    ]);
    assert.deepEqual(await rowsOf(8, blocks, 4), [
      [0, 4, 6],
      [1, 4, 6],
      [2, 5, 7],
      [3, 5, 7],
    ]);
    const groups: Style = { ...heads, order: "groups" };
    assert.deepEqual(await rowsOf(8, groups, 2), [
      [0, 1, 2, 3],
      [4, 5, 6, 7],
    ]);
    assert.deepEqual(await rowsOf(8, groups, 4), [
      [0, 2, 3],
      [1, 2, 3],
      [4, 6, 7],
      [5, 6, 7],
    ]);
  });

  it("that do not divide are refused", async () => {
    const heads: Style = { along: "out", kind: "heads", heads: 6 };
    await assert.rejects(rowsOf(12, heads, 4), raises("INVALID_SLICE", /6 heads do not divide by 4 ranks/));
    await assert.rejects(rowsOf(13, heads, 2), raises("INVALID_SLICE", /13 indices are not made of 6 heads/));
    const sized: Style = { along: "out", kind: "heads", heads: 6, headDim: 4 };
    await assert.rejects(rowsOf(12, sized, 2), raises("INVALID_SLICE", /6 heads of 4/));
    const shared: Style = { along: "out", kind: "key_value_heads", heads: 3 };
    await assert.rejects(
      rowsOf(3, shared, 4),
      raises("INVALID_SLICE", /4 ranks do not divide by 3 key heads/),
    );
  });
});

describe("a vocabulary", () => {
  it("is padded with zeros to a multiple", async () => {
    const style: Style = { along: "out", kind: "vocabulary", multiple: 8 };
    assert.deepEqual(await rowsOf(5, style, 4), [
      [0, 1],
      [2, 3],
      [4, 0],
      [0, 0],
    ]);
  });

  it("is padded in dtypes below a byte, and not where there is no zero", async () => {
    const style: Style = { along: "out", kind: "vocabulary", multiple: 4 };
    const cut = shardTensor("x.weight", [5, 3], style, { rank: 1, world: 2 });
    const part = await cutTensor(tensorOf("x.weight", [5, 3], "F4"), cut).bytes();
    assert.equal(part.length, 6);
    assert.deepEqual([part[1]! >> 4, ...part.subarray(2)], [0, 0, 0, 0, 0]);
    const scales = tensorOf("x.weight", [5, 3], "F8_E8M0");
    assert.throws(() => cutTensor(scales, cut), raises("INVALID_SLICE", /no zero/));
  });

  it("has to divide after that", async () => {
    const style: Style = { along: "out", kind: "vocabulary", multiple: 8 };
    const message = /a vocabulary of 5, padded to 8, does not divide by 3 ranks/;
    await assert.rejects(rowsOf(5, style, 3), raises("INVALID_SLICE", message));
  });
});
