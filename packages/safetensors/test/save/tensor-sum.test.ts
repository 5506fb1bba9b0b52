import assert from "node:assert/strict";
import { describe, it } from "node:test";
import zlib from "node:zlib";
import { open } from "../../src/checkpoint/open.ts";
import { TensorHandle } from "../../src/checkpoint/tensor.ts";
import type { Dtype } from "../../src/dtype/dtype.ts";
import { writeNpy, writeNpz } from "../../src/numpy/index.ts";
import { castTensor } from "../../src/save/cast.ts";
import { type SaveInputs, save } from "../../src/save/save.ts";
import { memorySink, type Sink } from "../../src/save/sink.ts";
import { saveStream } from "../../src/save/stream.ts";
import { checksumOf } from "../../src/save/tensor-sum.ts";
import { fromBytes } from "../../src/source/memory.ts";
import { writeTorch } from "../../src/torch/index.ts";
import { contiguousStrides, type StridedView } from "../../src/view/view.ts";
import { noise, raises } from "../support.ts";
import { recordedSink } from "./sinks.ts";

/** Bytes in front of the tensor, which are none of it. */
const START = 5;

/** A tensor of an archive that has its checksum, or another one. */
function tensorOf(bytes: Uint8Array, damaged = false, dtype: Dtype = "U8", size = 1): TensorHandle {
  const file = new Uint8Array(START + bytes.length + 7);
  file.set(bytes, START);
  const sum = zlib.crc32(bytes);
  const shape = [bytes.length / size];
  return new TensorHandle("w", {
    source: fromBytes(file),
    dtype,
    shape,
    strides: contiguousStrides(shape),
    bitOffset: START * 8,
    checksum: {
      start: START,
      length: bytes.length,
      crc32: damaged ? (sum ^ 0x100) >>> 0 : sum,
      member: "model/data/0",
      archive: "model.bin",
    },
  });
}

/** A sink that copies by itself, the last pieces first. */
function copyingSink(): Sink & { bytes(): Uint8Array; readonly ends: string[]; copied: number } {
  const sink = recordedSink();
  return {
    ...sink,
    copied: 0,
    async copy({ length, read }, { onCopied }) {
      const whole = new Uint8Array(length);
      for (let end = length; end > 0; end -= 100_000) {
        const piece = whole.subarray(Math.max(0, end - 100_000), end);
        await read(piece.byteOffset, piece);
        onCopied(piece.length);
      }
      sink.write(whole);
      this.copied++;
    },
  };
}

const small = noise(1000, 1);
const large = noise((4 << 20) + 123, 2);
const DAMAGED = raises(
  "INVALID_ARCHIVE",
  /tensor "w" is damaged: the checksum of "model\/data\/0" in model\.bin is not/,
  { tensor: "w", at: START },
);

describe("a tensor whose archive has its checksum", () => {
  it("is saved if it has it, and ends the saving if not, whoever copies it", async () => {
    for (const bytes of [small, large]) {
      for (const sinkOf of [recordedSink, copyingSink]) {
        const sink = sinkOf();
        await save(sink, { w: tensorOf(bytes) });
        assert.deepEqual(sink.ends, ["commit"]);
        assert.ok(Buffer.from(await (await open(sink.bytes())).get("w").bytes()).equals(bytes));
        if ("copied" in sink) assert.equal(sink.copied, bytes === large ? 1 : 0);
        const other = sinkOf();
        await assert.rejects(save(other, { w: tensorOf(bytes, true) }), DAMAGED);
        assert.deepEqual(other.ends, ["abort"]);
      }
    }
  });

  it("is compared by all who write tensors", async () => {
    const writers: Record<string, (tensor: TensorHandle) => Promise<unknown>> = {
      saveStream: (w) => new Response(saveStream({ w }).stream).arrayBuffer(),
      writeTorch: (w) => writeTorch(memorySink(), { w }),
      writeNpy: (w) => writeNpy(memorySink(), w),
      writeNpz: (w) => writeNpz(memorySink(), { w }),
    };
    for (const [name, write] of Object.entries(writers)) {
      await write(tensorOf(small));
      await assert.rejects(write(tensorOf(small, true)), (error) => {
        const { tensor } = (error as { details: { tensor?: string } }).details;
        // A file of one array has no names.
        assert.equal(tensor, name === "writeNpy" ? "arr_0" : "w", name);
        return raises("INVALID_ARCHIVE", /is damaged: the checksum of "model\/data\/0"/)(error);
      });
    }
  });

  it("is compared as it was before a cast", async () => {
    for (const bytes of [noise(64, 3), large.subarray(0, 4 << 20)]) {
      const cast = (damaged: boolean): SaveInputs => ({
        w: castTensor(tensorOf(bytes, damaged, "F16", 2), "F64", { crc32: zlib.crc32 }),
      });
      await save(memorySink(), cast(false));
      await assert.rejects(save(memorySink(), cast(true)), DAMAGED);
    }
  });

  it("is compared only where it is all of it, in order", async () => {
    const { view } = tensorOf(small, true);
    const strided = view as StridedView & { readonly dtype: "U8" };
    const views: readonly Partial<StridedView>[] = [
      { shape: [999] },
      { shape: [999], bitOffset: (START + 1) * 8 },
      { shape: [1000], bitOffset: (START + 1) * 8 },
      { shape: [10, 100], strides: [1, 10] },
    ];
    for (const other of views) {
      const handle = new TensorHandle("w", { ...strided, ...other });
      assert.equal(checksumOf(handle), undefined);
      await save(memorySink(), { w: handle });
    }
    const reshaped = new TensorHandle("w", { ...strided, shape: [10, 100], strides: [100, 1] });
    await assert.rejects(save(memorySink(), { w: reshaped }), DAMAGED);
  });
});

describe("checksums of what is saved", () => {
  it("are told of every tensor, and taken by the function that is given", async () => {
    const bytes = new Map([
      ["a", small],
      ["b", noise(3 << 20, 5)],
      ["c", new Uint8Array(0)],
      ["w", large],
    ]);
    for (const sinkOf of [recordedSink, copyingSink]) {
      const inputs: SaveInputs = Array.from(bytes, ([name, data]) => {
        const { view } = tensorOf(data);
        const tensor = { dtype: "U8", shape: [data.length], data } as const;
        return [name, name === "w" ? new TensorHandle(name, view) : tensor] as const;
      });
      const sums = new Map<string, number>();
      let taken = 0;
      const crc32 = (piece: Uint8Array, before: number): number => {
        taken += piece.length;
        return zlib.crc32(piece, before);
      };
      await save(sinkOf(), inputs, { crc32, onChecksum: (name, sum) => void sums.set(name, sum) });
      assert.deepEqual(
        [...sums].sort(),
        Array.from(bytes, ([name, data]) => [name, zlib.crc32(data)]),
      );
      assert.equal(taken, small.length + (3 << 20) + large.length);
    }
  });

  it("are not taken where nobody asks for them", async () => {
    const crc32 = (): number => assert.fail("nobody asked");
    await save(memorySink(), { w: { dtype: "U8", shape: [1000], data: small } }, { crc32 });
  });
});
