import type { Transfer, TransferAxis } from "./transfer.ts";

/** Rows of at least so many bytes are moved as a block; the call costs more than the loop for shorter ones. */
const BLOCK_ROW_BYTES = 32;

/**
 * Moves the elements of a transfer from one piece of memory to their places in another.
 *
 * @param fromBit place of index zero in `from`; elements below a byte have their first one in the lowest bits.
 * @param toBit place of index zero in `to`.
 */
export function copyTransfer(
  from: Uint8Array,
  fromBit: number,
  to: Uint8Array,
  toBit: number,
  { axes, bits }: Transfer,
): void {
  if (bits < 8) return forEachRow(axes, fromBit, toBit, 1, (...row) => copyBits(from, to, bits, ...row));
  const last = axes.at(-1);
  const rowBytes = last?.source === bits && last.target === bits ? (last.size * bits) / 8 : 0;
  if (rowBytes >= BLOCK_ROW_BYTES) {
    return forEachRow([...axes.slice(0, -1), ONE], fromBit, toBit, 8, (at, _step, targetAt) => {
      to.set(from.subarray(at, at + rowBytes), targetAt);
    });
  }
  // There is no 64-bit array that moves bits unchanged and fast, so such elements move as two halves.
  const parts = bits === 64 ? [...axes, HALVES] : axes;
  const size = Math.min(bits, 32) / 8;
  const input = elementsOf(from, fromBit / 8, size);
  const output = elementsOf(to, toBit / 8, size);
  if (input && output) {
    return forEachRow(parts, fromBit, toBit, size * 8, (...row) => copyElements(input, output, ...row));
  }
  const bytes = [...axes, { size: bits / 8, source: 8, target: 8 }];
  forEachRow(bytes, fromBit, toBit, 8, (...row) => copyElements(from, to, ...row));
}

const ONE: TransferAxis = { size: 1, source: 0, target: 0 };
const HALVES: TransferAxis = { size: 2, source: 32, target: 32 };

type Elements = Uint8Array | Uint16Array | Uint32Array;

/** The memory as integers of the element's size, or nothing where the element at `at` is not aligned to that. */
function elementsOf(
  { buffer, byteOffset, length }: Uint8Array,
  at: number,
  size: number,
): Elements | undefined {
  if (byteOffset % size !== 0 || at % size !== 0) return undefined;
  const TypedArray = size === 4 ? Uint32Array : size === 2 ? Uint16Array : Uint8Array;
  return new TypedArray(buffer as ArrayBuffer, byteOffset, Math.floor(length / size));
}

type Row = [at: number, step: number, targetAt: number, targetStep: number, length: number];

function copyElements(from: Elements, to: Elements, ...[at, step, targetAt, targetStep, length]: Row): void {
  for (let i = 0; i < length; i++) to[targetAt + i * targetStep] = from[at + i * step]!;
}

function copyBits(from: Uint8Array, to: Uint8Array, bits: number, ...row: Row): void {
  const [start, step, targetStart, targetStep, length] = row;
  const mask = (1 << bits) - 1;
  for (let i = 0; i < length; i++) {
    const at = start + i * step;
    const targetAt = targetStart + i * targetStep;
    const element = (pairAt(from, Math.floor(at / 8)) >> (at % 8)) & mask;
    const place = Math.floor(targetAt / 8);
    const shift = targetAt % 8;
    const merged = (pairAt(to, place) & ~(mask << shift)) | (element << shift);
    to[place] = merged;
    if (shift + bits > 8) to[place + 1] = merged >> 8;
  }
}

/** Two bytes as a little-endian number. */
function pairAt(bytes: Uint8Array, at: number): number {
  return bytes[at]! | ((bytes[at + 1] ?? 0) << 8);
}

/** Visits the rows along the last axis, with places and steps counted in units of `unit` bits. */
function forEachRow(
  axes: readonly TransferAxis[],
  fromBit: number,
  toBit: number,
  unit: number,
  visit: (...row: Row) => void,
): void {
  const outer = axes.slice(0, -1);
  const row = axes.at(-1) ?? ONE;
  const index = outer.map(() => 0);
  let at = fromBit / unit;
  let targetAt = toBit / unit;
  for (;;) {
    visit(at, row.source / unit, targetAt, row.target / unit, row.size);
    let axis = outer.length - 1;
    for (; axis >= 0; axis--) {
      const { size, source, target } = outer[axis]!;
      at += source / unit;
      targetAt += target / unit;
      index[axis]!++;
      if (index[axis]! < size) break;
      at -= (size * source) / unit;
      targetAt -= (size * target) / unit;
      index[axis] = 0;
    }
    if (axis < 0) return;
  }
}
