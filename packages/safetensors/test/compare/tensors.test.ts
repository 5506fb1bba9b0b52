import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { transpose } from "../../src/checkpoint/rearrange.ts";
import { TensorHandle } from "../../src/checkpoint/tensor.ts";
import { type ComparedTensors, compareTensors, type ValueOptions } from "../../src/compare/tensors.ts";
import { decodeElement } from "../../src/dtype/decode.ts";
import { DTYPE_ORDER, DTYPES, type Dtype, elementCount } from "../../src/dtype/dtype.ts";
import { fromBytes } from "../../src/source/memory.ts";
import { range } from "../../src/view/index-items.ts";
import { contiguousStrides } from "../../src/view/view.ts";
import { noise, numbers, raises } from "../support.ts";

function tensorOf(dtype: Dtype, shape: readonly number[], data: ArrayBufferView, name = "t"): TensorHandle {
  const view = { source: fromBytes(data), dtype, shape, strides: contiguousStrides(shape), bitOffset: 0 };
  return new TensorHandle(name, view);
}

const floats = (...values: number[]): TensorHandle =>
  tensorOf("F32", [values.length], Float32Array.from(values));

const compare = (a: TensorHandle, b: TensorHandle, options?: ValueOptions): Promise<ComparedTensors> =>
  compareTensors(a, b, options);

/** The differences by the definitions, element by element; those of integers are rounded only at the end. */
function expectedOf(
  [from, x]: readonly [Dtype, Uint8Array],
  [to, y]: readonly [Dtype, Uint8Array],
  count: number,
  { atol = 0, rtol = 0, equalNan = false }: ValueOptions,
): Record<string, unknown> {
  let [different, beyond, nan, maxAbsolute, maxRelative] = [0, 0, 0, 0, 0];
  const parts = (dtype: Dtype, bytes: Uint8Array, index: number): readonly number[] => {
    const value = decodeElement(dtype, bytes, index);
    return typeof value === "object" ? value : [Number(value), 0];
  };
  const bits = DTYPES[from].bits;
  const areIntegers = [from, to].every((dtype) => /^(BOOL|[IU]\d+)$/.test(dtype));
  for (let i = 0; i < count; i++) {
    const [xr, xi] = parts(from, x, i) as [number, number];
    const [yr, yi] = parts(to, y, i) as [number, number];
    const areNan = [Number.isNaN(xr) || Number.isNaN(xi), Number.isNaN(yr) || Number.isNaN(yi)];
    if (areNan[0] || areNan[1]) {
      const begin = (i * bits) / 8;
      const same =
        from === to &&
        Buffer.from(x.subarray(begin, begin + bits / 8)).equals(y.subarray(begin, begin + bits / 8));
      if (areNan[0] && areNan[1] && (same || equalNan)) continue;
      different++;
      beyond++;
      nan++;
      continue;
    }
    const exact = areIntegers
      ? BigInt(decodeElement(from, x, i) as number) - BigInt(decodeElement(to, y, i) as number)
      : 0n;
    if (areIntegers ? exact === 0n : xr === yr && xi === yi) continue;
    const distance = areIntegers
      ? Math.abs(Number(exact))
      : Math.hypot(xr === yr ? 0 : xr - yr, xi === yi ? 0 : xi - yi);
    const reference = Math.hypot(yr, yi);
    different++;
    if (!(distance <= atol + rtol * reference && reference < Number.POSITIVE_INFINITY)) beyond++;
    maxAbsolute = Math.max(maxAbsolute, distance);
    const relative = distance / reference;
    maxRelative = Math.max(maxRelative, Number.isNaN(relative) ? Number.POSITIVE_INFINITY : relative);
  }
  return { elements: count, different, beyond, nan, maxAbsolute, maxRelative };
}

