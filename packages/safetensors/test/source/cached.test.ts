import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type CacheOptions, cached } from "../../src/source/cached.ts";
import { fromBytes } from "../../src/source/memory.ts";
import type { ByteSource } from "../../src/source/source.ts";
import { noise, raises } from "../support.ts";
import { type GatedSource, gatedSource, settle } from "./gated-source.ts";

const bytes = noise(1050);

/** Eleven blocks, the last of 50 bytes, of which four fit. */
const small: CacheOptions = { block: 100, budget: 400 };

/** A cache above a source whose reads pass after a turn, and the ranges that were read. */
function quick(options: CacheOptions = small): { source: ByteSource; ranges: string[] } {
  const ranges: string[] = [];
  const source = cached(
    {
      size: bytes.length,
      async read(offset, length) {
        ranges.push(`${offset}+${length}`);
        await settle();
        return bytes.slice(offset, offset + length);
      },
    },
    options,
  );
  return { source, ranges };
}

async function passAll(gated: GatedSource): Promise<void> {
  for (let i = 0; i < gated.reads.length; i++) {
    gated.reads[i]!.pass();
    await settle();
  }
}

const found = (offset: number, length: number): Uint8Array => bytes.slice(offset, offset + length);

describe("cached", () => {
  it("is what it is made of, but gives no views", async () => {
    const gated = gatedSource(bytes);
    const source = cached({ ...gated, cost: { operation: 1, byte: 2 } });
    assert.deepEqual([source.size, source.name, source.cost], [1050, "gated", { operation: 1, byte: 2 }]);
    assert.equal("view" in cached(fromBytes(bytes)), false);
  });

  it("reads whole blocks, once", async () => {
    const { source, ranges } = quick();
    assert.deepEqual(await source.read(120, 10), found(120, 10));
    assert.deepEqual(await source.read(100, 100), found(100, 100));
    assert.deepEqual(await source.read(199, 2), found(199, 2));
    assert.deepEqual(await source.read(1040, 10), found(1040, 10));
    assert.deepEqual(ranges, ["100+100", "200+100", "1000+50"]);
    assert.equal((await source.read(0, 0)).length, 0);
  });

  it("does not wait for what is in memory", async () => {
    const { source } = quick();
    const target = new Uint8Array(150);
    const wait = source.readInto!(100, target);
    assert.ok(wait);
    await wait;
    assert.deepEqual(target, found(100, 150));
    const again = new Uint8Array(150);
    assert.equal(source.readInto!(110, again), undefined);
    assert.deepEqual(again, found(110, 150));
    assert.throws(() => source.readInto!(110, again, { signal: AbortSignal.abort(new Error("no")) }), /no/);
  });

  it("gives bytes that belong to the caller", async () => {
    const memory = bytes.slice();
    const source = cached(fromBytes(memory), small);
    (await source.read(0, 50)).fill(0);
    (await source.read(0, 100)).fill(0);
    memory.fill(1);
    assert.deepEqual(await source.read(0, 100), found(0, 100));
  });

  it("reads neighbouring blocks that are missing at once, around those that are not", async () => {
    const { source, ranges } = quick({ block: 100, budget: 1000 });
    await source.read(450, 10);
    assert.deepEqual(await source.read(110, 780), found(110, 780));
    assert.deepEqual(ranges, ["400+100", "100+300", "500+400"]);
    assert.deepEqual(await source.read(100, 800), found(100, 800));
    assert.equal(ranges.length, 3);
  });

  it("drops what was not used for longest", async () => {
    const { source, ranges } = quick();
    for (const block of [0, 1, 2, 3, 0, 4, 0, 2, 1]) await source.read(block * 100, 100);
    assert.deepEqual(ranges, ["0+100", "100+100", "200+100", "300+100", "400+100", "100+100"]);
    ranges.length = 0;
    // Used last: 4, 0, 2, 1. What came with one read goes together.
    await source.read(500, 200);
    await source.read(200, 1);
    await source.read(100, 1);
    await source.read(700, 300);
    await source.read(100, 1);
    await source.read(600, 1);
    assert.deepEqual(ranges, ["500+200", "700+300", "600+100"]);
  });

  it("takes what is in memory before it pushes it out", async () => {
    const { source, ranges } = quick({ block: 100, budget: 200 });
    await source.read(100, 100);
    assert.deepEqual(await source.read(0, 200), found(0, 200));
    assert.deepEqual(ranges, ["100+100", "0+100"]);
  });

  it("goes past the memory where blocks do not fit", async () => {
    const { source, ranges } = quick();
    assert.deepEqual(await source.read(0, 400), found(0, 400));
    assert.deepEqual(await source.read(50, 400), found(50, 400));
    assert.deepEqual(await source.read(7, 900), found(7, 900));
    assert.deepEqual(await source.read(0, 400), found(0, 400));
    assert.deepEqual(ranges, ["0+400", "50+400", "7+900"]);
    const none = quick({ block: 100, budget: 0 });
    assert.deepEqual(await none.source.read(3, 4), found(3, 4));
    assert.deepEqual(none.ranges, ["3+4"]);
  });

  it("refuses ranges outside and options that make no sense", async () => {
    const { source, ranges } = quick();
    for (const [offset, length] of [
      [0, 1051],
      [1050, 1],
      [-1, 2],
      [0.5, 1],
      [0, Number.NaN],
    ] as const)
      await assert.rejects(source.read(offset, length), raises("OUT_OF_RANGE"));
    assert.throws(() => source.readInto!(1049, new Uint8Array(2)), raises("OUT_OF_RANGE"));
    assert.deepEqual(ranges, []);
    for (const options of [{ block: 0 }, { block: 0.5 }, { budget: -1 }, { budget: NaN }, { ahead: -1 }])
      assert.throws(() => cached(fromBytes(bytes), options), raises("OUT_OF_RANGE", /whole number/));
  });
});

