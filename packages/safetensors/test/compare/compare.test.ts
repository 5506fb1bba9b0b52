import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { open } from "../../src/checkpoint/open.ts";
import { joinShards } from "../../src/checkpoint/sharded.ts";
import { compareCheckpoints } from "../../src/compare/compare.ts";
import { fromBytes } from "../../src/source/memory.ts";
import { type HandMade, handMade, raises } from "../support.ts";

const f32 = (shape: readonly number[], ...values: number[]): HandMade => {
  return { dtype: "F32", shape, data: new Uint8Array(Float32Array.from(values).buffer) };
};

const opened = (tensors: Record<string, HandMade>, metadata?: Record<string, string>): Promise<Checkpoint> =>
  open(handMade(tensors, metadata));

describe("compareCheckpoints", () => {
  it("tells names, dtypes, shapes and metadata apart", async () => {
    const a = await opened(
      { same: f32([1], 1), gone: f32([1], 1), reshaped: f32([2, 1], 1, 2), retyped: f32([1], 1) },
      { format: "pt", old: "1", kept: "" },
    );
    const b = await opened(
      {
        retyped: { dtype: "U8", shape: [4], data: new Uint8Array(4) },
        new: f32([2], 1, 2),
        reshaped: f32([1, 2], 1, 2),
        same: f32([1], 1),
      },
      { format: "np", kept: "", new: "2" },
    );
    const found = await compareCheckpoints(a, b);
    assert.equal(found.same, false);
    assert.deepEqual(found.onlyInA, [{ name: "gone", dtype: "F32", shape: [1] }]);
    assert.deepEqual(found.onlyInB, [{ name: "new", dtype: "F32", shape: [2] }]);
    assert.deepEqual(found.metadata, [
      { key: "format", a: "pt", b: "np" },
      { key: "new", a: undefined, b: "2" },
      { key: "old", a: "1", b: undefined },
    ]);
    assert.deepEqual(
      found.tensors.map(({ name, status }) => [name, status]),
      [
        ["same", "identical"],
        ["reshaped", "incompatible"],
        ["retyped", "incompatible"],
      ],
    );
    assert.deepEqual(found.tensors[2]!.b, { dtype: "U8", shape: [4] });
  });

  it("counts as the same what is the same under the rules that are given", async () => {
    const a = await opened({ t: f32([2], 0, 1) }, { k: "1" });
    const zero = await opened({ t: f32([2], -0, 1) }, { k: "1" });
    const near = await opened({ t: f32([2], 0, 1.25) });
    const isSame = async (...args: Parameters<typeof compareCheckpoints>): Promise<boolean> =>
      (await compareCheckpoints(...args)).same;
    assert.equal(await isSame(a, a), true);
    assert.equal(await isSame(a, zero), false);
    for (const rule of [{ atol: 0 }, { rtol: 0 }, { equalNan: true }, { cast: true }]) {
      assert.equal(await isSame(a, zero, rule), true, JSON.stringify(rule));
    }
    assert.equal(await isSame(a, near, { atol: 0.25 }), false);
    assert.equal(await isSame(a, near, { atol: 0.25, ignoreMetadata: true }), true);
    assert.equal(await isSame(a, near, { atol: 0.24, ignoreMetadata: true }), false);
    assert.equal(await isSame(a, near, { structureOnly: true, ignoreMetadata: true }), true);
  });

  it("reads no values where it need not", async () => {
    const file = handMade({ a: f32([1], 1), b: f32([1], 2) });
    const whole = fromBytes(file);
    const end = file.length - 8;
    // The data cannot be read.
    const source = {
      size: whole.size,
      async read(offset: number, length: number): Promise<Uint8Array> {
        if (offset >= end) throw new Error("read");
        return file.slice(offset, offset + length);
      },
    };
    const broken = await open(source, { head: file });
    const found = await compareCheckpoints(broken, broken, { structureOnly: true });
    assert.deepEqual(
      found.tensors.map(({ status }) => status),
      ["unread", "unread"],
    );
    const other = await opened({ a: f32([1, 1], 1), c: f32([1], 2) });
    assert.equal((await compareCheckpoints(broken, other)).tensors[0]!.status, "incompatible");
    await assert.rejects(compareCheckpoints(broken, broken), /read/);
  });

  it("does not call the same what neither has", async () => {
    const a = await opened({ a: f32([1], 1) });
    const missing = compareCheckpoints(a, a, { names: ["a", "typo"] });
    await assert.rejects(missing, raises("TENSOR_NOT_FOUND", /"typo"/, { tensor: "typo" }));
  });

  it("compares only tensors with the names asked for", async () => {
    const a = await opened({ "x.1": f32([1], 1), "y.1": f32([1], 1), "y.2": f32([1], 1) });
    const b = await opened({ "x.1": f32([1], 2), "y.1": f32([1], 1), "x.2": f32([1], 1) });
    for (const names of [
      /^y/,
      ["y.1", "y.2"],
      new Set(["y.1", "y.2"]).values(),
      (name: string) => name[0] === "y",
    ]) {
      const found = await compareCheckpoints(a, b, { names });
      assert.deepEqual(
        [found.tensors.map(({ name }) => name), found.onlyInA.map(({ name }) => name), found.onlyInB],
        [["y.1"], ["y.2"], []],
      );
    }
  });

  it("does not mind the order of the tensors, and in which file they are", async () => {
    const [one, two] = [f32([2], 1, 2), f32([2], 3, 4)];
    const whole = await opened({ one, two });
    const parts = new Map([
      ["2", await opened({ two })],
      ["1", await opened({ one })],
    ]);
    assert.equal((await compareCheckpoints(whole, joinShards(parts))).same, true);
  });

  it("reports its progress in bytes of both, up to the end", async () => {
    const a = await opened({ a: f32([2], 1, 2), r: f32([1], 1), b: f32([1], 1) });
    const b = await opened({ a: f32([2], 1, 3), r: f32([1, 1], 1), b: f32([1], 1) });
    const steps: unknown[] = [];
    await compareCheckpoints(a, b, { onProgress: (...step) => steps.push(step) });
    assert.deepEqual(steps, [
      [16, 32, "a"],
      [32, 32, "b"],
    ]);
  });

  it("passes on errors of reading, with the tensor", async () => {
    const file = handMade({ a: f32([2], 1, 2) });
    const source = {
      size: file.length,
      read: async (at: number, length: number) => file.slice(at, at + length - 1),
    };
    const cut = await open(source, { head: file });
    await assert.rejects(
      compareCheckpoints(cut, await open(file)),
      raises("SHORT_READ", /reading tensor "a"/, { tensor: "a" }),
    );
  });
});
