import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { TensorHandle } from "../../src/checkpoint/tensor.ts";
import { joinShards, type Shard } from "../../src/parallel/join.ts";
import { shardTensor } from "../../src/parallel/style.ts";
import { type Cut, cutShape, cutView, WHOLE } from "../../src/view/cut.ts";
import { raises } from "../support.ts";
import { countingTensor } from "./tensors.ts";

const whole = countingTensor("x", 6, 4);

/** What cuts of this tensor take. */
const shards = (...cuts: readonly Cut[]): Shard[] =>
  cuts.map((cut) => ({ cut, view: cutView(whole.view, cut) }));

const rows = (...ranges: readonly [start: number, stop: number, step?: number][]): Cut => [
  { axis: 0, ranges: ranges.map(([start, stop, step = 1]) => ({ start, stop, step })) },
];

describe("shards", () => {
  it("are joined in any order, ranges in turns among them, and of two axes", async () => {
    const columns: Cut = [
      {
        axis: 1,
        ranges: [
          { start: 0, stop: 1 },
          { start: 2, stop: 3 },
        ],
      },
    ];
    const others: Cut = [
      {
        axis: 1,
        ranges: [
          { start: 3, stop: 4 },
          { start: 1, stop: 2 },
        ],
      },
    ];
    const odd = rows([1, 6, 2]);
    const even = rows([0, 6, 2]);
    const lists: readonly Shard[][] = [
      shards(rows([3, 6]), rows([0, 3])),
      shards(rows([4, 6], [0, 1]), rows([1, 4])),
      shards(odd, even),
      shards([...odd, ...columns], [...even, ...columns], [...even, ...others], [...odd, ...others]),
      shards(WHOLE),
      shards(WHOLE, WHOLE),
      shards(rows([0, 6]), rows([6, 6]), rows()),
    ];
    for (const list of lists) {
      const joined = new TensorHandle("x", joinShards(whole.shape, list));
      assert.deepEqual(await joined.bytes(), await whole.bytes());
    }
  });

  it("of one number of ranks can be cut for another", async () => {
    const style = { along: "out", kind: "blocks", blocks: [2, 1] } as const;
    const cutsFor = (world: number): Cut[] =>
      Array.from({ length: world }, (_, rank) => shardTensor("x", whole.shape, style, { rank, world }));
    const joined = joinShards(whole.shape, shards(...cutsFor(3)));
    for (const cut of cutsFor(2)) {
      const [again, direct] = [joined, whole.view].map((view) => new TensorHandle("x", cutView(view, cut)));
      assert.deepEqual(await again!.bytes(), await direct!.bytes());
    }
  });

  it("lose their padding", async () => {
    const padded: Cut = [{ axis: 0, ranges: [{ start: 3, stop: 6 }], padding: 2 }];
    assert.deepEqual(cutShape(whole.shape, padded), [5, 4]);
    const joined = new TensorHandle("x", joinShards(whole.shape, shards(rows([0, 3]), padded)));
    assert.deepEqual(await joined.bytes(), await whole.bytes());
  });

  it("have to cover the tensor, once", () => {
    const refuses = (list: readonly Shard[], message: RegExp): void =>
      assert.throws(() => joinShards(whole.shape, list), raises("INVALID_SLICE", message));
    refuses([], /no shards/);
    refuses(shards(rows([0, 3])), /12 elements of a tensor of shape \[6,4\] are in no shard/);
    refuses(shards(rows([0, 4]), rows([3, 6])), /begin at \[0,0\] and \[3,0\] overlap/);
    refuses(shards(rows([0, 4]), rows([4, 5]), rows([0, 3])), /overlap/);
    refuses(shards(rows([0, 6, 2]), rows([0, 6, 3])), /overlap/);
    const [first] = shards(rows([0, 3]));
    refuses([{ view: first!.view, cut: rows([0, 2]) }], /a shard is U8 \[3,4\], not U8 \[2,4\]/);
  });

  it("have cuts that are ones of the tensor", () => {
    const refuses = (cut: Cut, message: RegExp): void =>
      assert.throws(() => cutView(whole.view, cut), raises("INVALID_SLICE", message));
    refuses([{ axis: 2, ranges: [] }], /\[6,4\] has no axis 2 left to cut/);
    refuses([...rows([0, 3]), ...rows([0, 3])], /no axis 0 left/);
    refuses(rows([0, 7]), /0:7:1 is no part of axis 0/);
    refuses(rows([2, 1]), /no part/);
    refuses(rows([-1, 1]), /no part/);
    refuses(rows([0, 1, 0]), /no part/);
    refuses([{ axis: 0, ranges: [], padding: 0.5 }, ...rows([0, 1])], /no axis 0 left/);
    refuses([{ axis: 0, ranges: [{ start: 0, stop: 1 }], padding: 0.5 }], /no part/);
  });
});
