import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { toFloat32 } from "../../src/dtype/decode.ts";
import { asTypedArray } from "../../src/dtype/typed-array.ts";
import type { GroupedCodes } from "../../src/quant/make/grouped-codes.ts";
import { packAwq } from "../../src/quant/make/pack-awq.ts";
import { packCompressedTensors } from "../../src/quant/make/pack-compressed-tensors.ts";
import { packGptq } from "../../src/quant/make/pack-gptq.ts";
import type { PartData } from "../../src/quant/weight.ts";
import { numbers, raises } from "../support.ts";

/** Any codes; scales that F16 holds, so that they come back as they are. */
function codesFrom(
  seed: number,
  rows: number,
  columns: number,
  bits: number,
  groups: number | Int32Array,
): GroupedCodes {
  const next = numbers(seed);
  const count = typeof groups === "number" ? Math.ceil(columns / groups) : Math.max(...groups) + 1;
  const code = (): number => next() % 2 ** bits;
  return {
    shape: [rows, columns],
    bits,
    codes: Uint8Array.from({ length: rows * columns }, code),
    scales: Float32Array.from({ length: count * rows }, () => (next() % 2048) / 1024),
    zeros: Uint8Array.from({ length: count * rows }, code),
    groups,
  };
}

/** Code number `i` of a stream of bits, the lowest first, in the words that `word` gives. */
function codeAt(i: number, bits: number, word: (index: number) => number): number {
  let code = 0;
  for (let bit = 0; bit < bits; bit++) {
    const place = i * bits + bit;
    code |= ((word(place >> 5) >>> (place & 31)) & 1) << bit;
  }
  return code;
}

const wordsOf = ({ dtype, shape, bytes }: PartData): Int32Array => {
  assert.equal(dtype, "I32");
  assert.equal(bytes.length, 4 * shape.reduce((product, size) => product * size, 1));
  return asTypedArray("I32", bytes, bytes.length / 4);
};

const floatsOf = ({ dtype, shape, bytes }: PartData): Float32Array =>
  toFloat32(dtype, bytes, shape[0]! * shape[1]!);

const groupOf = ({ groups }: GroupedCodes, column: number): number =>
  typeof groups === "number" ? Math.floor(column / groups) : groups[column]!;

/** Goes through all elements: row, column, group. */
function forAll(weight: GroupedCodes, check: (n: number, k: number, g: number) => void): void {
  const [rows, columns] = weight.shape;
  for (let n = 0; n < rows; n++) for (let k = 0; k < columns; k++) check(n, k, groupOf(weight, k));
}

const size = fc.integer({ min: 1, max: 70 });
const group = fc.integer({ min: 1, max: 64 });
const options = { seed: 42, numRuns: 40 };