describe("compareTensors", () => {
  it("finds what the definitions say, for every dtype", async () => {
    const dtypes = DTYPE_ORDER.filter((dtype) => dtype !== "I64" && dtype !== "U64");
    const cases = fc.record({
      dtype: fc.constantFrom(...dtypes),
      seed: fc.nat(),
      changes: fc.nat(10),
      atol: fc.constantFrom(0, 0.5, 100),
      rtol: fc.constantFrom(0, 0.01, 2),
      equalNan: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(cases, async ({ dtype, seed, changes, ...tolerance }) => {
        const shape = [3, 8];
        const x = noise((24 * DTYPES[dtype].bits) / 8, seed);
        const y = x.slice();
        const next = numbers(seed);
        for (let i = 0; i < changes; i++) y[next() % y.length] = next();
        const { status, values } = await compare(
          tensorOf(dtype, shape, x),
          tensorOf(dtype, shape, y),
          tolerance,
        );
        if (Buffer.from(x).equals(y)) return assert.equal(status, "identical");
        const { worst, ...found } = values!;
        const expected = expectedOf([dtype, x], [dtype, y], 24, tolerance);
        assert.deepEqual(found, expected);
        assert.equal(status, !found.different ? "equal" : !found.beyond ? "close" : "different");
        if (found.different > found.nan) {
          const [p, q] = [x, y].map((bytes) => decodeElement(dtype, bytes, worst!)) as [number, number];
          if (typeof p === "number" && Number.isFinite(p - q))
            assert.equal(Math.abs(p - q), found.maxAbsolute);
        } else assert.equal(worst, undefined);
      }),
      { seed: 42, numRuns: 300 },
    );
  });

  it("compares the values of two dtypes with `cast`", async () => {
    const pairs = fc.record({
      from: fc.constantFrom(...DTYPE_ORDER),
      to: fc.constantFrom(...DTYPE_ORDER),
      seed: fc.nat(),
      equalNan: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(pairs, async ({ from, to, seed, equalNan }) => {
        const x = noise((8 * DTYPES[from].bits) / 8, seed);
        const y = noise((8 * DTYPES[to].bits) / 8, seed + 1);
        const [a, b] = [tensorOf(from, [8], x), tensorOf(to, [8], y)];
        if (from !== to) assert.deepEqual(await compare(a, b), { status: "incompatible" });
        const { values } = await compare(a, b, { cast: true, equalNan });
        const { worst: _, ...found } = values!;
        const expected = expectedOf([from, x], [to, y], 8, { equalNan });
        assert.deepEqual({ ...found, maxAbsolute: Number(found.maxAbsolute) }, expected);
      }),
      { seed: 42, numRuns: 300 },
    );
  });

  it("compares 64-bit integers exactly", async () => {
    const a = tensorOf("I64", [3], BigInt64Array.of(2n ** 63n - 1n, -(2n ** 63n), 5n));
    const b = tensorOf("I64", [3], BigInt64Array.of(2n ** 63n - 2n, 2n ** 63n - 1n, 5n));
    const { status, values } = await compare(a, b, { atol: 1 });
    assert.equal(status, "different");
    assert.deepEqual(values, {
      elements: 3,
      different: 2,
      beyond: 1,
      nan: 0,
      maxAbsolute: 2n ** 64n - 1n,
      maxRelative: 2,
      worst: 1,
    });
    // Apart by one, where doubles are no longer; and of two signs.
    const unsigned = tensorOf("U64", [3], BigUint64Array.of(2n ** 63n, 2n ** 63n, 5n));
    const found = (await compare(a, unsigned, { cast: true })).values!;
    assert.deepEqual([found.different, found.maxAbsolute], [2, 2n ** 64n]);
    assert.equal(
      (await compare(a, tensorOf("I64", [3], BigInt64Array.of(2n ** 63n - 1n, -(2n ** 63n), 5n)))).status,
      "identical",
    );
    assert.equal(
      (
        await compare(tensorOf("U8", [1], Uint8Array.of(7)), tensorOf("I64", [1], BigInt64Array.of(7n)), {
          cast: true,
        })
      ).status,
      "equal",
    );
  });

  it("tells equal values in other bits", async () => {
    assert.equal((await compare(floats(0, 1), floats(-0, 1))).status, "equal");
    const nans = new Uint32Array([0x7fc00000, 0x7fc00001]);
    const other = new Uint32Array([0x7fc00000, 0x7fc00002]);
    const [a, b] = [tensorOf("F32", [2], nans), tensorOf("F32", [2], other)];
    assert.equal((await compare(a, b)).values!.nan, 1);
    assert.equal((await compare(a, b, { equalNan: true })).status, "equal");
    assert.equal((await compare(a, a)).status, "identical");
    assert.equal(
      (await compare(tensorOf("BOOL", [1], Uint8Array.of(1)), tensorOf("BOOL", [1], Uint8Array.of(2))))
        .status,
      "equal",
    );
  });

  it("takes infinities as numpy.isclose does", async () => {
    const { POSITIVE_INFINITY: inf } = Number;
    const one = async (a: number, b: number, options: ValueOptions): Promise<string> =>
      (await compare(floats(a), floats(b), options)).status;
    assert.equal(await one(inf, inf, {}), "identical");
    assert.equal(await one(inf, -inf, { rtol: 1 }), "different");
    assert.equal(await one(1, inf, { rtol: 1 }), "different");
    assert.equal(await one(inf, 1, { rtol: 1, atol: 1e300 }), "different");
    assert.equal(await one(1, 1.5, { atol: 0.5 }), "close");
    assert.equal(await one(1, 2, { rtol: 0.5 }), "close");
    assert.equal(await one(2, 1, { rtol: 0.5 }), "different");
    assert.equal((await compare(floats(1), floats(0))).values!.maxRelative, inf);
  });

  it("goes on over pieces, where tensors are large, strided, and of two sizes", async () => {
    const rows = 1100;
    const shape = [rows, 1000];
    const x = Float32Array.from({ length: rows * 1000 }, (_, i) => i % 7919);
    const y = x.slice();
    y[1_099_999]! += 2;
    y[300_000]! += 1;
    const transposed = new Float32Array(x.length);
    for (let i = 0; i < x.length; i++) transposed[(i % 1000) * rows + Math.floor(i / 1000)] = y[i]!;
    const steps: number[] = [];
    const b = transpose(tensorOf("F32", [1000, rows], transposed));
    const found = await compareTensors(tensorOf("F32", shape, x), b, {}, (count) => steps.push(count));
    assert.deepEqual(
      [found.values!.different, found.values!.worst, found.values!.elements],
      [2, 1_099_999, x.length],
    );
    assert.ok(steps.length > 3);
    assert.equal(
      steps.reduce((sum, step) => sum + step),
      2 * 4 * x.length,
    );
    const doubles = tensorOf("F64", shape, Float64Array.from(y));
    const cast = await compare(tensorOf("F32", shape, x), doubles, { cast: true });
    assert.deepEqual([cast.values!.different, cast.values!.worst], [2, 1_099_999]);
  });

  it("uses the test for same bytes that it is given, and stops when told to", async () => {
    let calls = 0;
    const sameBytes = (): boolean => ++calls > 0;
    assert.equal((await compare(floats(1), floats(2), { sameBytes })).status, "identical");
    assert.equal(calls, 1);
    const signal = AbortSignal.abort();
    await assert.rejects(compare(floats(1), floats(2), { signal }), { name: "AbortError" });
    await assert.rejects(
      compare(floats(1), floats(2), { atol: -1 }),
      raises("OUT_OF_RANGE", /tolerances of -1/),
    );
    await assert.rejects(compare(floats(1), floats(2), { rtol: Number.NaN }), raises("OUT_OF_RANGE"));
  });

  it("takes parts that do not end on a whole byte", async () => {
    const a = tensorOf("F4", [2, 4], Uint8Array.of(0x21, 0x43, 0x65, 0x07));
    const b = tensorOf("F4", [2, 4], Uint8Array.of(0x21, 0x73, 0x65, 0x07));
    assert.equal((await compare(a, b)).status, "different");
    // The rest of the last byte belongs to the neighbour.
    const begin = await compare(a.slice(0, range(0, 3)), b.slice(0, range(0, 3)));
    assert.deepEqual([begin.status, begin.values!.elements], ["equal", 3]);
    const found = await compare(a.slice(0, range(1, 4)), b.slice(0, range(1, 4)));
    assert.deepEqual([found.values!.elements, found.values!.worst], [3, 2]);
  });

  it("takes tensors without elements and without dimensions", async () => {
    const empty = tensorOf("F32", [0, 3], new Float32Array(0));
    assert.equal(elementCount(empty.shape), 0);
    assert.deepEqual(await compare(empty, empty), { status: "identical" });
    assert.equal((await compare(empty, tensorOf("F32", [3, 0], new Float32Array(0)))).status, "incompatible");
    const scalar = (value: number): TensorHandle => tensorOf("F32", [], Float32Array.of(value));
    assert.equal((await compare(scalar(1), scalar(2))).values!.worst, 0);
    assert.equal((await compare(scalar(1), floats(1))).status, "incompatible");
  });
});

it("with norms, tells the norm of the differences by that of b, also where all is the same", async () => {
  const norms = { norms: true };
  const { values } = await compare(floats(3, 4, Number.NaN), floats(3, 5, 1), norms);
  assert.equal(values!.relativeError, Math.sqrt(1 / 34));
  assert.equal((await compare(floats(1), floats(0), norms)).values!.relativeError, Number.POSITIVE_INFINITY);
  assert.equal((await compare(floats(0), floats(-0), norms)).values!.relativeError, 0);
  assert.equal((await compare(floats(1), floats(1), norms)).status, "identical");
  assert.equal((await compare(floats(3), floats(4))).values!.relativeError, undefined);
});
