import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { SafetensorsError } from "../../src/errors.ts";
import type { KernelCall } from "../../src/quant/kernels/call.ts";
import { runKernel } from "../../src/quant/kernels/run.ts";
import { CALLS, sameFloats } from "./kernel-calls.ts";

/** The bits from `from` on of words behind one another, `stride` apart, the lowest first: one bit at a time. */
function streamCode(words: Uint32Array, start: number, stride: number, from: number, bits: number): number {
  let code = 0;
  for (let bit = 0; bit < bits; bit++) {
    const place = from + bit;
    const word = words[start + Math.floor(place / 32) * stride]!;
    code += ((word >>> (place % 32)) & 1) * 2 ** bit;
  }
  return code;
}

/** What the definitions of the calls say of one element. */
function element(call: KernelCall, row: number, column: number): number {
  const groupOf = (groups: Int32Array | number): number =>
    typeof groups === "number" ? Math.floor(column / groups) : groups[column]!;
  switch (call.kernel) {
    case "k-major": {
      const code = streamCode(call.words, row, call.rows, column * call.bits, call.bits);
      const at = groupOf(call.groups) * call.rows + row;
      return Math.fround((code - call.zeros[at]!) * call.scales[at]!);
    }
    case "awq": {
      const place = [0, 2, 4, 6, 1, 3, 5, 7].indexOf(row % 8);
      const code = streamCode(call.words, (column * call.rows) / 8 + Math.floor(row / 8), 1, 4 * place, 4);
      const at = groupOf(call.group) * call.rows + row;
      return Math.fround((code - call.zeros[at]!) * call.scales[at]!);
    }
    case "packed-rows": {
      const { rows, bits, words, perWord, scales, zeros, biases } = call;
      const start = row * (words.length / rows);
      const from = perWord ? Math.floor(column / perWord) * 32 + (column % perWord) * bits : column * bits;
      const code = streamCode(words, start, 1, from, bits);
      const at = row * (scales.length / rows) + groupOf(call.groups);
      if (biases) return Math.fround(Math.fround(code * scales[at]!) + biases[at]!);
      return Math.fround(Math.fround(code - (typeof zeros === "number" ? zeros : zeros[at]!)) * scales[at]!);
    }
    case "scaled-bytes": {
      const { columns, codes, table, scales, blockRows, blockColumns, zeros } = call;
      const at =
        Math.floor(row / blockRows) * Math.ceil(columns / blockColumns) + Math.floor(column / blockColumns);
      const value = table[codes[row * columns + column]!]!;
      return Math.fround((zeros ? Math.fround(value - zeros[at]!) : value) * scales[at]!);
    }
    case "scaled-nibbles": {
      const { columns, codes, highFirst, table, scales, block } = call;
      const byte = codes[(row * columns + column - (column % 2)) / 2]!;
      const code = (column % 2 === 1) === highFirst ? byte % 16 : Math.floor(byte / 16);
      return Math.fround(
        table[code]! * scales[row * Math.ceil(columns / block) + Math.floor(column / block)]!,
      );
    }
  }
}

function byDefinition(call: KernelCall): Float32Array {
  const { rows, columns } = call;
  return Float32Array.from({ length: rows * columns }, (_, i) =>
    element(call, Math.floor(i / columns), i % columns),
  );
}

function run(call: KernelCall): Float32Array {
  const out = new Float32Array(call.rows * call.columns).fill(12345);
  runKernel(call, out);
  return out;
}

describe("kernels in plain JavaScript", () => {
  for (const [kernel, calls] of Object.entries(CALLS)) {
    it(`do ${kernel} as it is defined, whatever the shape`, () => {
      const same = fc.property(calls as fc.Arbitrary<KernelCall>, (call) =>
        sameFloats(run(call), byDefinition(call)),
      );
      fc.assert(same, { seed: 42, numRuns: 25 });
    });
  }

  it("subtract first, so that there is one rounding", () => {
    const call: KernelCall = {
      kernel: "k-major",
      rows: 1,
      columns: 8,
      bits: 4,
      words: Uint32Array.of(0x76543210),
      scales: Float32Array.of(0.1),
      zeros: Uint8Array.of(3),
      groups: 8,
    };
    const expected = [-3, -2, -1, 0, 1, 2, 3, 4].map((difference) =>
      Math.fround(difference * Math.fround(0.1)),
    );
    assert.deepEqual([...run(call)], expected);
  });

  it("refuse arrays of other sizes than the call says", () => {
    const wrong = fc.property(
      fc.oneof(...Object.values(CALLS)),
      fc.nat(),
      fc.constantFrom(-1, 1),
      (call: KernelCall, which, by) => {
        const arrays = Object.entries(call).filter(([, value]) => ArrayBuffer.isView(value));
        const [name, array] = arrays[which % arrays.length]!;
        const changed = new array.constructor(Math.max(0, array.length + by));
        if (changed.length === array.length) return;
        // One more of a row that nobody has is no other number of groups.
        if (call.rows * call.columns === 0) return;
        assert.throws(
          () => run({ ...call, [name]: changed }),
          (error) => error instanceof SafetensorsError && error.code === "SIZE_MISMATCH",
          name,
        );
      },
    );
    fc.assert(wrong, { seed: 42, numRuns: 100 });
  });

  it("refuse counts that are none, codes that do not fit and groups that are not there", () => {
    const call: KernelCall = {
      kernel: "packed-rows",
      rows: 2,
      columns: 4,
      bits: 8,
      words: new Uint32Array(2),
      scales: new Float32Array(4),
      zeros: 0,
      groups: Int32Array.of(0, 0, 1, 1),
    };
    run(call);
    const wrong: Partial<typeof call>[] = [
      { rows: -2 },
      { columns: 4.5 },
      { columns: Number.NaN },
      { bits: 0 },
      { bits: 9 },
      { perWord: 0 },
      { perWord: 5 },
      { groups: 0 },
      { groups: 1.5 },
      { groups: Int32Array.of(0, 0, 1, 2) },
      { groups: Int32Array.of(0, -1, 1, 1) },
    ];
    for (const change of wrong) {
      const changed = { ...call, ...change };
      assert.throws(() => runKernel(changed, new Float32Array(8)), { code: "SIZE_MISMATCH" });
    }
    assert.throws(() => runKernel(call, new Float32Array(7)), /SIZE_MISMATCH: packed-rows of 2 rows/);
  });
});
