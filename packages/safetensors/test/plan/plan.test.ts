import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { PlannedRead } from "../../src/plan/merge.ts";
import { type PlanOptions, planReads } from "../../src/plan/plan.ts";
import type { ByteSource } from "../../src/source/source.ts";
import type { TensorView } from "../../src/view/tiling.ts";
import type { StridedView } from "../../src/view/view.ts";
import { numbers, raises } from "../support.ts";

type Cost = NonNullable<ByteSource["cost"]>;
const cost = (gap: number): Cost => ({ operation: gap * 1e-9, byte: 1e-9 });

/** A source that is never read. */
function unread(name: string, own: Cost | undefined = cost(100)): ByteSource {
  const read = (): never => assert.fail("a plan reads nothing");
  return { size: 2 ** 50, name, cost: own, read, readInto: read };
}

/** `length` bytes from `offset`. */
const bytesAt = (source: ByteSource, offset: number, length: number): TensorView => {
  return { source, dtype: "U8", shape: [length], strides: [1], bitOffset: offset * 8 };
};

const shown = ({ units, offset, length, begins, inPlace }: PlannedRead): unknown[] => {
  return [units.source.name, offset, length, begins, inPlace];
};
const readsOf = (views: readonly TensorView[], options?: PlanOptions): unknown[] =>
  Array.from(planReads(views, options).reads(), shown);