describe("packing", () => {
  it("GPTQ: streams along inputs, zero points less one", () => {
    const bits = fc.constantFrom(2, 3, 4, 8);
    fc.assert(
      fc.property(fc.integer(), size, size, bits, group, fc.boolean(), (seed, rows, columns, b, g, any) => {
        const next = numbers(seed);
        const groups = any ? Int32Array.from({ length: columns }, () => next() % 5) : g;
        const weight = codesFrom(seed, rows, columns, b, groups);
        const parts = packGptq(weight);
        const [qweight, qzeros] = [wordsOf(parts.get("qweight")!), wordsOf(parts.get("qzeros")!)];
        const index = wordsOf(parts.get("g_idx")!);
        const zeroWords = parts.get("qzeros")!.shape[1]!;
        assert.deepEqual(parts.get("qweight")!.shape, [Math.ceil((columns * b) / 32), rows]);
        assert.deepEqual(floatsOf(parts.get("scales")!), weight.scales);
        assert.equal(parts.get("scales")!.dtype, "F16");
        forAll(weight, (n, k, g) => {
          assert.equal(
            codeAt(k, b, (word) => qweight[word * rows + n]!),
            weight.codes[n * columns + k],
          );
          assert.equal(index[k], g);
          const stored = codeAt(n, b, (word) => qzeros[g * zeroWords + word]!);
          assert.equal((stored + 1) % 2 ** b, weight.zeros[g * rows + n]);
        });
      }),
      options,
    );
  });

  it("AWQ: eight outputs a word, in its order", () => {
    const place = [0, 4, 1, 5, 2, 6, 3, 7];
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 1, max: 20 }), size, group, (seed, words, columns, g) => {
        const weight = codesFrom(seed, 8 * words, columns, 4, g);
        const parts = packAwq(weight, "BF16");
        const [qweight, qzeros] = [wordsOf(parts.get("qweight")!), wordsOf(parts.get("qzeros")!)];
        assert.deepEqual(parts.get("qweight")!.shape, [columns, words]);
        assert.equal(parts.get("scales")!.dtype, "BF16");
        const nibble = (all: Int32Array, row: number, n: number): number =>
          (all[row * words + (n >> 3)]! >>> (4 * place[n & 7]!)) & 15;
        forAll(weight, (n, k, g) => {
          assert.equal(nibble(qweight, k, n), weight.codes[n * columns + k]);
          assert.equal(nibble(qzeros, g, n), weight.zeros[g * 8 * words + n]);
        });
      }),
      options,
    );
  });

  it("compressed-tensors: streams along rows, zero points along outputs", () => {
    const bits = fc.integer({ min: 2, max: 8 });
    fc.assert(
      fc.property(fc.integer(), size, size, bits, group, fc.boolean(), (seed, rows, columns, b, g, any) => {
        const next = numbers(seed);
        const groups = any ? Int32Array.from({ length: columns }, () => next() % 5) : g;
        const weight = codesFrom(seed, rows, columns, b, groups);
        const parts = packCompressedTensors(weight, "F32", false);
        const [packed, zeros] = [
          wordsOf(parts.get("weight_packed")!),
          wordsOf(parts.get("weight_zero_point")!),
        ];
        const scales = floatsOf(parts.get("weight_scale")!);
        const count = parts.get("weight_scale")!.shape[1]!;
        const words = Math.ceil((columns * b) / 32);
        assert.deepEqual(
          asTypedArray("I64", parts.get("weight_shape")!.bytes, 2),
          BigInt64Array.of(BigInt(rows), BigInt(columns)),
        );
        assert.equal(parts.has("weight_g_idx"), any);
        forAll(weight, (n, k, g) => {
          assert.equal(
            codeAt(k, b, (word) => packed[n * words + word]!),
            weight.codes[n * columns + k],
          );
          assert.equal(
            codeAt(n, b, (word) => zeros[word * count + g]!),
            weight.zeros[g * rows + n],
          );
          assert.equal(scales[n * count + g], weight.scales[g * rows + n]);
        });
      }),
      options,
    );
  });

  it("compressed-tensors: nothing of zero points where they lie in the middle", () => {
    const parts = packCompressedTensors(codesFrom(1, 8, 32, 4, 32), "BF16");
    assert.deepEqual([...parts.keys()], ["weight_packed", "weight_scale", "weight_shape"]);
  });

  it("refuses scales that their dtype cannot hold, and what AWQ has no words for", () => {
    const weight = codesFrom(1, 8, 32, 4, 32);
    const large = { ...weight, scales: weight.scales.map(() => 1e5) };
    assert.throws(() => packGptq(large), raises("UNSUPPORTED", /a scale of 100000 is too large for F16/));
    assert.doesNotThrow(() => packGptq(large, "BF16"));
    assert.throws(() => packAwq(codesFrom(1, 12, 32, 4, 32)), raises("UNSUPPORTED", /12 outputs/));
    assert.throws(() => packAwq(codesFrom(1, 8, 32, 8, 32)), raises("UNSUPPORTED", /8 bits/));
  });
});
