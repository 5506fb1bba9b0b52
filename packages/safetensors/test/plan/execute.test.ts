import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { SafetensorsError } from "../../src/errors.ts";
import { BufferPool } from "../../src/plan/buffer-pool.ts";
import { type DeliveredTensor, executePlan, type Progress } from "../../src/plan/execute.ts";
import { planReads, type ReadPlan } from "../../src/plan/plan.ts";
import type { ByteSource } from "../../src/source/source.ts";
import type { Piece, TensorView } from "../../src/view/tiling.ts";
import { noise, raises } from "../support.ts";
import { KINDS, type TestSource, testSource } from "./sources.ts";

const SIZE = 1000;

/** Tensors of `SIZE` bytes one after the other. */
function tensors(source: ByteSource, count: number, size = SIZE): TensorView[] {
  return Array.from({ length: count }, (_, i) => {
    return { source, dtype: "U8", shape: [size], strides: [1], bitOffset: i * size * 8 };
  });
}

/** A plan in which each tensor is a read of its own. */
const planOf = (source: ByteSource, count: number): ReadPlan =>
  planReads(tensors(source, count), { maxRead: SIZE });

/** Where possible, reads are made straight into the tensors' memory. */
const cost = { operation: 0, byte: 1 };
const sourceOf = (count: number, kind: (typeof KINDS)[number] = "readInto async"): TestSource =>
  testSource(noise(count * SIZE), kind, { name: "file", cost });

const turns = async (count: number): Promise<void> => {
  for (let turn = 0; turn < count; turn++) await new Promise(setImmediate);
};

async function all(run: AsyncIterable<DeliveredTensor>): Promise<Map<number, Uint8Array>> {
  const found = new Map<number, Uint8Array>();
  for await (const { tensor, bytes } of run) found.set(tensor, bytes);
  return found;
}

describe("the memory of delivered tensors", () => {
  for (const kind of KINDS) {
    it(`is used again where it is borrowed, from a source with ${kind}`, async () => {
      const source = sourceOf(40, kind);
      const buffers = new Set<ArrayBufferLike>();
      const run = executePlan(planOf(source, 40), {
        borrowed: true,
        concurrency: 2,
        budget: 4 * 8192,
      });
      let count = 0;
      for await (const { tensor, bytes } of run) {
        assert.deepEqual(bytes, source.bytes.subarray(tensor * SIZE, (tensor + 1) * SIZE));
        buffers.add(bytes.buffer);
        count++;
      }
      assert.equal(count, 40);
      assert.ok(buffers.size <= 32, `${buffers.size} buffers`);
      assert.ok(kind === "readInto async" || buffers.size <= 4, `${buffers.size} buffers`);
    });

    it(`is new and the caller's where it is owned, from a source with ${kind}`, async () => {
      const source = sourceOf(40, kind);
      const found = await all(executePlan(planOf(source, 40), { budget: 3 * 8192 }));
      assert.equal(new Set([...found.values()].map(({ buffer }) => buffer)).size, 40);
      for (const [tensor, bytes] of found) {
        assert.deepEqual(bytes, source.bytes.subarray(tensor * SIZE, (tensor + 1) * SIZE));
        assert.equal(bytes.buffer.byteLength, SIZE);
      }
    });
  }

  it("may be sent to another thread, borrowed or not", async () => {
    for (const borrowed of [false, true]) {
      const source = sourceOf(50);
      const pool = new BufferPool(2 * SIZE);
      let count = 0;
      for await (const { bytes } of executePlan(planOf(source, 50), { borrowed, pool })) {
        structuredClone(bytes, { transfer: [bytes.buffer as ArrayBuffer] });
        assert.equal(bytes.length, 0);
        count++;
      }
      assert.deepEqual([count, pool.used], [50, 0]);
    }
  });

  it("has zeros behind the last element, whatever was there before", async () => {
    const source = testSource(new Uint8Array(100).fill(0xff), "readInto sync", { name: "file", cost });
    const views = Array.from({ length: 20 }, (_, i): TensorView => {
      return { source, dtype: "F4", shape: [3], strides: [i % 2 === 0 ? 1 : 2], bitOffset: i * 32 };
    });
    const buffers = new Set<ArrayBufferLike>();
    for await (const { bytes } of executePlan(planReads(views), { borrowed: true, budget: 4096 + 2 })) {
      assert.deepEqual([...bytes], [0xff, 0x0f]);
      bytes.fill(0xff);
      buffers.add(bytes.buffer);
    }
    assert.equal(buffers.size, 1);
  });

  it("is what the caller gives, of the right size only", async () => {
    const source = sourceOf(3);
    const given = Array.from({ length: 3 }, () => new Uint8Array(SIZE));
    const run = executePlan(planOf(source, 3), {
      targetOf: (tensor) => given[tensor]!,
      budget: 0,
    });
    for (const [tensor, bytes] of await all(run)) assert.equal(bytes, given[tensor]);
    for (const size of [0, SIZE - 1, SIZE + 1]) {
      const wrong = { targetOf: () => new Uint8Array(size), nameOf: () => "w" };
      const expected = raises(
        "SIZE_MISMATCH",
        new RegExp(`tensor "w" has ${size} bytes, its data has 1000`),
        {
          tensor: "w",
        },
      );
      await assert.rejects(all(executePlan(planOf(source, 3), wrong)), expected);
    }
    const failing = { targetOf: (): never => assert.fail("no memory"), nameOf: () => "w" };
    await assert.rejects(all(executePlan(planOf(source, 3), failing)), /^AssertionError.*no memory/);
  });
});