describe("the reads of a plan", () => {
  it("are in the order of the bytes, whatever that of the tensors", () => {
    const source = unread("a");
    const views = [5000, 1000, 3000].map((offset) => bytesAt(source, offset, 10));
    assert.deepEqual(readsOf(views), [
      ["a", 1000, 10, [1], true],
      ["a", 3000, 10, [2], true],
      ["a", 5000, 10, [0], true],
    ]);
  });

  it("serve neighbours together while the gap costs less than a read", () => {
    const source = unread("a");
    const near = [bytesAt(source, 0, 10), bytesAt(source, 110, 10)];
    assert.deepEqual(readsOf(near), [["a", 0, 120, [0, 1], false]]);
    const far = [bytesAt(source, 0, 10), bytesAt(source, 111, 10)];
    assert.equal(readsOf(far).length, 2);
    const free = unread("b", { operation: 1, byte: 0 });
    assert.equal(readsOf([bytesAt(free, 0, 10), bytesAt(free, 2 ** 21, 10)]).length, 1);
    const nothing = unread("c", { operation: 0, byte: 0 });
    assert.equal(readsOf([bytesAt(nothing, 0, 10), bytesAt(nothing, 11, 10)]).length, 2);
  });

  it("go over any gap of what is only shown", () => {
    const source: ByteSource = { ...unread("a", { operation: 0, byte: 1 }), view: () => assert.fail() };
    const views = [0, 2 ** 20, 2 ** 22].map((offset) => bytesAt(source, offset, 10));
    assert.deepEqual(readsOf(views), [
      ["a", 0, 2 ** 20 + 10, [0, 1], false],
      ["a", 2 ** 22, 10, [2], true],
    ]);
  });

  it("are no longer than allowed", () => {
    const source = unread("a", cost(1e9));
    const views = Array.from({ length: 10 }, (_, i) => bytesAt(source, i * 30, 30));
    assert.equal(readsOf(views, { maxRead: 300 }).length, 1);
    assert.deepEqual(
      readsOf(views, { maxRead: 100 }).map((read) => (read as number[]).slice(1, 3)),
      [
        [0, 90],
        [90, 90],
        [180, 90],
        [270, 30],
      ],
    );
    const [long] = readsOf([bytesAt(source, 0, 250)], { maxRead: 96 }) as [number[]];
    assert.deepEqual(long.slice(1, 3), [0, 96]);
  });

  it("are longer where they fill the memory of a tensor and nothing else", () => {
    const options = { maxRead: 96, maxInPlace: 400 };
    const lengths = (source: ByteSource, view = bytesAt(source, 0, 960)): unknown[] =>
      readsOf([view], options).map((read) => (read as unknown[])[2]);
    const source = unread("a");
    const short = Array.from({ length: 10 }, () => 96);
    assert.deepEqual(lengths(source), [400, 400, 160]);
    assert.deepEqual(lengths(unread("remote", { operation: 0.01, byte: 0.1 })), short);
    const { readInto: _, ...returned } = source;
    assert.deepEqual(lengths(returned), short);
    assert.deepEqual(lengths({ ...source, view: () => assert.fail() }), short);
    const every = { source, dtype: "U8", shape: [500], strides: [2], bitOffset: 0 } as const;
    assert.deepEqual(Math.max(...(lengths(source, every) as number[])), 95);
    const nibbles = { source, dtype: "F4", shape: [1920], strides: [1], bitOffset: 0 } as const;
    assert.deepEqual(lengths(source, nibbles), short);
  });

  it("do not copy what can be read into place at less cost", () => {
    // One read costs as much as to copy 1000 bytes.
    const source = unread("a", { operation: 1e-7, byte: 1e-10 });
    const ranges = [
      [0, 900],
      [900, 1001],
      [1901, 500],
      [2401, 500],
      [2901, 2000],
    ] as const;
    const views = ranges.map(([offset, size]) => bytesAt(source, offset, size));
    assert.deepEqual(readsOf(views), [
      ["a", 0, 900, [0], true],
      ["a", 900, 1001, [1], true],
      ["a", 1901, 1000, [2, 3], false],
      ["a", 2901, 2000, [4], true],
    ]);
  });

  it("bring what several tensors share once", () => {
    const source = unread("a");
    const views = [bytesAt(source, 0, 50), bytesAt(source, 20, 80), bytesAt(source, 0, 50)];
    assert.deepEqual(readsOf(views), [["a", 0, 100, [0, 2, 1], false]]);
  });

  it("take sources in turn from the beginning", () => {
    const [a, b] = [unread("a", cost(0)), unread("b", cost(0))];
    const views = [bytesAt(a, 500, 10), bytesAt(b, 0, 10), bytesAt(a, 0, 10)];
    const order = Array.from(planReads(views).reads(), ({ units, firstUnit }) => units.tensor(firstUnit));
    assert.deepEqual(order, [1, 2, 0]);
  });

  it("are cut for each layout, source and whole", () => {
    const [near, far] = [unread("near", cost(10)), unread("far", cost(100))];
    const view = { dtype: "U8", shape: [2, 10], strides: [60, 1], bitOffset: 0 } as const;
    const other = (change: Partial<StridedView>): TensorView => {
      return { source: near, ...view, bitOffset: 8000, ...change };
    };
    const all = (of: TensorView): number[][] =>
      Array.from(planReads([{ source: near, ...view }, of]).reads(), ({ units, firstUnit, length }) => [
        units.tensor(firstUnit),
        length,
        units.targetAt(firstUnit) / 8,
      ]).filter(([tensor]) => tensor === 1);
    assert.deepEqual(all(other({})), [
      [1, 10, 0],
      [1, 10, 10],
    ]);
    assert.deepEqual(all(other({ source: far })), [[1, 70, 0]]);
    assert.deepEqual(all(other({ strides: [70, 1] })), [
      [1, 10, 0],
      [1, 10, 10],
    ]);
    assert.deepEqual(all(other({ strides: [15, 1] })), [[1, 25, 0]]);
    assert.deepEqual(all(other({ shape: [2, 12] })), [
      [1, 12, 0],
      [1, 12, 12],
    ]);
    assert.deepEqual(all(other({ dtype: "F4" })), [
      [1, 5, 0],
      [1, 5, 5],
    ]);
    const right = { at: [0, 10], view: other({ bitOffset: 16_000 }) as StridedView };
    const left = { at: [0, 0], view: other({}) as StridedView };
    assert.deepEqual(all({ dtype: "U8", shape: [2, 20], pieces: [left, right] }), [
      [1, 10, 0],
      [1, 10, 20],
      [1, 10, 10],
      [1, 10, 30],
    ]);
  });

  it("do not begin too many tensors at once that share their bytes", () => {
    for (const source of [unread("a"), { ...unread("b"), view: (): never => assert.fail() }]) {
      const plan = planReads(
        Array.from({ length: 100 }, () => bytesAt(source, 0, 900)),
        { maxRead: 1000 },
      );
      assert.deepEqual([plan.summary.requests, plan.summary.peakMemory <= 1800 + 4096], [50, true]);
    }
  });

  it("take sources in turn, in the order of the tensors", () => {
    const sources = ["a", "b", "c"].map((name) => unread(name, cost(0)));
    const views = Array.from({ length: 4 }, (_, number): TensorView => {
      const pieces = sources.map((source, i) => {
        const view = {
          source,
          dtype: "U8",
          shape: [1, 5],
          strides: [5, 1],
          bitOffset: number * 800,
        } as const;
        return { at: [i, 0], view };
      });
      return { dtype: "U8", shape: [3, 5], pieces };
    });
    const plan = planReads(views);
    const order = Array.from(plan.reads(), ({ offset }) => offset / 100);
    assert.deepEqual(order, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]);
    assert.equal(plan.summary.peakMemory, 15);
  });

  it("hold few tensors at once, of very many in a thousand files", (test) => {
    const sources = Array.from({ length: 1000 }, (_, i) => unread(`${i}`));
    const next = numbers(1);
    const views = Array.from({ length: 1000 }, (_, number): TensorView => {
      const pieces = Array.from({ length: 100 }, (_, i) => {
        const source = sources[next() % sources.length]!;
        const view = {
          source,
          dtype: "U8",
          shape: [1, 64],
          strides: [64, 1],
          bitOffset: number * 80_000,
        } as const;
        return { at: [i, 0], view };
      });
      return { dtype: "U8", shape: [100, 64], pieces };
    });
    const start = performance.now();
    const plan = planReads(views);
    const planned = performance.now();
    const { peakMemory, requests } = plan.summary;
    test.diagnostic(
      `${Math.round(planned - start)} ms, ${Math.round(performance.now() - planned)} for the summary`,
    );
    assert.ok(requests > 90_000 && peakMemory <= 2 * 6400 + 4096, `${requests} reads, ${peakMemory} bytes`);
    const lowest = Array.from(plan.reads(), ({ units, firstUnit }) => units.tensor(firstUnit));
    assert.ok(lowest.every((tensor, i) => i === 0 || tensor >= lowest[i - 1]!));
  });
});