describe("callers of a cached source", () => {
  it("share the reads of the blocks that they want at the same time", async () => {
    const gated = gatedSource(bytes);
    const source = cached(gated, small);
    const reads = [source.read(110, 180), source.read(150, 10), source.read(250, 100)];
    assert.deepEqual(gated.ranges, ["100+200", "300+100"]);
    await passAll(gated);
    assert.deepEqual(await Promise.all(reads), [found(110, 180), found(150, 10), found(250, 100)]);
    assert.equal(gated.reads.length, 2);
  });

  it("do not disturb one another when one gives up", async () => {
    for (const first of [true, false]) {
      const gated = gatedSource(bytes);
      const source = cached(gated, small);
      const controller = new AbortController();
      const { signal } = controller;
      const target = new Uint8Array(10);
      const given = first ? source.readInto!(100, target, { signal }) : undefined;
      const kept = source.read(105, 10, { signal: new AbortController().signal });
      const late = first ? undefined : source.readInto!(100, target, { signal });
      const rejected = assert.rejects(async () => given ?? late, /enough/);
      controller.abort(new Error("enough"));
      await rejected;
      assert.equal(gated.reads.length, 1);
      assert.equal(gated.reads[0]!.signal!.aborted, false);
      gated.reads[0]!.pass();
      assert.deepEqual(await kept, found(105, 10));
      // Whoever gave up has the memory for something else.
      assert.deepEqual(target, new Uint8Array(10));
    }
  });

  it("end a read when all of them have given up, and those who come later begin anew", async () => {
    const gated = gatedSource(bytes, { heedsSignal: false });
    const source = cached(gated, small);
    const [one, two] = [new AbortController(), new AbortController()];
    const given = [source.read(0, 9, one), source.read(50, 9, two)].map((read) =>
      assert.rejects(read, /enough/),
    );
    one.abort(new Error("enough"));
    assert.equal(gated.reads[0]!.signal!.aborted, false);
    two.abort(new Error("enough"));
    assert.equal(gated.reads[0]!.signal!.aborted, true);
    await Promise.all(given);
    const later = source.read(0, 9);
    assert.deepEqual(gated.ranges, ["0+100", "0+100"]);
    gated.reads[0]!.fail(new Error("ended"));
    await settle();
    gated.reads[1]!.pass();
    assert.deepEqual(await later, found(0, 9));
  });

  it("may use one signal for any number of reads", async () => {
    const warnings: Error[] = [];
    const warn = (warning: Error): number => warnings.push(warning);
    process.on("warning", warn);
    const gated = gatedSource(bytes);
    const source = cached(gated, { block: 10, budget: 1050 });
    const { signal } = new AbortController();
    const reads = Array.from({ length: 100 }, (_, i) => source.read(i * 10, 20, { signal }));
    await passAll(gated);
    for (const [i, read] of (await Promise.all(reads)).entries()) assert.deepEqual(read, found(i * 10, 20));
    process.off("warning", warn);
    assert.deepEqual(warnings, []);
  });

  it("get the error of a failed read, all of them, and the next reads again", async () => {
    const gated = gatedSource(bytes);
    const source = cached(gated, { block: 100, budget: 1000 });
    await Promise.all([source.read(300, 1), settle().then(() => gated.reads[0]!.pass())]);
    const target = new Uint8Array(600);
    const reads = [source.readInto!(100, target), source.read(150, 9), source.read(450, 9)];
    assert.deepEqual(gated.ranges.slice(1), ["100+200", "400+300"]);
    gated.reads[1]!.fail(new Error("broken"));
    await assert.rejects(async () => reads[0], /broken/);
    await assert.rejects(async () => reads[1], /broken/);
    // The other half goes on for those who still want it, but not into memory that was given back.
    const before = target.slice();
    gated.reads[2]!.pass();
    assert.deepEqual(await reads[2], found(450, 9));
    assert.deepEqual(target, before);
    const again = source.read(150, 9);
    assert.deepEqual(gated.ranges.slice(3), ["100+100"]);
    gated.reads[3]!.pass();
    assert.deepEqual(await again, found(150, 9));
  });

  it("get errors of a source that throws at once as rejections", async () => {
    const source = cached({
      size: 100,
      read: () => Promise.reject(new Error("unused")),
      readInto() {
        throw new Error("at once");
      },
    });
    await assert.rejects(async () => source.readInto!(0, new Uint8Array(4)), /at once/);
  });

  it("wait in line while there is no room, which reads given up take until they end", async () => {
    const gated = gatedSource(bytes, { heedsSignal: false });
    const source = cached(gated, small);
    const controller = new AbortController();
    const given = assert.rejects(source.read(0, 300, controller), /enough/);
    const big = source.read(300, 200, controller).catch((error: Error) => error.message);
    const next = source.read(600, 100);
    assert.deepEqual(gated.ranges, ["0+300"]);
    controller.abort(new Error("enough"));
    await given;
    assert.equal(await big, "enough");
    assert.deepEqual(gated.ranges, ["0+300", "600+100"]);
    const last = source.read(700, 100);
    assert.equal(gated.reads.length, 2);
    gated.reads[0]!.pass();
    await settle();
    assert.deepEqual(gated.ranges.slice(2), ["700+100"]);
    await passAll(gated);
    assert.deepEqual([await next, await last], [found(600, 100), found(700, 100)]);
  });

  it("are told when the source is closed, and nothing in line begins any more", async () => {
    const gated = gatedSource(bytes);
    const source = cached(gated, small);
    const reads = [source.read(0, 300), source.read(200, 300), source.read(600, 100)];
    const told = reads.map((read) => assert.rejects(read, raises("CLOSED", /gated has been closed/)));
    assert.deepEqual(gated.ranges, ["0+300"]);
    await source.close?.();
    await Promise.all(told);
    assert.equal(gated.isClosed, true);
    assert.equal(gated.reads[0]!.signal!.aborted, true);
    await settle();
    assert.equal(gated.reads.length, 1);
    await assert.rejects(source.read(0, 1), raises("CLOSED"));
    await source.close?.();
  });
});

