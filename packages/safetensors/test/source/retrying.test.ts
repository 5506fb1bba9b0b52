import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type ErrorCode, SafetensorsError } from "../../src/errors.ts";
import { fromBytes } from "../../src/source/memory.ts";
import { type RetryingOptions, retrying } from "../../src/source/retrying.ts";
import type { ByteSource, ReadOptions } from "../../src/source/source.ts";
import { noise, raises } from "../support.ts";
import { gatedSource, settle } from "./gated-source.ts";

const bytes = noise(1000);
const quick: RetryingOptions = { firstWait: 0 };

interface Flaky extends ByteSource {
  /** Reads so far. */
  count: number;
}

/** A source whose reads throw what `fault` gives for their number, from 1 on, at once or later. */
function flaky(fault: (number: number) => unknown, kind: "now" | "later" | "read only" = "later"): Flaky {
  const memory = fromBytes(bytes);
  const check = (): void => {
    const error = fault(++source.count);
    if (error !== undefined) throw error;
  };
  const source: Flaky = {
    size: memory.size,
    name: "flaky",
    cost: { operation: 1, byte: 2 },
    count: 0,
    async read(offset: number, length: number) {
      await null;
      check();
      return memory.read(offset, length);
    },
    ...(kind === "now" && {
      readInto(offset: number, target: Uint8Array) {
        check();
        memory.readInto!(offset, target);
      },
    }),
    ...(kind === "later" && {
      async readInto(offset: number, target: Uint8Array) {
        await null;
        check();
        memory.readInto!(offset, target);
      },
    }),
  };
  return source;
}

const firstTimes =
  (times: number, error: unknown) =>
  (number: number): unknown =>
    number <= times ? error : undefined;

async function readBothWays(source: ByteSource, offset: number, length: number, options?: ReadOptions) {
  const found = await source.read(offset, length, options);
  if (!source.readInto) return found;
  const target = new Uint8Array(length);
  await source.readInto(offset, target, options);
  assert.deepEqual(target, new Uint8Array(found));
  return found;
}