describe("delivered tensors", () => {
  it("come in the order in which they are complete", async () => {
    const source = sourceOf(20, "readInto sync");
    // All are in one read.
    const order = [...(await all(executePlan(planReads(tensors(source, 20))))).keys()];
    assert.deepEqual(order, [...order.keys()]);
  });

  it("are right where a read of whole pages begins anywhere", async () => {
    const bytes = noise(10_000);
    for (let start = 0; start < 8; start++) {
      for (const kind of KINDS) {
        const source = testSource(bytes, kind);
        const view = {
          source,
          dtype: "U8",
          shape: [2048],
          strides: [2],
          bitOffset: (start + 1) * 8,
        } as const;
        const last = { ...view, shape: [1], bitOffset: (start + 4096) * 8 };
        const first = { ...view, shape: [1], bitOffset: start * 8 };
        const found = await all(executePlan(planReads([first, view, last])));
        const every = (from: number, count: number): number[] =>
          Array.from({ length: count }, (_, i) => bytes[from + 2 * i]!);
        assert.deepEqual([...found.get(1)!], every(start + 1, 2048));
        assert.deepEqual([...found.get(2)!], every(start + 4096, 1));
      }
    }
  });

  it("are right where small elements are whole bytes in the source, but not in the tensor", async () => {
    const bytes = Uint8Array.of(0x21, 0x43, 0x65, 0x87);
    for (const kind of KINDS) {
      const source = testSource(bytes, kind, { cost });
      const piece = (at: number, shape: number[], bitOffset: number): Piece => {
        return { at: [at], view: { source, dtype: "F4", shape, strides: [1], bitOffset } };
      };
      const pieces = [piece(0, [1], 28), piece(1, [2], 0), piece(3, [2], 16)];
      const found = await all(executePlan(planReads([{ dtype: "F4", shape: [5], pieces }])));
      assert.deepEqual([...found.get(0)!], [0x18, 0x52, 0x06]);
    }
  });
});

describe("reading ahead", () => {
  it("goes on while the caller is busy, as far as the budget allows", async () => {
    const source = sourceOf(20);
    const run = executePlan(planOf(source, 20), { budget: 5 * SIZE, concurrency: 2 });
    await run.next();
    await turns(30);
    assert.equal(source.seen.length, 5);
    await run.next();
    await turns(30);
    assert.equal(source.seen.length, 6);
    await run.return();
  });

  it("has no more reads in flight than allowed", async () => {
    for (const concurrency of [1, 3, 7]) {
      const source = sourceOf(30);
      source.delay = (number) => 1 + (number % 3);
      let most = 0;
      source.onEnd = () => {
        most = Math.max(most, source.pending);
      };
      assert.equal((await all(executePlan(planOf(source, 30), { concurrency }))).size, 30);
      assert.equal(most, concurrency);
    }
  });

  it("takes at least one read at a time, whatever it is told", async () => {
    for (const concurrency of [0, -1, Number.NaN])
      assert.equal((await all(executePlan(planOf(sourceOf(3), 3), { concurrency }))).size, 3);
  });

  it("does not happen for a source that does not wait", async () => {
    for (const kind of ["view", "readInto sync"] as const) {
      const source = sourceOf(20, kind);
      const run = executePlan(planOf(source, 20));
      await run.next();
      assert.equal(source.seen.length, 1);
      await run.next();
      assert.equal(source.seen.length, 2);
      await run.return();
    }
  });

  it("uses four reads for files, and finds out for servers", async (test) => {
    // A clock that counts the turns of the event loop.
    let now = 0;
    const tick = (): void => {
      now++;
      ticking = setImmediate(tick);
    };
    let ticking = setImmediate(tick);
    test.mock.method(performance, "now", () => now);
    test.after(() => clearImmediate(ticking));
    const most = async (operation: number): Promise<number> => {
      const source = testSource(noise(300 * SIZE), "readInto async", { cost: { operation, byte: 1e9 } });
      let most = 0;
      source.onEnd = () => {
        most = Math.max(most, source.pending);
      };
      // Reads that take some time, as many as there are at once.
      source.delay = () => 12;
      await all(executePlan(planOf(source, 300)));
      return most;
    };
    assert.equal(await most(1e-6), 4);
    assert.equal(await most(50e-3), 16);
  });
});

