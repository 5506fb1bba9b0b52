import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { open } from "../../src/checkpoint/open.ts";
import type { TensorHandle } from "../../src/checkpoint/tensor.ts";
import { toFloat32 } from "../../src/dtype/decode.ts";
import { DTYPE_ORDER, DTYPES } from "../../src/dtype/dtype.ts";
import type { ByteSource } from "../../src/source/source.ts";
import { concat, handMade, noise, raises, stridedViewOf } from "../support.ts";

/** Every dtype at shape [3, 4], in an order that leaves many of them unaligned. */
const content = Object.fromEntries(
  DTYPE_ORDER.map((dtype, i) => {
    const length = (12 * DTYPES[dtype].bits) / 8;
    return [dtype, { dtype, shape: [3, 4], data: noise(length, i + 7) }] as const;
  }),
);
const odd = { dtype: "U8", shape: [1], data: Uint8Array.of(9) };
const file = handMade({ odd, ...content });

describe("a tensor", () => {
  for (const dtype of DTYPE_ORDER) {
    it(`of ${dtype} gives bytes, data and float32, from aligned and unaligned memory and from a Blob`, async () => {
      const { data } = content[dtype]!;
      for (let shift = 0; shift < 8; shift++) {
        const memory = concat([noise(shift), file]).subarray(shift);
        for (const input of shift === 0 ? [memory, new Blob([memory])] : [memory]) {
          const tensor = (await open(input)).get(dtype);
          assert.deepEqual([tensor.name, tensor.dtype, tensor.shape], [dtype, dtype, [3, 4]]);
          assert.deepEqual([tensor.length, tensor.byteLength], [12, data.length]);
          assert.deepEqual(new Uint8Array(await tensor.bytes()), data);
          const values = await tensor.data();
          assert.equal(values.constructor, DTYPES[dtype].array);
          assert.deepEqual(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), data);
          // What the values must be is for the tests of dtype/.
          const expected = toFloat32(dtype, data, 12);
          assert.deepEqual(
            new Uint32Array((await tensor.toFloat32()).buffer),
            new Uint32Array(expected.buffer),
          );
        }
      }
    });
  }

  it("in aligned memory is a view of it, in unaligned memory a copy", async () => {
    const data = new Uint8Array(new Float32Array([1, 2]).buffer);
    const aligned = handMade({ w: { dtype: "F32", shape: [2], data } });
    const shift = (4 - ((aligned.length - 8) % 4)) % 4;
    for (const [more, copied] of [
      [0, false],
      [1, true],
    ] as const) {
      const memory = concat([noise(shift + more), aligned]).subarray(shift + more);
      const values = await (await open(memory)).get("w").data();
      assert.deepEqual([...(values as Float32Array)], [1, 2]);
      assert.equal(values.buffer !== memory.buffer, copied);
    }
  });

  it("gives float32 that belongs to the caller", async () => {
    const memory = handMade({ w: { dtype: "F32", shape: [1], data: new Uint8Array(4) } });
    const before = memory.slice();
    (await (await open(memory)).get("w").toFloat32()).fill(1);
    assert.deepEqual(memory, before);
  });

  it("may be a scalar or empty", async () => {
    const checkpoint = await open(
      handMade({
        scalar: { dtype: "I64", shape: [], data: new Uint8Array(new BigInt64Array([-5n]).buffer) },
        empty: { dtype: "F64", shape: [2, 0], data: new Uint8Array(0) },
      }),
    );
    assert.deepEqual(await checkpoint.get("scalar").data(), new BigInt64Array([-5n]));
    assert.deepEqual([checkpoint.get("scalar").length, checkpoint.get("empty").length], [1, 0]);
    assert.deepEqual(await checkpoint.get("empty").data(), new Float64Array(0));
    assert.deepEqual(await checkpoint.get("empty").toFloat32(), new Float32Array(0));
  });

  it("narrows its type by is()", async () => {
    const tensor: TensorHandle = (await open(file)).get("BF16");
    assert.ok(!tensor.is("F32"));
    if (tensor.is("F32")) (await tensor.data()) satisfies Float32Array;
    else if (tensor.is("BF16")) {
      const data: Uint16Array = await tensor.data();
      const dtype: "BF16" = tensor.dtype;
      // @ts-expect-error: it is no float array
      const wrong: Float32Array = await tensor.data();
      assert.deepEqual([data.length, dtype, wrong], [12, "BF16", data]);
    } else assert.fail("it is BF16");
    const wide: TensorHandle = (await open(file)).get("I64");
    if (wide.is("I64")) (await wide.data())[0] satisfies bigint | undefined;
  });

  it("comes in chunks", async () => {
    const tensor = (await open(new Blob([file]))).get("F64");
    const parts: Uint8Array[] = [];
    for await (const chunk of tensor.chunks(new Uint8Array(7))) parts.push(chunk.slice());
    assert.deepEqual(
      parts.map(({ length }) => length),
      [...new Array(13).fill(7), 5],
    );
    assert.deepEqual(concat(parts), content.F64!.data);
  });

  it("is named by the errors of reading it, however it is read", async () => {
    const broken: ByteSource = {
      size: file.length,
      name: "file",
      async read(offset, length) {
        if (offset + length > 60_000 || offset > 0) return new Uint8Array(1);
        return file.slice(offset, offset + length);
      },
    };
    const tensor = (await open(broken)).get("F32");
    const expected = raises("SHORT_READ", /file gave 1 bytes.*\(reading tensor "F32"\)/, { tensor: "F32" });
    await assert.rejects(tensor.bytes(), expected);
    await assert.rejects(tensor.data(), expected);
    await assert.rejects(tensor.toFloat32(), expected);
    await assert.rejects(tensor.chunks(new Uint8Array(8)).next(), expected);
    const [offset] = [stridedViewOf(tensor).bitOffset / 8];
    await assert.rejects(tensor.bytes(), raises("SHORT_READ", /./, { at: offset }));
  });

  it("lets errors that are not ours through as they are", async () => {
    const error = new TypeError("the network");
    let opened = false;
    const source: ByteSource = {
      size: file.length,
      read: async (offset, length) => {
        if (opened) throw error;
        return file.slice(offset, offset + length);
      },
    };
    const tensor = (await open(source)).get("F32");
    opened = true;
    await assert.rejects(tensor.bytes(), (found) => found === error);
    await assert.rejects(tensor.chunks(new Uint8Array(8)).next(), (found) => found === error);
  });
});