describe("reading ahead", () => {
  const options: CacheOptions = { block: 100, budget: 800, ahead: 3 };

  it("begins when reads go forward, keeps its distance and ends with the source", async () => {
    const { source, ranges } = quick(options);
    await source.read(0, 100);
    assert.deepEqual(ranges, ["0+100"]);
    await source.read(110, 10);
    assert.deepEqual(ranges.splice(0), ["0+100", "100+100", "200+300"]);
    // Backwards or far away is not forward.
    await source.read(105, 5);
    await source.read(900, 50);
    assert.deepEqual(ranges.splice(0), ["900+100"]);
    for (const offset of [200, 290, 310, 450])
      assert.deepEqual(await source.read(offset, 80), found(offset, 80));
    assert.deepEqual(ranges.splice(0), ["500+200", "700+200"]);
    for (let offset = 530; offset < 1050; offset += 40) await source.read(offset, 10);
    assert.deepEqual(ranges, ["1000+50"]);
  });

  it("never waits in line, and takes at most half of the budget", async () => {
    const gated = gatedSource(bytes);
    const source = cached(gated, { block: 100, budget: 400, ahead: 100 });
    const reads = [source.read(0, 100), source.read(100, 100), source.read(200, 100)];
    // Blocks 2 and 3 are read ahead; then there is no room for more.
    assert.deepEqual(gated.ranges, ["0+100", "100+100", "200+200"]);
    await passAll(gated);
    assert.deepEqual(await Promise.all(reads), [found(0, 100), found(100, 100), found(200, 100)]);
    assert.equal(gated.reads.length, 3);
  });

  it("goes on when those who wait for it give up", async () => {
    const gated = gatedSource(bytes);
    const source = cached(gated, options);
    const reads = [source.read(0, 100), source.read(100, 100)];
    const controller = new AbortController();
    const given = assert.rejects(source.read(250, 10, controller), /enough/);
    controller.abort(new Error("enough"));
    await given;
    assert.equal(gated.reads[2]!.signal!.aborted, false);
    await passAll(gated);
    await Promise.all(reads);
    assert.equal(source.readInto!(250, new Uint8Array(10)), undefined);
  });

  it("fails in silence, and does not spoil the read of one who wants a block of it", async () => {
    const gated = gatedSource(bytes);
    const source = cached(gated, options);
    const reads = [source.read(0, 100), source.read(100, 100)];
    const joined = source.read(350, 10);
    assert.deepEqual(gated.ranges, ["0+100", "100+100", "200+300"]);
    gated.reads[0]!.pass();
    gated.reads[1]!.pass();
    gated.reads[2]!.fail(new Error("broken"));
    await Promise.all(reads);
    await settle();
    assert.deepEqual(gated.ranges.slice(3), ["300+100"]);
    gated.reads[3]!.pass();
    assert.deepEqual(await joined, found(350, 10));
    const wanted = source.read(250, 10);
    assert.deepEqual(gated.ranges[4], "200+100");
    gated.reads[4]!.fail(new Error("still broken"));
    await assert.rejects(wanted, /still broken/);
  });
});