describe("a plan", () => {
  it("refuses views that make too many places to read from out of little", () => {
    // A hundred megabytes, read in 125 ** 4 places.
    const axes = [1, 2, 3, 4];
    const view: TensorView = {
      source: unread("a"),
      dtype: "U8",
      shape: axes.map(() => 125),
      strides: axes.map((axis) => 200_000 + axis),
      bitOffset: 0,
    };
    assert.throws(
      () => planReads([view]),
      raises("LIMIT_EXCEEDED", /16777216 places/, { limit: "MAX_UNITS" }),
    );
  });

  it("refuses pieces that do not cover the whole", () => {
    const piece = {
      at: [0, 0],
      view: { ...bytesAt(unread("a"), 0, 6), shape: [2, 3], strides: [3, 1] } as StridedView,
    };
    for (const pieces of [[], [piece]]) {
      const tiling: TensorView = { dtype: "U8", shape: [3, 3], pieces };
      assert.throws(() => planReads([tiling]), raises("SIZE_MISMATCH", /tensor 0, of shape \[3,3\]/));
    }
  });
});

describe("the summary of a plan", () => {
  it("says what each source is asked for, and what memory it takes", () => {
    const [a, b] = [unread("a"), unread("b")];
    const shownSource: ByteSource = { ...unread("shown"), view: () => assert.fail() };
    const column = { dtype: "F32", shape: [10], strides: [4], bitOffset: 0 } as const;
    const views: TensorView[] = [
      bytesAt(a, 0, 20_000),
      { source: b, ...column },
      { source: shownSource, ...column },
      { source: a, dtype: "F32", shape: [0, 3], strides: [3, 1], bitOffset: 2 ** 52 },
    ];
    assert.deepEqual(planReads(views).summary, {
      requests: 3,
      bytesRead: 20_000 + 148 + 148,
      usefulBytes: 20_000 + 40 + 40,
      // Of the first tensor only; those before it are complete, and a buffer is one page.
      peakMemory: 20_000,
      bufferBytes: 4096,
      sources: [
        { source: "a", requests: 1, bytesRead: 20_000 },
        { source: "b", requests: 1, bytesRead: 148 },
        { source: "shown", requests: 1, bytesRead: 148 },
      ],
    });
    assert.equal(planReads([views[1]!]).summary.peakMemory, 40 + 4096);
    assert.equal(planReads([views[2]!]).summary.peakMemory, 40);
  });

  it("counts the tensors that are open at once", () => {
    // Two tensors whose rows alternate.
    const source = unread("a", cost(0));
    const views = [0, 1].map((number): TensorView => {
      return { source, dtype: "U8", shape: [10, 7], strides: [100, 1], bitOffset: number * 400 };
    });
    assert.equal(planReads(views).summary.peakMemory, 140);
    assert.deepEqual(planReads([]).summary, {
      requests: 0,
      bytesRead: 0,
      usefulBytes: 0,
      peakMemory: 0,
      bufferBytes: 0,
      sources: [],
    });
  });

  it("counts memory that a source without readInto returns", () => {
    const { read } = unread("a");
    const source = { size: 2 ** 50, read };
    const { peakMemory, sources } = planReads([bytesAt(source, 0, 5000)]).summary;
    assert.deepEqual([peakMemory, sources[0]!.source], [5000 + 8192, ""]);
  });
});

