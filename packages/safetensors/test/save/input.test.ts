import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Bytes, InputData, LazyData } from "../../src/save/input.ts";
import { type SaveInput, type SaveOptions, save } from "../../src/save/save.ts";
import { noise, raises } from "../support.ts";
import { recordedSink } from "./sinks.ts";

const MIB = 1 << 20;

const bytesInput = (size: number, data: InputData | LazyData): SaveInput => ({
  dtype: "U8",
  shape: [size],
  data,
});

/** The file with one tensor of so many bytes out of this data. */
async function saved(size: number, data: InputData | LazyData, options?: SaveOptions): Promise<Uint8Array> {
  const sink = recordedSink(true);
  await save(sink, { w: bytesInput(size, data) }, options);
  assert.deepEqual(sink.ends, ["commit"]);
  assert.ok(Math.max(...sink.pieces) <= MIB, `pieces of ${Math.max(...sink.pieces)} bytes`);
  return sink.bytes();
}

/** What must not be saved: gives what the sink was told. */
async function refused(
  inputs: Readonly<Record<string, SaveInput>>,
  expected: RegExp | ((error: unknown) => boolean),
  options?: SaveOptions,
): Promise<void> {
  const sink = recordedSink();
  await assert.rejects(save(sink, inputs, options), expected);
  assert.deepEqual(sink.ends, ["abort"]);
}

function cut(bytes: Uint8Array, ends: readonly number[]): Uint8Array[] {
  const places = [0, ...[...ends].sort((a, b) => a - b), bytes.length];
  return places.slice(1).map((end, i) => bytes.subarray(places[i], end));
}

async function* later<T>(values: Iterable<T>): AsyncGenerator<T, void, undefined> {
  for (const value of values) {
    await new Promise(setImmediate);
    yield value;
  }
}

/** Ways to give the same pieces. */
const WAYS: Readonly<Record<string, (parts: Uint8Array<ArrayBuffer>[]) => InputData | LazyData>> = {
  "an array": (parts) => parts,
  "an array of other views and buffers": (parts) =>
    parts.map((part, i): Bytes => {
      if (i % 3 === 0) return part.slice().buffer;
      return i % 3 === 1 ? new DataView(part.buffer, part.byteOffset, part.length) : Buffer.from(part);
    }),
  "a generator": (parts) => parts.values(),
  "an async generator": (parts) => later(parts),
  "a ReadableStream": (parts) => ReadableStream.from(later(parts)),
  "a ReadableStream that browsers cannot iterate over": (parts) => {
    const stream = ReadableStream.from(parts);
    return { getReader: () => stream.getReader() } as ReadableStream;
  },
  "a stream of bytes": (parts) => {
    return new ReadableStream({
      type: "bytes",
      start(controller) {
        for (const part of parts) if (part.length > 0) controller.enqueue(part.slice());
        controller.close();
      },
    });
  },
  "a stream of Node": (parts) => Readable.from(later(parts)),
  "the body of a Response": (parts) => new Response(new Blob(parts)).body!,
  "a Blob": (parts) => new Blob(parts),
  "a function": (parts) => () => new Blob(parts).arrayBuffer(),
  "an async function": (parts) => async () => later(parts),
  "memory used again": (parts) => {
    const memory = new Uint8Array(Math.max(0, ...parts.map(({ length }) => length)));
    return (function* () {
      for (const part of parts) {
        memory.set(part);
        yield memory.subarray(0, part.length);
        memory.fill(0xee);
      }
    })();
  },
};

