import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { type CacheOptions, cached } from "../../src/source/cached.ts";
import type { ByteSource, ReadOptions } from "../../src/source/source.ts";
import { noise, numbers } from "../support.ts";
import { settle } from "./gated-source.ts";

const SIZE = 2000;
const bytes = noise(SIZE);

interface Storm {
  readonly source: ByteSource;
  /** Memory that was to be filled, as far as it still exists. */
  readonly buffers: WeakRef<ArrayBufferLike>[];
  requests: number;
  /** Bytes of the reads under way, and the most of them there ever were. */
  underWay: number;
  most: number;
}

/** A source that takes its time, fails one time in ten, and heeds its signal or does not. */
function storm(seed: number, faults: boolean): Storm {
  const next = numbers(seed);
  const made: Storm = {
    buffers: [],
    requests: 0,
    underWay: 0,
    most: 0,
    source: {
      size: SIZE,
      read: () => assert.fail("there is a better way"),
      async readInto(offset: number, target: Uint8Array, options?: ReadOptions) {
        made.requests++;
        made.buffers.push(new WeakRef(target.buffer));
        made.underWay += target.length;
        made.most = Math.max(made.most, made.underWay);
        const heeds = next() % 2 === 0;
        try {
          for (let turns = next() % 5; turns > 0; turns--) {
            await settle();
            if (heeds) options?.signal?.throwIfAborted();
          }
          if (faults && next() % 10 === 0) throw new Error("fault");
          target.set(bytes.subarray(offset, offset + target.length));
        } finally {
          made.underWay -= target.length;
        }
      },
    },
  };
  return made;
}

interface Step {
  readonly offset: number;
  readonly length: number;
  /** Turns until the caller gives up, if ever. */
  readonly patience: number | undefined;
  /** Turns until the next step. */
  readonly pause: number;
}

const steps = fc.array(
  fc.record<Step>({
    offset: fc.nat(SIZE - 400),
    length: fc.oneof(fc.nat(400), fc.nat(20)),
    patience: fc.option(fc.nat(6), { nil: undefined }),
    pause: fc.nat(3),
  }),
  { minLength: 1, maxLength: 40 },
);
const options = fc.record({
  block: fc.constantFrom(7, 64, 100),
  budget: fc.constantFrom(100, 300, 500, 2000),
  ahead: fc.constantFrom(0, 1, 4),
});

/** One caller: gets the right bytes, or a fault, or gave up; nothing is written afterwards. */
async function call(source: ByteSource, { offset, length, patience }: Step, faults: boolean): Promise<void> {
  const controller = new AbortController();
  const enough = new Error("enough");
  let isDone = false;
  const giveUp = async (turns: number): Promise<void> => {
    for (; turns > 0; turns--) await settle();
    if (!isDone) controller.abort(enough);
  };
  const target = new Uint8Array(length);
  const read = async (): Promise<void> => source.readInto!(offset, target, { signal: controller.signal });
  const wait = read();
  if (patience !== undefined) void giveUp(patience);
  try {
    await wait;
    isDone = true;
    assert.deepEqual(target, bytes.slice(offset, offset + length));
  } catch (error) {
    isDone = true;
    if (error !== enough && !(faults && (error as Error).message === "fault")) throw error;
    const left = target.slice();
    for (let turns = 0; turns < 6; turns++) await settle();
    assert.deepEqual(target, left);
  }
}

async function play(source: ByteSource, list: readonly Step[], faults: boolean, each = (): void => {}) {
  const calls: Promise<void>[] = [];
  for (const step of list) {
    calls.push(call(source, step, faults));
    for (let turns = step.pause; turns > 0; turns--) await settle();
    each();
  }
  for (const result of await Promise.allSettled(calls)) if (result.status === "rejected") throw result.reason;
}

describe("a cached source in a storm", () => {
  it("gives each caller the right bytes, its own abort, or the fault", async () => {
    await fc.assert(
      fc.asyncProperty(steps, options, fc.nat(), fc.boolean(), async (steps, options, seed, faults) => {
        const { source } = storm(seed, faults);
        await play(cached(source, options), steps, faults);
      }),
      { seed: 42, numRuns: 200 },
    );
  });

  it("never has more under way than the budget, and hangs on to nothing", async () => {
    const inside = steps.map((list) => list.map((step) => ({ ...step, length: Math.min(step.length, 20) })));
    await fc.assert(
      fc.asyncProperty(inside, options, fc.nat(), async (steps, options, seed) => {
        const made = storm(seed, true);
        const source = cached(made.source, options);
        await play(source, steps, true);
        for (let turns = 0; turns < 10; turns++) await settle();
        assert.equal(made.underWay, 0);
        // Blocks of which one does not fit go past the memory.
        if (options.block + 20 <= options.budget / 2) assert.ok(made.most <= options.budget, `${made.most}`);
        // Nothing is left in line: there is room for anything that fits.
        const last = { offset: 0, length: options.budget >= 300 ? 200 : 1, patience: undefined, pause: 0 };
        await call(source, last, true);
      }),
      { seed: 43, numRuns: 200 },
    );
  });

  it("keeps no more memory than the budget at any time", async () => {
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    const options: CacheOptions = { block: 64, budget: 512, ahead: 2 };
    const made = storm(7, true);
    const source = cached(made.source, options);
    const next = numbers(5);
    let most = 0;
    for (let round = 0; round < 60; round++) {
      const list = Array.from({ length: 4 }, (): Step => {
        const patience = next() % 3 === 0 ? next() % 4 : undefined;
        return { offset: (next() % 29) * 64, length: 1 + (next() % 100), patience, pause: 1 };
      });
      await play(source, list, true);
      await settle();
      collect();
      const alive = made.buffers.map((buffer) => buffer.deref()?.byteLength ?? 0);
      most = Math.max(
        most,
        alive.reduce((sum, length) => sum + length, 0),
      );
    }
    assert.ok(made.buffers.length > 100);
    // It is used, and not exceeded.
    assert.ok(most > 256 && most <= 512, `${most}`);
  });

  it("reads what a list of the blocks used last says", async () => {
    const list = fc.array(fc.nat(19), { maxLength: 100 });
    await fc.assert(
      fc.asyncProperty(list, fc.integer({ min: 1, max: 6 }), async (blocks, room) => {
        const made = storm(1, false);
        const source = cached(made.source, { block: 100, budget: room * 100 });
        let kept: number[] = [];
        let expected = 0;
        for (const block of blocks) {
          if (!kept.includes(block)) expected++;
          kept = [...kept.filter((other) => other !== block), block].slice(-room);
          const found = await source.read(block * 100 + 10, 50);
          assert.deepEqual(found, bytes.slice(block * 100 + 10, block * 100 + 60));
          assert.equal(made.requests, expected);
        }
      }),
      { seed: 44, numRuns: 100 },
    );
  });
});