describe("large plans:", () => {
  const ms = (start: number): string => `${Math.round(performance.now() - start)} ms`;

  it("one of a million runs", (test) => {
    const source = unread("a");
    const views = Array.from({ length: 1000 }, (_, i): TensorView => {
      const bitOffset = 8 * (1000 + i * 16_384_000);
      return { source, dtype: "BF16", shape: [1000, 1024], strides: [8192, 1], bitOffset };
    });
    const start = performance.now();
    const plan = planReads(views);
    test.diagnostic(`planned in ${ms(start)}`);
    const { requests, bytesRead, usefulBytes, peakMemory } = plan.summary;
    test.diagnostic(`with its summary in ${ms(start)}`);
    assert.deepEqual([requests, bytesRead, usefulBytes], [1_000_000, 2_048_000_000, 2_048_000_000]);
    assert.equal(peakMemory, 2_048_000);
  });

  it("one of 200,000 rows from a shuffled list", (test) => {
    const source = unread("a");
    const next = numbers(2);
    const pieces = Array.from({ length: 200_000 }, (_, i) => {
      const bitOffset = (next() % 200_000) * 8000;
      return {
        at: [i, 0],
        view: { source, dtype: "BF16", shape: [1, 8], strides: [8, 1], bitOffset } as const,
      };
    });
    const start = performance.now();
    const plan = planReads([{ dtype: "BF16", shape: [200_000, 8], pieces }]);
    test.diagnostic(`planned in ${ms(start)}`);
    let end = 0;
    for (const { offset, length } of plan.reads()) {
      assert.ok(offset >= end);
      end = offset + length;
    }
    assert.equal(plan.unitsOf[0], 200_000);
  });
});
