import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { TensorHandle } from "../../../src/checkpoint/tensor.ts";
import type { SaveInput } from "../../../src/save/save.ts";
import type { Sink } from "../../../src/save/sink.ts";
import type { ByteSource } from "../../../src/source/source.ts";
import { openTorch, writeTorch } from "../../../src/torch/index.ts";
import { contiguousStrides } from "../../../src/view/view.ts";
import { openZip } from "../../../src/zip/archive.ts";
import { fixture } from "../../fixtures.ts";
import { concat } from "../../support.ts";

/** Pieces of at least this size are counted, not kept. */
const LARGE = 4096;

/** A sink that keeps where its small pieces lie, joined where they touch. */
function sparseSink(): Sink & { pieces: [at: number, bytes: Uint8Array][]; size: number } {
  return {
    pieces: [],
    size: 0,
    write(bytes) {
      const last = this.pieces.at(-1);
      if (bytes.length < LARGE) {
        if (last && last[0] + last[1].length === this.size) last[1] = concat([last[1], bytes]);
        else this.pieces.push([this.size, bytes.slice()]);
      }
      this.size += bytes.length;
    },
    async commit() {},
    async abort() {},
  };
}

/** What such a sink was given, with zeros in between. */
function sourceOf({ pieces, size }: ReturnType<typeof sparseSink>): ByteSource {
  return {
    size,
    async read(offset, length) {
      const bytes = new Uint8Array(length);
      for (const [at, piece] of pieces) {
        const [from, to] = [Math.max(at, offset), Math.min(at + piece.length, offset + length)];
        if (from < to) bytes.set(piece.subarray(from - at, to - at), from - offset);
      }
      return bytes;
    },
  };
}

/** A tensor of zeros that takes no memory. */
function zeros(size: number): SaveInput {
  const source: ByteSource = {
    size,
    read: async (_, length) => new Uint8Array(length),
    // The memory that is to be filled has nothing but zeros from the beginning.
    readInto() {},
  };
  return new TensorHandle("zeros", {
    source,
    dtype: "U8",
    shape: [size],
    strides: contiguousStrides([size]),
    bitOffset: 0,
  });
}

const ones = (length: number): SaveInput => ({
  dtype: "F32",
  shape: [length],
  data: new Float32Array(length).fill(1),
});
const crc32 = (): number => 0;

describe("sizes and places beyond 4 GiB", () => {
  it("are written as torch.save writes them", async () => {
    const golden: [number, string][] = JSON.parse(new TextDecoder().decode(fixture("zip64-golden.json")));
    const sink = sparseSink();
    const inputs = { before: ones(2), large: zeros(2 ** 32), after: ones(3), empty: ones(0) };
    await writeTorch(sink, inputs, { crc32 });
    const [start, [place, end]] = golden as [[number, string], [number, string]];
    assert.deepEqual(
      sink.pieces.map(([at]) => at),
      [start[0], place],
    );
    assert.equal(Buffer.from(sink.pieces[0]![1]).toString("hex"), start[1]);
    // The identification has the last of the 40-digit numbers; it is the only thing that may differ.
    const withoutId = (bytes: Uint8Array): string =>
      Buffer.from(bytes)
        .toString("latin1")
        .replace(/\d{40}/, "id");
    assert.equal(withoutId(sink.pieces[1]![1]), withoutId(Buffer.from(end, "hex")));
  });

  it("are read back", async () => {
    for (const [first, second] of [
      [2 ** 32 - 2, 5],
      [2 ** 32 - 1, 5],
      [2 ** 32 - 1200, 5],
      [5 * 2 ** 30, 5 * 2 ** 30],
    ] as const) {
      const sink = sparseSink();
      await writeTorch(sink, { first: zeros(first), second: zeros(second), third: ones(1) }, { crc32 });
      const source = sourceOf(sink);
      const zip = await openZip(source);
      const offsets = await zip.dataOffsets();
      assert.ok(offsets.every((offset) => offset % 64 === 0));
      await using checkpoint = await openTorch(source);
      assert.deepEqual(
        Array.from(checkpoint, ({ name, byteLength }) => [name, byteLength]),
        [
          ["first", first],
          ["second", second],
          ["third", 4],
        ],
      );
      assert.deepEqual(await checkpoint.get("third").data(), Float32Array.of(1));
      const wide = Array.from(zip.names(), (name) => zip.find(name)!).filter(
        ({ headerOffset }) => headerOffset > 0xffffffff,
      );
      assert.ok(wide.length >= (first > 2 ** 32 - 100 ? 2 : 0));
    }
  });
});
