import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { TensorSpec } from "../../src/format/encode.ts";
import { type Chunks, SafetensorsWriter } from "../../src/save/writer.ts";
import { concat, noise, raises } from "../support.ts";
import { recordedSink } from "./sinks.ts";

const specs: readonly (readonly [string, TensorSpec])[] = [
  ["b", { dtype: "F32", shape: [5] }],
  ["a", { dtype: "U8", shape: [3] }],
  ["empty", { dtype: "U8", shape: [0] }],
];
const b = noise(20, 1);
const a = noise(3, 2);

/** The bytes in pieces of `size`, as an array or as an async generator, with empty ones in between. */
function pieces(bytes: Uint8Array, size: number, async: boolean): Chunks {
  const list: Uint8Array[] = [new Uint8Array(0)];
  for (let at = 0; at < bytes.length; at += size) list.push(bytes.subarray(at, at + size), new Uint8Array(0));
  if (!async) return list;
  return (async function* () {
    for (const piece of list) {
      await new Promise(setImmediate);
      yield piece;
    }
  })();
}

describe("SafetensorsWriter", () => {
  it("takes the bytes of a tensor in pieces of any size, from arrays and async generators", async () => {
    let whole: Uint8Array | undefined;
    for (const size of [1, 2, 3, 7, 20, 100]) {
      for (const async of [false, true]) {
        const sink = recordedSink(async);
        const writer = await SafetensorsWriter.begin(sink, specs, { metadata: { format: "pt" } });
        assert.deepEqual(
          writer.tensors.map(({ name, dataOffsets }) => [name, dataOffsets]),
          [
            ["b", [0, 20]],
            ["a", [20, 23]],
            ["empty", [23, 23]],
          ],
        );
        await writer.write("b", pieces(b, size, async));
        await writer.write("a", pieces(a, size, async));
        await writer.write("empty", []);
        await writer.finish();
        assert.deepEqual(sink.ends, ["commit"]);
        whole ??= sink.bytes();
        assert.deepEqual(sink.bytes(), whole);
        assert.deepEqual(whole.slice(-23), concat([b, a]));
      }
    }
  });

  it("holds nothing back: each piece is in the sink before the next is asked for", async () => {
    const sink = recordedSink(true);
    const writer = await SafetensorsWriter.begin(sink, specs);
    const header = sink.bytes().length;
    const chunks = (async function* () {
      for (let at = 0; at < 20; at += 5) {
        assert.equal(sink.bytes().length, header + at);
        yield b.subarray(at, at + 5);
      }
    })();
    await writer.write("b", chunks);
    assert.equal(sink.bytes().length, header + 20);
  });

  it("insists on its order", async () => {
    const sink = recordedSink();
    const writer = await SafetensorsWriter.begin(sink, specs);
    const wrong = raises("WRONG_ORDER", /"a" was given, but tensor "b" is due/, { tensor: "a" });
    await assert.rejects(writer.write("a", [a]), wrong);
    await assert.rejects(writer.write("x", [a]), raises("WRONG_ORDER", /"x" was given/, { tensor: "x" }));
    await assert.rejects(
      writer.finish(),
      raises("WRONG_ORDER", /data of tensor "b" is missing/, { tensor: "b" }),
    );
    await writer.write("b", [b]);
    await assert.rejects(
      writer.write("b", [b]),
      raises("WRONG_ORDER", /"b" was given, but tensor "a" is due/),
    );
    await writer.write("a", [a]);
    await assert.rejects(writer.finish(), raises("WRONG_ORDER", /"empty" is missing/));
    await writer.write("empty", []);
    await assert.rejects(writer.write("a", [a]), raises("WRONG_ORDER", /all tensors have been written/));
    await writer.finish();
    assert.deepEqual(sink.ends, ["commit"]);
  });

  it("refuses too few and too many bytes, and stops asking for more", async () => {
    for (const [chunks, message] of [
      [[b.subarray(1)], /declared with 20 bytes, but only 19 came/],
      [[], /only 0 came/],
      [[b, Uint8Array.of(1)], /more came/],
      [[noise(21)], /more came/],
    ] as const) {
      const writer = await SafetensorsWriter.begin(recordedSink(), specs);
      await assert.rejects(writer.write("b", chunks), raises("SIZE_MISMATCH", message, { tensor: "b" }));
    }
    const writer = await SafetensorsWriter.begin(recordedSink(), specs);
    let closed = false;
    const endless = (async function* () {
      try {
        for (;;) yield b;
      } finally {
        closed = true;
      }
    })();
    await assert.rejects(writer.write("b", endless), raises("SIZE_MISMATCH"));
    assert.ok(closed);
  });

  it("cannot be led to commit a file with a tensor that went wrong", async () => {
    const sink = recordedSink();
    const writer = await SafetensorsWriter.begin(sink, specs);
    await assert.rejects(writer.write("b", [b.subarray(0, 7)]), raises("SIZE_MISMATCH"));
    const expected = raises("WRONG_ORDER", /"b" was not written to its end/, { tensor: "b" });
    await assert.rejects(writer.write("b", [b]), expected);
    await assert.rejects(writer.finish(), expected);
    await writer.abort();
    assert.deepEqual(sink.ends, ["abort"]);
  });

  it("does not mix two writes at once", async () => {
    const sink = recordedSink();
    const writer = await SafetensorsWriter.begin(sink, specs);
    const first = writer.write("b", pieces(b, 3, true));
    await assert.rejects(writer.write("b", pieces(b, 3, true)), raises("WRONG_ORDER"));
    await first;
    assert.deepEqual(sink.bytes().slice(-20), b);
  });

  it("leaves the sink alone where the header is refused", async () => {
    const sink = recordedSink();
    await assert.rejects(
      SafetensorsWriter.begin(sink, [["__metadata__", specs[0]![1]]]),
      raises("INVALID_NAME"),
    );
    assert.deepEqual([sink.pieces, sink.ends], [[], []]);
  });

  it("passes on what its source throws", async () => {
    const writer = await SafetensorsWriter.begin(recordedSink(), specs);
    const chunks = (async function* () {
      yield b.subarray(0, 4);
      throw new Error("mine");
    })();
    await assert.rejects(writer.write("b", chunks), /mine/);
  });
});