describe("the budget", () => {
  it("keeps the tensors of several files together few", async () => {
    const sources = Array.from({ length: 4 }, () => testSource(noise(50 * SIZE), "readInto async", { cost }));
    const views = Array.from({ length: 50 }, (_, number): TensorView => {
      const pieces = sources.map((source, i) => {
        const bitOffset = number * SIZE * 8;
        return {
          at: [i, 0],
          view: { source, dtype: "U8", shape: [1, SIZE], strides: [SIZE, 1], bitOffset } as const,
        };
      });
      return { dtype: "U8", shape: [4, SIZE], pieces };
    });
    const plan = planReads(views);
    assert.equal(plan.summary.peakMemory, 4 * SIZE);
    let begun = 0;
    let most = 0;
    let done = 0;
    const targetOf = (): Uint8Array => {
      most = Math.max(most, ++begun - done);
      return new Uint8Array(4 * SIZE);
    };
    for await (const _ of executePlan(plan, { targetOf, concurrency: 4 })) done++;
    assert.ok(done === 50 && most <= 3, `${most} open at once`);
    const found = await all(executePlan(plan, { budget: 4 * SIZE }));
    for (const [tensor, bytes] of found) {
      for (const [i, source] of sources.entries()) {
        const own = source.bytes.subarray(tensor * SIZE, (tensor + 1) * SIZE);
        assert.deepEqual(bytes.subarray(i * SIZE, (i + 1) * SIZE), own);
      }
    }
  });

  it("is raised for a large tensor that is in the file, not for one that is made from little", async () => {
    const size = 300 << 20;
    const zeros: ByteSource = { size, read: () => assert.fail(), readInto: () => {} };
    const large = planReads([{ source: zeros, dtype: "U8", shape: [size], strides: [1], bitOffset: 0 }]);
    const first = await executePlan(large).next();
    assert.equal((first.value as DeliveredTensor).bytes.length, size);
    const repeated = planReads([{ source: zeros, dtype: "U8", shape: [size], strides: [0], bitOffset: 0 }]);
    await assert.rejects(executePlan(repeated).next(), raises("LIMIT_EXCEEDED", /budget of 268435456 bytes/));
  });

  it("fails rather than wait where others hold the memory of a shared pool", async () => {
    const pool = new BufferPool(4 * SIZE);
    const source = sourceOf(4);
    const run = executePlan(planOf(source, 4), { pool });
    await run.next();
    await turns(10);
    pool.reserve(3 * SIZE);
    const rest = async (): Promise<void> => {
      for await (const _ of run);
    };
    await assert.doesNotReject(rest);
    const other = executePlan(planOf(sourceOf(4), 4), { pool });
    assert.equal((await other.next()).done, false);
    pool.reserve(SIZE);
    await assert.rejects(other.next(), raises("LIMIT_EXCEEDED"));
  });
});

describe("progress", () => {
  it("is told after every read, and ends at what the plan said", async () => {
    for (const kind of KINDS) {
      const source = sourceOf(10, kind);
      const empty: TensorView = { source, dtype: "U8", shape: [0], strides: [1], bitOffset: 0 };
      const plan = planReads([...tensors(source, 10), empty], { maxRead: SIZE });
      const told: Progress[] = [];
      await all(executePlan(plan, { onProgress: (progress) => told.push(progress) }));
      assert.equal(told.length, 10);
      assert.deepEqual(told.at(-1), { bytes: 10_000, totalBytes: 10_000, tensors: 11, totalTensors: 11 });
      assert.deepEqual(
        told.map(({ bytes }) => bytes),
        told.map((_, i) => (i + 1) * SIZE),
      );
    }
  });

  it("ends the run when telling it fails", async () => {
    for (const kind of KINDS) {
      const source = sourceOf(10, kind);
      const error = new Error("no");
      const onProgress = (): never => {
        throw error;
      };
      const run = all(executePlan(planOf(source, 10), { onProgress, nameOf: () => "w" }));
      await assert.rejects(run, (found) => found === error);
      assert.equal(source.pending, 0);
    }
  });
});