describe("data to save", () => {
  for (const [name, way] of Object.entries(WAYS)) {
    it(`may be ${name}, in pieces of any sizes`, async () => {
      const property = fc.asyncProperty(
        fc.nat(300),
        fc.array(fc.nat(300), { maxLength: 6 }),
        async (size, ends) => {
          const bytes = noise(size, size);
          const parts = cut(
            bytes,
            ends.map((end) => Math.min(end, size)),
          ) as Uint8Array<ArrayBuffer>[];
          assert.deepEqual(await saved(size, way(parts)), await saved(size, bytes));
        },
      );
      await fc.assert(property, { seed: 51, numRuns: 15 });
    });
  }

  it("may be a function that is called when its turn comes, by the order in the file", async () => {
    const calls: string[] = [];
    const sink = recordedSink(true);
    let before = 0;
    const lazy = (name: string) =>
      bytesInput(4, () => {
        calls.push(name);
        if (calls.length === 1) before = sink.bytes().length;
        assert.equal(sink.bytes().length, before + 4 * (calls.length - 1));
        return noise(4);
      });
    const wide: SaveInput = { dtype: "F64", shape: [], data: () => Promise.reject(new Error("not yet")) };
    await save(sink, { c: lazy("c"), a: lazy("a"), b: lazy("b") });
    assert.deepEqual(calls, ["a", "b", "c"]);
    await refused({ a: lazy("d"), wide }, /not yet/);
    assert.equal(calls.length, 3);
  });

  it("goes on in pieces of at most 1 MiB, however large they come", async () => {
    const bytes = noise(2 * MIB + 5);
    const expected = await saved(bytes.length, bytes);
    for (const data of [new Blob([bytes]), [bytes], later([bytes]), () => bytes]) {
      assert.equal(Buffer.compare(await saved(bytes.length, data), expected), 0);
    }
  });

  it("is not all read at once where it is a Blob", async () => {
    const slices: number[] = [];
    class Watched extends Blob {
      override slice(start?: number, end?: number): Blob {
        slices.push(end! - start!);
        return super.slice(start, end);
      }
      override arrayBuffer(): Promise<ArrayBuffer> {
        return assert.fail("the whole Blob is read");
      }
      override stream(): never {
        return assert.fail("the whole Blob is read");
      }
    }
    const size = 16 * MIB + 5;
    const bytes = new Uint8Array(size).fill(7);
    bytes.fill(9, -8);
    const found = await saved(size, new Watched([bytes]));
    assert.equal(Buffer.compare(found.subarray(-size), bytes), 0);
    assert.deepEqual(slices, [16 * MIB, 16 * MIB]);
  });

  it("is told of piece by piece", async () => {
    const steps: number[] = [];
    await saved(6, later([noise(1), noise(2), noise(0), noise(3)]), {
      onProgress: (done) => steps.push(done),
    });
    assert.deepEqual(steps, [1, 3, 6]);
  });

  it("is not asked for more before the sink has taken what came", async () => {
    const sink = recordedSink(true);
    let header = 0;
    const data = (function* () {
      header = sink.bytes().length;
      for (let i = 0; i < 4; i++) {
        assert.equal(sink.bytes().length, header + 5 * i);
        yield noise(5);
      }
    })();
    await save(sink, { w: bytesInput(20, data) });
    assert.equal(sink.bytes().length, header + 20);
  });
});

/** A generator that says whether it was begun and closed. */
function watched(
  count: number,
  sync: boolean,
): { data: InputData; state: { begun: boolean; closed: boolean } } {
  const state = { begun: false, closed: false };
  function* chunks(): Generator<Uint8Array, void, undefined> {
    state.begun = true;
    try {
      for (let i = 0; i < count; i++) yield noise(4);
    } finally {
      state.closed = true;
    }
  }
  async function* asyncChunks(): AsyncGenerator<Uint8Array, void, undefined> {
    yield* chunks();
  }
  return { data: sync ? chunks() : asyncChunks(), state };
}

