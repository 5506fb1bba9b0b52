import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { open } from "../../src/checkpoint/open.ts";
import { TensorHandle } from "../../src/checkpoint/tensor.ts";
import { castFloats, type FloatDtype, floatCaster, isFloatDtype } from "../../src/dtype/cast.ts";
import { DTYPE_ORDER, DTYPES, type Dtype } from "../../src/dtype/dtype.ts";
import { castTensor } from "../../src/save/cast.ts";
import { save, type TensorStream } from "../../src/save/save.ts";
import { memorySink } from "../../src/save/sink.ts";
import { fromBytes } from "../../src/source/memory.ts";
import { contiguousStrides } from "../../src/view/view.ts";
import { concat, handMade, raises } from "../support.ts";
import { recordedSink } from "./sinks.ts";

/** A tensor in memory. */
function tensorOf(dtype: Dtype, shape: number[], data: Uint8Array, name = "w"): TensorHandle {
  const view = { source: fromBytes(data), dtype, shape, strides: contiguousStrides(shape), bitOffset: 0 };
  return new TensorHandle(name, view);
}

/** Floats between -1 and 1, as a dtype. */
function floats(dtype: FloatDtype, count: number): Uint8Array {
  const values = Float64Array.from({ length: count }, (_, i) => ((i * 7919) % 2003) / 1001 - 1);
  return castFloats("F64", dtype, new Uint8Array(values.buffer));
}

async function pieces(stream: TensorStream, bufferLength: number): Promise<Uint8Array[]> {
  const found: Uint8Array[] = [];
  for await (const piece of stream.chunks(new Uint8Array(bufferLength))) {
    assert.ok(piece.length > 0 && piece.length <= bufferLength, `${piece.length} bytes`);
    found.push(piece.slice());
  }
  return found;
}

const FLOATS = DTYPE_ORDER.filter(isFloatDtype);
const COUNT = 48;

describe("a tensor that is cast while it is saved", () => {
  it("comes in pieces of whole bytes that fit any buffer, as if cast at once", async () => {
    for (const from of FLOATS) {
      const data = floats(from, COUNT);
      for (const to of FLOATS) {
        if (from === to) continue;
        for (const stochastic of [undefined, 9]) {
          const options = { stochastic, overflow: "saturate" } as const;
          const whole = floatCaster(from, to, options, "w")(data);
          const stream = castTensor(tensorOf(from, [6, 8], data), to, options);
          assert.deepEqual([stream.dtype, stream.shape], [to, [6, 8]]);
          for (const length of [32, 37, 100, 1000])
            assert.deepEqual(concat(await pieces(stream, length)), whole, `${from} to ${to} by ${length}`);
        }
      }
    }
  });

  it("may be gathered in pieces that end amidst a byte of the result", async () => {
    for (const [from, to, parts] of [
      ["F32", "F4", [12, 4, 20, 12]],
      ["F32", "F6_E2M3", [4, 8, 4, 32]],
      ["F4", "F6_E3M2", [1, 2, 3]],
    ] as const) {
      const count = (parts.reduce((sum, part) => sum + part, 0) * 8) / DTYPES[from].bits;
      const data = floats(from, count);
      const tensor = tensorOf(from, [count], data);
      tensor.chunks = async function* () {
        const memory = new Uint8Array(64);
        let at = 0;
        for (const part of parts) {
          memory.set(data.subarray(at, at + part));
          yield memory.subarray(0, part);
          at += part;
        }
      };
      assert.deepEqual(concat(await pieces(castTensor(tensor, to), 64)), castFloats(from, to, data));
    }
  });

  it("stays as it is when there is nothing to cast", () => {
    for (const dtype of ["I32", "BOOL", "C64", "F16"] as const) {
      const tensor = tensorOf(dtype, [1], new Uint8Array(8));
      assert.equal(castTensor(tensor, "F16"), tensor);
    }
  });

  it("is refused before it is read if its elements would not fill bytes", () => {
    const odd = tensorOf("F32", [3, 5], new Uint8Array(60), "model.w");
    assert.throws(
      () => castTensor(odd, "F4"),
      raises("MISALIGNED", /"model\.w" has 15 elements.*F4/, { tensor: "model.w" }),
    );
    assert.throws(
      () => castTensor(tensorOf("F16", [6], new Uint8Array(12)), "F6_E2M3"),
      raises("MISALIGNED"),
    );
    assert.equal(castTensor(tensorOf("F32", [0, 3], new Uint8Array(0)), "F4").dtype, "F4");
    castTensor(tensorOf("F32", [2], new Uint8Array(8)), "F4");
  });

  it("is named with its element when that is a NaN without a code", async () => {
    const data = new Uint8Array(
      Float32Array.from({ length: 64 }, (_, i) => (i === 41 ? Number.NaN : i)).buffer,
    );
    const stream = castTensor(tensorOf("F32", [64], data, "lm_head"), "F4");
    const sink = recordedSink();
    const error = raises("UNSUPPORTED", /element 41 of tensor "lm_head" is NaN/, { tensor: "lm_head" });
    await assert.rejects(pieces(stream, 32), error);
    await assert.rejects(save(sink, { lm_head: stream }), error);
    assert.deepEqual(sink.ends, ["abort"]);
  });

  it("needs a buffer with room for an element", async () => {
    const stream = castTensor(tensorOf("F16", [4], new Uint8Array(8)), "F64");
    await assert.rejects(pieces(stream, 7), raises("OUT_OF_RANGE"));
  });

  it("is saved alone too, though it is smaller after the cast than before", async () => {
    for (const [from, to, count] of [
      ["F64", "F32", 1],
      ["F64", "F4", 2],
      ["F32", "F6_E2M3", 4],
    ] as const) {
      const data = floats(from, count);
      const sink = memorySink();
      await save(sink, { w: castTensor(tensorOf(from, [count], data), to) });
      const saved = (await open(sink.bytes())).get("w");
      assert.deepEqual(new Uint8Array(await saved.bytes()), castFloats(from, to, data));
    }
  });

  it("draws other random numbers than a tensor of another name", async () => {
    const data = floats("F32", COUNT);
    const cast = async (name: string): Promise<Uint8Array> =>
      concat(
        await pieces(castTensor(tensorOf("F32", [COUNT], data, name), "F8_E4M3", { stochastic: 1 }), 1000),
      );
    assert.deepEqual(await cast("a"), await cast("a"));
    assert.notDeepEqual(await cast("a"), await cast("b"));
  });

  it("is saved in every dtype", async () => {
    const data = floats("F32", COUNT);
    const checkpoint = await open(handMade({ w: { dtype: "F32", shape: [4, 12], data } }));
    const sink = memorySink();
    await save(
      sink,
      FLOATS.map((dtype) => [dtype, castTensor(checkpoint.get("w"), dtype)]),
    );
    const saved = await open(sink.bytes());
    for (const dtype of FLOATS) {
      assert.equal(saved.get(dtype).dtype, dtype);
      const bytes = new Uint8Array(await saved.get(dtype).bytes());
      assert.deepEqual(bytes, castFloats("F32", dtype, data));
    }
  });
});