describe("retrying", () => {
  it("passes on what a source is and can do, and no more", async () => {
    const plain = retrying(flaky(() => undefined, "read only"));
    assert.deepEqual([plain.size, plain.name, plain.cost], [1000, "flaky", { operation: 1, byte: 2 }]);
    assert.deepEqual(["view" in plain, "readInto" in plain], [false, false]);
    const gated = gatedSource(bytes);
    await retrying(gated).close?.();
    assert.equal(gated.isClosed, true);
    assert.deepEqual(retrying(fromBytes(bytes)).view!(3, 4), bytes.subarray(3, 7));
  });

  it("gives the bytes whatever fails in passing", async () => {
    const kind = fc.constantFrom("now", "later", "read only");
    const faults = fc.array(fc.nat(3), { minLength: 1, maxLength: 20 });
    const ranges = fc.array(fc.tuple(fc.nat(500), fc.nat(500)), { minLength: 1, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(kind, faults, ranges, fc.boolean(), async (kind, faults, ranges, together) => {
        // Every third read passes, but among several at once it may be another's, so there are tries enough.
        const errors = [undefined, new Error("odd"), new SafetensorsError("IO", "odd"), "odd"];
        const source = retrying(
          flaky((number) => (number % 3 === 0 ? undefined : errors[faults[number % faults.length]!]), kind),
          { ...quick, tries: 1000 },
        );
        const read = async ([offset, length]: readonly [number, number]): Promise<void> => {
          const found = new Uint8Array(await readBothWays(source, offset, length));
          assert.deepEqual(found, bytes.slice(offset, offset + length));
        };
        if (together) await Promise.all(ranges.map(read));
        else for (const range of ranges) await read(range);
      }),
      { seed: 42, numRuns: 100 },
    );
  });

  it("tries as often as allowed, and then says what failed", async () => {
    for (const kind of ["now", "later", "read only"] as const) {
      const ours = flaky(() => new SafetensorsError("IO", "broken", { at: 7 }), kind);
      await assert.rejects(retrying(ours, quick).read(0, 1), raises("IO", /broken \(5 tries\)$/, { at: 7 }));
      assert.equal(ours.count, 5);
      const cause = new TypeError("fetch failed");
      const foreign = flaky(() => cause, kind);
      const expected = raises("IO", /flaky failed: fetch failed \(3 tries\)$/, { at: 5, cause });
      const source = retrying(foreign, { ...quick, tries: 3 });
      await assert.rejects(source.read(5, 1), expected);
      if (source.readInto) await assert.rejects(async () => source.readInto!(5, new Uint8Array(1)), expected);
      assert.equal(foreign.count, source.readInto ? 6 : 3);
    }
  });

  it("counts the tries of each read by themselves", async () => {
    const source = flaky((number) => (number % 2 ? new Error("odd") : undefined));
    const patient = retrying(source, { ...quick, tries: 2 });
    for (let i = 0; i < 10; i++) await patient.read(i, 1);
    assert.equal(source.count, 20);
  });

  it("does not try again what no repetition cures, whatever the caller thinks", async () => {
    const codes: ErrorCode[] = ["OUT_OF_RANGE", "CLOSED", "SOURCE_CHANGED", "UNSUPPORTED", "LIMIT_EXCEEDED"];
    const final = [
      ...codes.map((code) => new SafetensorsError(code, "no")),
      AbortSignal.abort().reason as unknown,
    ];
    for (const error of final) {
      const source = flaky(firstTimes(1, error), "now");
      const eager = retrying(source, { ...quick, isPassing: () => true });
      await assert.rejects(eager.read(0, 1), (found) => found === error);
      assert.equal(source.count, 1);
      source.count = 0;
      await assert.rejects(
        async () => eager.readInto!(0, new Uint8Array(1)),
        (found) => found === error,
      );
      assert.equal(source.count, 1);
    }
  });

  it("tries again what may pass, which the caller may decide", async () => {
    const missing = new SafetensorsError("NOT_FOUND", "not yet");
    for (const [error, isPassing, times] of [
      [missing, undefined, 1],
      [missing, () => true, 2],
      [new Error("odd"), () => false, 1],
      [new SafetensorsError("SHORT_READ", "cut"), undefined, 2],
      [new DOMException("slow", "TimeoutError"), undefined, 2],
    ] as const) {
      const source = flaky(firstTimes(1, error));
      await retrying(source, { ...quick, isPassing })
        .read(0, 1)
        .catch((found) => assert.equal(found, error));
      assert.equal(source.count, times, String(error));
    }
  });

  it("reads again where bytes are missing", async () => {
    let count = 0;
    const short: ByteSource = { size: 9, read: async (_, length) => new Uint8Array(count++ ? length : 1) };
    assert.equal((await retrying(short, quick).read(0, 4)).length, 4);
    assert.equal(count, 2);
  });

  it("does not wait where the source does not, unless it fails", async () => {
    const target = new Uint8Array(4);
    assert.equal(retrying(flaky(() => undefined, "now")).readInto!(5, target), undefined);
    assert.deepEqual(target, bytes.slice(5, 9));
    const again = retrying(flaky(firstTimes(1, new Error("odd")), "now"), quick).readInto!(9, target);
    assert.ok(again);
    await again;
    assert.deepEqual(target, bytes.slice(9, 13));
  });

  it("ends with the signal of its caller, and with no other", async () => {
    const source = flaky(firstTimes(2, new Error("odd")));
    const slow = retrying(source, { firstWait: 40 });
    const controller = new AbortController();
    const ended = slow.read(0, 4, { signal: controller.signal });
    const other = slow.read(4, 4, { signal: new AbortController().signal });
    await settle();
    controller.abort(new Error("enough"));
    await assert.rejects(ended, /enough/);
    assert.deepEqual(await other, bytes.subarray(4, 8));
    assert.equal(source.count, 3);

    const gated = gatedSource(bytes, { heedsSignal: false });
    const late = retrying(gated, quick).read(0, 4, { signal: controller.signal });
    gated.reads[0]!.fail(new Error("odd"));
    await assert.rejects(late, /enough/);
    assert.equal(gated.reads.length, 1);
  });
});