describe("saving gives up, closing what it reads,", () => {
  it("when too few or too many bytes come", async () => {
    for (const way of Object.values(WAYS)) {
      for (const [size, amount] of [
        [9, /SIZE_MISMATCH: tensor "w" was declared with 9 bytes, but only 8 came/],
        [7, /SIZE_MISMATCH: tensor "w" was declared with 7 bytes, but more came/],
      ] as const) {
        const data = way([noise(4), noise(4)]);
        await refused({ w: bytesInput(size, data) }, (error) => {
          assert.match(String(error), amount);
          return raises("SIZE_MISMATCH", amount, { tensor: "w" })(error);
        });
      }
    }
  });

  it("when there is no end of it", async () => {
    for (const sync of [true, false]) {
      const { data, state } = watched(Number.POSITIVE_INFINITY, sync);
      await refused({ w: bytesInput(1000, data) }, raises("SIZE_MISMATCH", /more came/));
      assert.ok(state.closed);
    }
    let cancelled = false;
    const stream = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(noise(4)),
      cancel() {
        cancelled = true;
      },
    });
    await refused({ w: bytesInput(1000, stream) }, raises("SIZE_MISMATCH", /more came/));
    assert.ok(cancelled);
  });

  it("when the sink fails; what has not begun stays untouched", async () => {
    for (const sync of [true, false]) {
      const [first, second] = [watched(1000, sync), watched(1, sync)];
      const sink = recordedSink(true, 200);
      const inputs = { a: bytesInput(4000, first.data), b: bytesInput(4, second.data) };
      await assert.rejects(save(sink, inputs), /the disk is full/);
      assert.deepEqual(
        [first.state, second.state],
        [
          { begun: true, closed: true },
          { begun: false, closed: false },
        ],
      );
    }
  });

  it("when it fails itself, with its own error", async () => {
    const mine = new RangeError("mine");
    const isMine = (error: unknown): boolean => error === mine;
    const fail = (): never => {
      throw mine;
    };
    const failing: Readonly<Record<string, InputData | LazyData>> = {
      "a generator": (function* () {
        yield noise(1);
        fail();
      })(),
      "an async generator": (async function* () {
        yield noise(1);
        fail();
      })(),
      "an iterator that cannot be closed either": {
        [Symbol.asyncIterator]: () => ({
          next: () => Promise.reject(mine),
          return: () => assert.fail("closed"),
        }),
      },
      "an iterable": { [Symbol.iterator]: fail },
      "a stream": new ReadableStream({ pull: (controller) => controller.error(mine) }),
      "a function": fail,
      "an async function": async () => fail(),
    };
    for (const data of Object.values(failing)) await refused({ w: bytesInput(4, data) }, isMine);
  });

  it("when its closing fails, with the first error", async () => {
    const iterator = {
      next: async () => ({ done: false, value: noise(4) }),
      return: () => Promise.reject(new Error("cannot be closed")),
    };
    const data = { [Symbol.asyncIterator]: () => iterator };
    await refused({ w: bytesInput(3, data) }, raises("SIZE_MISMATCH"));
  });

  it("when it gives what is no bytes", async () => {
    const wrong: Readonly<Record<string, unknown>> = {
      text: "text",
      number: 4,
      null: null,
      object: {},
      promise: Promise.resolve(noise(4)),
      numbers: [1, 2, 3, 4],
      "stream of text": ReadableStream.from(["text"]),
      "function of nothing": () => undefined,
    };
    for (const [name, data] of Object.entries(wrong)) {
      const expected = raises("INVALID_TENSOR", /the data of tensor "w" (is neither bytes|has a piece)/, {
        tensor: "w",
      });
      await refused({ w: bytesInput(4, data as InputData) }, expected).catch((error) =>
        assert.fail(`${name}: ${error}`),
      );
    }
  });

  it("when a Blob can no longer be read", async () => {
    const cause = new Error("NotReadableError");
    class Gone extends Blob {
      override slice(..._: unknown[]): Blob {
        return Object.assign(new Blob([]), { arrayBuffer: () => Promise.reject(cause) });
      }
    }
    const expected = raises("IO", /the Blob of tensor "w" can no longer be read/, { tensor: "w", cause });
    await refused({ w: bytesInput(4, new Gone([noise(4)])) }, expected);
  });

  it("when the signal says so, without waiting for what never comes", async () => {
    const never = (): Promise<never> => new Promise(() => {});
    const closed: string[] = [];
    const waiting: Readonly<Record<string, InputData | LazyData>> = {
      "an async generator": (async function* () {
        yield noise(1);
        await never();
      })(),
      "an iterator": {
        [Symbol.asyncIterator]: () => ({
          next: never,
          return: async () => ({ done: true, value: closed.push("iterator") }),
        }),
      },
      "an iterator that cannot be closed": {
        [Symbol.asyncIterator]: () => ({
          next: never,
          return: () => Promise.reject(new Error("cannot be closed")),
        }),
      },
      "a stream": new ReadableStream({ pull: never, cancel: (reason) => void closed.push(reason.message) }),
      "a function": never,
    };
    for (const data of Object.values(waiting)) {
      const controller = new AbortController();
      setImmediate(() => controller.abort(new Error("enough")));
      await refused({ w: bytesInput(4, data) }, /enough/, { signal: controller.signal });
    }
    assert.deepEqual(closed, ["iterator", "enough"]);
  });

  it("when the signal comes with the last piece, or before anything", async () => {
    const controller = new AbortController();
    const onProgress = (): void => controller.abort(new Error("enough"));
    await refused({ w: bytesInput(4, noise(4)) }, /enough/, { signal: controller.signal, onProgress });
    await refused({}, /enough/, { signal: controller.signal });
  });
});
