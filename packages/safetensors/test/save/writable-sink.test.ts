import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { SaveInput } from "../../src/save/save.ts";
import { save } from "../../src/save/save.ts";
import { memorySink } from "../../src/save/sink.ts";
import { writableSink } from "../../src/save/writable-sink.ts";
import { concat, noise, raises } from "../support.ts";

const MIB = 1 << 20;
const inputs: Readonly<Record<string, SaveInput>> = {
  w: { dtype: "U8", shape: [3 * MIB + 5], data: noise(3 * MIB + 5) },
  x: { dtype: "F32", shape: [2], data: Float32Array.of(1, 2) },
};

async function saved(): Promise<Uint8Array> {
  const sink = memorySink();
  await save(sink, inputs);
  return sink.bytes();
}

/** A stream that keeps what it is given, as it is given. */
function recorded(write: (chunk: Uint8Array) => void | Promise<void> = () => {}) {
  const chunks: Uint8Array[] = [];
  const ends: unknown[] = [];
  const stream = new WritableStream<Uint8Array>({
    async write(chunk) {
      await write(chunk);
      chunks.push(chunk);
    },
    close: () => void ends.push("close"),
    abort: (reason) => void ends.push(reason),
  });
  return { stream, chunks, ends };
}

describe("writableSink", () => {
  it("gives the stream the file in pieces that it may keep, and closes it", async () => {
    const { stream, chunks, ends } = recorded();
    await save(writableSink(stream), inputs);
    assert.equal(Buffer.compare(concat(chunks), await saved()), 0);
    assert.deepEqual(ends, ["close"]);
    assert.ok(Math.max(...chunks.map(({ length }) => length)) <= MIB);
    for (const { buffer, length } of chunks) assert.equal(buffer.byteLength, length);
  });

  it("copies Node's buffers too, and shared memory", async () => {
    const { stream, chunks } = recorded();
    const sink = writableSink(stream);
    for (const piece of [Buffer.from([1, 2]), new Uint8Array(new SharedArrayBuffer(2))]) {
      await sink.write(piece);
      piece.fill(9);
    }
    await sink.commit();
    assert.deepEqual(chunks, [Uint8Array.of(1, 2), new Uint8Array(2)]);
    assert.ok(chunks[1]!.buffer instanceof ArrayBuffer);
  });

  it("gives a piece only when the stream wants one", async () => {
    let asked = 0;
    let taken = 0;
    const data = (function* () {
      for (; asked < 20; asked++) {
        assert.ok(asked - taken <= 3, `${asked - taken} pieces on their way`);
        yield noise(10);
      }
    })();
    const { stream } = recorded(async () => {
      await new Promise(setImmediate);
      taken++;
    });
    await save(writableSink(stream), { w: { dtype: "U8", shape: [200], data } });
    assert.equal(taken, 21);
  });

  it("goes through a TransformStream", async () => {
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const [bytes] = await Promise.all([
      new Response(readable).arrayBuffer(),
      save(writableSink(writable), inputs),
    ]);
    assert.equal(Buffer.compare(new Uint8Array(bytes), await saved()), 0);
  });

  it("aborts the stream with the reason", async () => {
    const { stream, ends } = recorded();
    const short: SaveInput = { dtype: "U8", shape: [4], data: noise(3) };
    let caught: unknown;
    await assert.rejects(save(writableSink(stream), { short }), (error) => {
      caught = error;
      return raises("SIZE_MISMATCH")(error);
    });
    assert.deepEqual(ends, [caught]);
  });

  it("passes on the stream's own error, whenever it comes", async () => {
    const full = new Error("QuotaExceededError");
    for (const failAt of [1, 2, 3, 4, 5]) {
      let count = 0;
      const { stream, ends } = recorded(async () => {
        if (++count === failAt) throw full;
      });
      await assert.rejects(save(writableSink(stream), inputs), (error) => error === full);
      assert.deepEqual(ends, [], "a stream that failed has ended itself");
    }
    const unclosed = new WritableStream({ close: () => Promise.reject(full) });
    await assert.rejects(save(writableSink(unclosed), inputs), (error) => error === full);
    const unaborted = new WritableStream({ abort: () => Promise.reject(full) });
    const wrong: SaveInput = { dtype: "U8", shape: [4], data: () => Promise.reject(new Error("mine")) };
    await assert.rejects(save(writableSink(unaborted), { wrong }), /mine/);
  });

  it("stops waiting for a stream that takes nothing when the signal says so", async () => {
    const controller = new AbortController();
    const { stream } = recorded(() => new Promise(() => {}));
    const saving = save(writableSink(stream), inputs, { signal: controller.signal });
    setImmediate(() => controller.abort(new Error("enough")));
    await assert.rejects(saving, /enough/);
  });

  it("refuses a stream that somebody else writes to", () => {
    const { stream } = recorded();
    stream.getWriter();
    assert.throws(() => writableSink(stream), TypeError);
  });
});