describe("a failure", () => {
  it("is of the source where it gives too little or too much, however it gives it", async () => {
    for (const wrong of [0, 1, 999, 1001]) {
      const bytes = new Uint8Array(wrong);
      const sources: ByteSource[] = [
        { size: 5000, name: "mine", read: async () => bytes },
        { size: 5000, name: "mine", read: async () => bytes, view: () => bytes },
      ];
      for (const source of sources) {
        const expected = raises(
          "SHORT_READ",
          new RegExp(`mine gave ${wrong} bytes where 1000 were asked for`),
          {
            tensor: "w",
            file: "mine",
            at: 0,
          },
        );
        await assert.rejects(all(executePlan(planOf(source, 1), { nameOf: () => "w" })), expected);
      }
    }
  });

  it("without names is what the source threw", async () => {
    const error = new TypeError("the network");
    const throws = (): never => {
      throw error;
    };
    const rejects = async (): Promise<never> => throws();
    for (const source of [
      { size: 5000, read: rejects },
      { size: 5000, read: throws },
      { size: 5000, read: throws, readInto: throws },
      { size: 5000, read: throws, readInto: rejects },
      { size: 5000, read: throws, view: throws },
    ] as ByteSource[]) {
      await assert.rejects(all(executePlan(planOf(source, 2))), (found) => found === error);
    }
  });

  it("that has the name of a tensor already keeps it", async () => {
    const error = new SafetensorsError("IO", "no", { tensor: "other" });
    const source = { size: 5000, read: async () => Promise.reject(error) };
    await assert.rejects(
      all(executePlan(planOf(source, 1), { nameOf: () => "w" })),
      (found) => found === error,
    );
  });

  it("is the last that is told, though other reads end later", async () => {
    const source = testSource(noise(4 * SIZE), "readInto async", { cost, heedsSignal: false });
    source.delay = (number) => (number === 1 ? 2 : number * 10);
    source.onEnd = (_, number) => {
      if (number === 1) throw new Error("no");
    };
    let told = 0;
    const onProgress = (): void => {
      told++;
    };
    await assert.rejects(all(executePlan(planOf(source, 4), { onProgress })), /no/);
    assert.deepEqual([told, source.pending], [1, 0]);
  });

  it("ends the other reads at once", async () => {
    const source = sourceOf(8);
    source.delay = (number) => (number === 1 ? 1 : 1000);
    source.onEnd = (_, number) => {
      if (number === 1) throw new Error("no");
    };
    await assert.rejects(all(executePlan(planOf(source, 8))), /no/);
    assert.equal(source.pending, 0);
  });

  it("is seen although the caller is busy with a tensor that came before", async () => {
    const source = sourceOf(3);
    source.onEnd = (_, number) => {
      if (number === 1) throw new Error("no");
    };
    const run = executePlan(planOf(source, 3), { concurrency: 1 });
    await run.next();
    await turns(10);
    await assert.rejects(run.next(), /no/);
    assert.deepEqual(await run.next(), { done: true, value: undefined });
  });
});

describe("a signal", () => {
  it("ends a run at once, though reads would take long", async () => {
    const source = sourceOf(8);
    source.delay = () => 100_000;
    const controller = new AbortController();
    const run = all(executePlan(planOf(source, 8), { signal: controller.signal }));
    await turns(5);
    controller.abort(new Error("enough"));
    await assert.rejects(run, /enough/);
    assert.equal(source.pending, 0);
  });

  it("that was aborted before lets nothing begin", async () => {
    const source = sourceOf(8);
    const run = executePlan(planOf(source, 8), {
      signal: AbortSignal.abort(new Error("enough")),
    });
    await assert.rejects(run.next(), /enough/);
    assert.equal(source.seen.length, 0);
  });

  it("while the caller is busy ends the run when it asks for the next one", async () => {
    const controller = new AbortController();
    const run = executePlan(planOf(sourceOf(8), 8), { signal: controller.signal });
    await run.next();
    controller.abort(new Error("enough"));
    await assert.rejects(run.next(), /enough/);
  });

  it("keeps no listener of a run that is over", async () => {
    const { signal } = new AbortController();
    let listeners = 0;
    const { addEventListener, removeEventListener } = signal;
    signal.addEventListener = (...parts: Parameters<typeof addEventListener>) => {
      assert.equal(parts[0], "abort");
      listeners++;
      addEventListener.apply(signal, parts);
    };
    signal.removeEventListener = (...parts: Parameters<typeof removeEventListener>) => {
      assert.equal(parts[0], "abort");
      listeners--;
      removeEventListener.apply(signal, parts);
    };
    const source = sourceOf(3, "readInto sync");
    await all(executePlan(planOf(source, 3), { signal }));
    const stopped = executePlan(planOf(source, 3), { signal });
    await stopped.next();
    await stopped.return();
    await assert.rejects(executePlan(planOf(source, 3), { signal, budget: 1 }).next());
    assert.equal(listeners, 0);
  });
});
