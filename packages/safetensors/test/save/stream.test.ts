import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { LazyData } from "../../src/save/input.ts";
import { type SaveInput, type SaveOptions, save } from "../../src/save/save.ts";
import { memorySink } from "../../src/save/sink.ts";
import { saveStream } from "../../src/save/stream.ts";
import { concat, noise, raises } from "../support.ts";

const MIB = 1 << 20;

const bytesInput = (size: number, data: SaveInputData = noise(size)): SaveInput => ({
  dtype: "U8",
  shape: [size],
  data,
});
type SaveInputData = Uint8Array | AsyncIterable<Uint8Array> | LazyData;

async function saved(
  inputs: Readonly<Record<string, SaveInput>>,
  options?: SaveOptions,
): Promise<Uint8Array> {
  const sink = memorySink();
  await save(sink, inputs, options);
  return sink.bytes();
}

async function readAll(stream: ReadableStream<Uint8Array>): Promise<Uint8Array[]> {
  const chunks: Uint8Array[] = [];
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return chunks;
    chunks.push(value);
  }
}

/** Lets everything that can go on do so. */
const idle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));

describe("saveStream", () => {
  it("gives the bytes that save writes, and their number beforehand", async () => {
    const sizes = fc.dictionary(fc.string({ maxLength: 4 }), fc.nat(50), {
      maxKeys: 5,
      noNullPrototype: true,
    });
    const property = fc.asyncProperty(sizes, fc.constantFrom(8, 64), async (sizes, alignment) => {
      const inputs = Object.fromEntries(
        Object.entries(sizes).map(([name, size]) => [name, bytesInput(size)]),
      );
      const options = { alignment, metadata: { format: "pt" } };
      const { stream, byteLength } = saveStream(inputs, options);
      const bytes = concat(await readAll(stream));
      assert.deepEqual(bytes, await saved(inputs, options));
      assert.equal(byteLength, bytes.length);
    });
    await fc.assert(property, { seed: 53, numRuns: 50 });
  });

  it("gives the reader memory of its own, in pieces of at most 1 MiB", async () => {
    const data = noise(2 * MIB + 1);
    const inputs = { w: bytesInput(data.length, data) };
    const chunks = await readAll(saveStream(inputs).stream);
    assert.equal(Buffer.compare(concat(chunks), await saved(inputs)), 0);
    assert.deepEqual(
      chunks.slice(1).map(({ length }) => length),
      [MIB, MIB, 1],
    );
    for (const chunk of chunks) {
      assert.equal(chunk.buffer.byteLength, chunk.length);
      structuredClone(chunk, { transfer: [chunk.buffer as ArrayBuffer] });
    }
    assert.deepEqual(data, noise(data.length));
  });

  it("is the body of a Response", async () => {
    const inputs = { w: bytesInput(10) };
    const { stream } = saveStream(inputs);
    assert.deepEqual(new Uint8Array(await new Response(stream).arrayBuffer()), await saved(inputs));
  });

  it("does nothing that the reader has not asked for", async () => {
    let given = 0;
    async function* data(): AsyncGenerator<Uint8Array> {
      for (let i = 0; i < 10; i++) {
        given++;
        yield noise(4);
      }
    }
    const progress: number[] = [];
    const onProgress = (done: number): void => void progress.push(done);
    const { stream } = saveStream({ w: bytesInput(40, data) }, { onProgress });
    const reader = stream.getReader();
    await idle();
    assert.equal(given, 0);
    await reader.read();
    await idle();
    assert.equal(given, 0, "the header needs no data");
    for (const count of [1, 2, 3]) {
      await reader.read();
      await idle();
      assert.equal(given, count);
    }
    assert.deepEqual(progress, [4, 8]);
  });

  it("stops its inputs when it is cancelled: before, between and while it waits", async () => {
    for (const reads of [0, 1, 2, 3]) {
      const state = { begun: false, closed: false };
      const iterator = {
        next: () => {
          if (state.begun) return new Promise<never>(() => {});
          state.begun = true;
          return Promise.resolve({ done: false as const, value: noise(4) });
        },
        return: async () => {
          state.closed = true;
          return { done: true as const, value: undefined };
        },
      };
      const data = { [Symbol.asyncIterator]: () => iterator } as AsyncIterable<Uint8Array>;
      const { stream } = saveStream({ w: bytesInput(8, data) });
      const reader = stream.getReader();
      const last = Array.from({ length: reads }, () => reader.read()).at(-1);
      await idle();
      await reader.cancel(new Error("no longer wanted"));
      assert.deepEqual(state, { begun: reads > 1, closed: reads > 1 });
      if (reads === 3) assert.deepEqual(await last, { done: true, value: undefined });
    }
  });

  it("refuses at once what no header can hold", () => {
    assert.throws(() => saveStream({ __metadata__: bytesInput(1) }), raises("INVALID_NAME"));
  });

  it("fails as its inputs do", async () => {
    const mine = new Error("mine");
    const failing = saveStream({ w: bytesInput(4, () => Promise.reject(mine)) });
    await assert.rejects(readAll(failing.stream), (error) => error === mine);
    const short = saveStream({ w: bytesInput(4, noise(3)) });
    await assert.rejects(readAll(short.stream), raises("SIZE_MISMATCH", /"w" .* only 3/, { tensor: "w" }));
  });

  it("fails when the signal says so, also while it waits", async () => {
    const early = saveStream({}, { signal: AbortSignal.abort(new Error("enough")) });
    await assert.rejects(readAll(early.stream), /enough/);
    const controller = new AbortController();
    const { stream } = saveStream(
      { w: bytesInput(4, () => new Promise(() => {})) },
      { signal: controller.signal },
    );
    setImmediate(() => controller.abort(new Error("enough")));
    await assert.rejects(readAll(stream), /enough/);
  });
});
