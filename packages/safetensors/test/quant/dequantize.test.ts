import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import type { TensorHandle } from "../../src/checkpoint/tensor.ts";
import { castFloats } from "../../src/dtype/cast.ts";
import { decodeElement, toFloat32 } from "../../src/dtype/decode.ts";
import { DequantizedSource } from "../../src/quant/dense-source.ts";
import { dequantized } from "../../src/quant/dequantize.ts";
import type { Quantization } from "../../src/quant/find.ts";
import type { QuantizedWeight } from "../../src/quant/weight.ts";
import { range } from "../../src/view/index-items.ts";
import { tensorOf } from "../parallel/tensors.ts";
import { raises } from "../support.ts";
import { blockWeight } from "./weights.ts";

function checkpointOf(tensors: readonly TensorHandle[]): Checkpoint {
  const views = new Map(tensors.map(({ name, view }) => [name, view]));
  const index = { size: views.size, names: () => views.keys(), find: (name: string) => views.get(name) };
  return new Checkpoint({ format: "test", tensors: index });
}

function quantizationOf(weights: readonly QuantizedWeight[], extras: readonly string[] = []): Quantization {
  return {
    config: undefined,
    weights: new Map(weights.map((weight) => [weight.name, weight])),
    weightOf: new Map(weights.flatMap((weight) => weight.parts.map(({ name }) => [name, weight] as const))),
    extras: new Set(extras),
    problems: [],
    unsupported: [],
  };
}

/** Numbers that are equal; of NaN the bits may differ, as they do from processor to processor. */
function assertEqual(actual: Float32Array, expected: Float32Array): void {
  assert.deepEqual(Array.from(actual), Array.from(expected));
}

/** The values of a weight of blocks, element by element. */
async function valuesOf(
  shape: readonly number[],
  block: readonly number[],
  tensors: readonly TensorHandle[],
): Promise<Float32Array> {
  const [codes, scales] = [await tensors[0]!.bytes(), await tensors[1]!.bytes()];
  const [rows, columns] = [shape.at(-2)!, shape.at(-1)!];
  const [down, across] = block.map((size, axis) => Math.ceil(shape.at(axis - 2)! / size)) as [number, number];
  return Float32Array.from({ length: codes.length }, (_, at) => {
    const [matrix, row, column] = [
      Math.floor(at / (rows * columns)),
      Math.floor(at / columns) % rows,
      at % columns,
    ];
    const scale = (matrix * down + Math.floor(row / block[0]!)) * across + Math.floor(column / block[1]!);
    return (decodeElement("F8_E5M2", codes, at) as number) * (decodeElement("BF16", scales, scale) as number);
  });
}

describe("a dequantised checkpoint", () => {
  const shape = [70, 96];
  const { weight, tensors } = blockWeight("m", shape, [4, 32]);
  const plain = tensorOf("n.weight", [7], "F32");
  const checkpoint = checkpointOf([...tensors, plain, tensorOf("m.marker", [1], "U8")]);
  const dense = dequantized(checkpoint, quantizationOf([weight], ["m.marker"]), { panel: 1000 });

  it("has dense tensors where the parts stood, and all others as they are", () => {
    assert.deepEqual([...dense.keys()], ["m.weight", "n.weight"]);
    const { dtype, shape, byteLength } = dense.get("m.weight");
    assert.deepEqual(
      { dtype, shape, byteLength },
      { dtype: "F32", shape: [70, 96], byteLength: 70 * 96 * 4 },
    );
    assert.equal(dense.get("n.weight").view, plain.view);
    assert.throws(() => dense.get("m.scales"), raises("TENSOR_NOT_FOUND", /m\.scales/));
  });

  it("decodes what is read, over the limits of panels too", async () => {
    const expected = await valuesOf(shape, [4, 32], tensors);
    const handle = dense.get("m.weight");
    assertEqual(await handle.toFloat32(), expected);
    const rows = await handle.slice(range(5, 35)).toFloat32();
    assertEqual(rows, expected.subarray(5 * 96, 35 * 96));
    const column = await handle.slice(range(0, 20), 33).toFloat32();
    assert.deepEqual(
      column,
      Float32Array.from({ length: 20 }, (_, row) => expected[row * 96 + 33]!),
    );
  });

  it("rounds to the dtype that is asked for", async () => {
    const half = dequantized(checkpoint, quantizationOf([weight]), { dtype: "BF16" }).get("m.weight");
    const row = await half.slice(range(8, 9)).bytes();
    const values = await dense.get("m.weight").slice(range(8, 9)).bytes();
    assert.deepEqual(row, castFloats("F32", "BF16", values));
  });

  it("has matrices of experts one after the other, and the other way round", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          experts: fc.integer({ min: 1, max: 3 }),
          rows: fc.integer({ min: 1, max: 9 }),
          columns: fc.integer({ min: 1, max: 40 }),
          transposed: fc.boolean(),
        }),
        async ({ experts, rows, columns, transposed }) => {
          const shape = [experts, rows, columns];
          // A block has rows of one matrix only.
          const { weight, tensors } = blockWeight("e", shape, [1, 16], { transposed });
          const all = dequantized(checkpointOf(tensors), quantizationOf([weight])).get("e.weight");
          const values = await valuesOf(shape, [1, 16], tensors);
          const expected = !transposed
            ? values
            : values.map((_, at) => {
                const [e, c, r] = [
                  Math.floor(at / (rows * columns)),
                  Math.floor(at / rows) % columns,
                  at % rows,
                ];
                return values[(e * rows + r) * columns + c]!;
              });
          assert.deepEqual(all.shape, transposed ? [experts, columns, rows] : shape);
          assertEqual(await all.toFloat32(), expected);
          assert.deepEqual(
            await all.slice(experts - 1).toFloat32(),
            expected.subarray((experts - 1) * rows * columns),
          );
        },
      ),
      { seed: 42, numRuns: 40 },
    );
  });

  it("decodes a weight whole that cannot be cut", async () => {
    const { weight, tensors } = blockWeight("w", [6, 8], [3, 8], { indivisible: "it is so" });
    const all = dequantized(checkpointOf(tensors), quantizationOf([weight])).get("w.weight");
    const expected = await valuesOf([6, 8], [3, 8], tensors);
    assertEqual(await all.slice(2).toFloat32(), expected.subarray(16, 24));
  });

  it("tries again after a read that failed", async () => {
    let fails = true;
    const source = new DequantizedSource(weight, (name) => checkpoint.get(name), "F32", {
      kernels: {
        dense(call) {
          if (fails) throw new Error("not now");
          return new Uint8Array(new Float32Array(call.rows * call.columns).fill(1).buffer);
        },
      },
    });
    await assert.rejects(source.read(0, 4), /not now/);
    fails = false;
    assert.deepEqual(toFloat32("F32", await source.read(0, 4), 1), Float32Array.of(1));
  });

  it("refuses pieces that no memory is enough for", () => {
    const { weight } = blockWeight("w", [2, 2], [1, 1], {});
    const huge = { ...weight, shape: [1 << 20, 1 << 20], indivisible: "it is so" };
    const make = (): unknown => new DequantizedSource(huge, () => tensors[0]!, "F32");
    assert.throws(make, raises("LIMIT_EXCEEDED", /1048576 rows/));
  });
});
