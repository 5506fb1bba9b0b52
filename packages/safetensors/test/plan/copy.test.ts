import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { copyTransfer } from "../../src/plan/copy.ts";
import { forEachPlace, leadBits, spanBits, type Transfer } from "../../src/plan/transfer.ts";
import { noise } from "../support.ts";

/** Bit by bit: the definition. */
function model(
  from: Uint8Array,
  fromBit: number,
  to: Uint8Array,
  toBit: number,
  { axes, bits }: Transfer,
): Uint8Array {
  const out = to.slice();
  forEachPlace(axes, fromBit, toBit, (source, target) => {
    for (let bit = 0; bit < bits; bit++) {
      const value = (from[(source + bit) >> 3]! >> ((source + bit) & 7)) & 1;
      const place = target + bit;
      out[place >> 3] = (out[place >> 3]! & ~(1 << (place & 7))) | (value << (place & 7));
    }
  });
  return out;
}

const swapped = ({ axes, bits }: Transfer): Transfer => {
  return { bits, axes: axes.map(({ size, source, target }) => ({ size, source: target, target: source })) };
};

/** Compares with the model, at unaligned places of other memory, and with whatever lies around. */
function check(transfer: Transfer, shift: number, fromStart: number, toStart: number): void {
  const fromBit = fromStart + leadBits(transfer);
  const toBit = toStart + leadBits(swapped(transfer));
  const bytes = (start: number, of: Transfer): number => Math.ceil((start + spanBits(of)) / 8);
  const from = noise(bytes(fromStart, transfer) + 8, 3)
    .subarray(shift % 8)
    .subarray(0, bytes(fromStart, transfer));
  const memory = noise(bytes(toStart, swapped(transfer)) + 16, 4);
  const to = memory.subarray(8 - (shift >> 3));
  const before = from.slice();
  const [head, expected] = [memory.slice(0, 8 - (shift >> 3)), model(from, fromBit, to, toBit, transfer)];
  copyTransfer(from, fromBit, to, toBit, transfer);
  assert.deepEqual(to, expected);
  assert.deepEqual(memory.slice(0, head.length), head);
  assert.deepEqual(from, before);
}

describe("copyTransfer", () => {
  const anyAxis = fc.record({
    size: fc.integer({ min: 2, max: 6 }),
    source: fc.integer({ min: -9, max: 9 }),
    space: fc.integer({ min: 1, max: 3 }),
    backwards: fc.boolean(),
  });

  it("moves the elements of any transfer, and changes nothing else", () => {
    const property = fc.property(
      fc.array(anyAxis, { maxLength: 3 }),
      fc.constantFrom(4, 6, 8, 16, 32, 64),
      fc.nat(63),
      fc.nat(40),
      fc.nat(40),
      (drawn, bits, shift, fromStart, toStart) => {
        // Places in the destination must not overlap: each axis steps over those inside it.
        let inside = 1;
        const axes = drawn.map(({ size, source, space, backwards }) => {
          const target = inside * space * bits * (backwards ? -1 : 1);
          inside *= space * size;
          return { size, source: source * bits, target };
        });
        const unit = bits < 8 ? 1 : 8;
        check({ bits, axes: axes.reverse() }, shift, fromStart * unit, toStart * unit);
      },
    );
    fc.assert(property, { seed: 64, numRuns: 3000 });
  });

  it("moves rows of every length that lie in order", () => {
    for (const bits of [4, 6, 8, 16, 32, 64]) {
      for (const length of [2, 3, 4, 7, 8, 15, 16, 31, 32, 33, 64, 127, 128, 500]) {
        const row = { size: length, source: bits, target: bits };
        const rows = { size: 3, source: bits * (length + 16), target: bits * (length + 8) };
        for (const axes of [[row], [rows, row]])
          for (const start of [0, 8, 16, 64, ...(bits < 8 ? [4, 6, 12] : [])])
            check({ bits, axes }, 0, start, 64);
      }
    }
  });

  it("keeps every bit of a NaN", () => {
    const from = new Uint8Array(48);
    const words = new BigUint64Array(from.buffer);
    words.set([0x7ff0000000000001n, 0xfff7ffffffffffffn, 1n, 0x7ff4deadbeef0000n, 2n, 0xffffffffffffffffn]);
    const to = new Uint8Array(24);
    copyTransfer(from, 0, to, 0, { bits: 64, axes: [{ size: 3, source: 128, target: 64 }] });
    assert.deepEqual(new BigUint64Array(to.buffer), BigUint64Array.from([words[0]!, words[2]!, words[4]!]));
  });
});
