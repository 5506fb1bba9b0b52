import { forEachPlace, isInOrder, type Transfer, type TransferAxis } from "./transfer.ts";

/** Rows of at least so many bytes are moved as a block; the call costs more than the loop for shorter ones. */
const BLOCK_ROW_BYTES = 32;

/**
 * Moves the elements of a transfer from one piece of memory to their places in another, and changes nothing else there.
 *
 * @param fromBit place of index zero in `from`; elements below a byte have their first one in the lowest bits.
 * @param toBit place of index zero in `to`.
 */
export function copyTransfer(
  from: Uint8Array,
  fromBit: number,
  to: Uint8Array,
  toBit: number,
  transfer: Transfer,
): void {
  const { axes, bits } = transfer;
  const row = axes.at(-1);
  const isRun = row !== undefined && isInOrder({ bits, axes: [row] });
  if (bits < 8) return forEachRow(axes, fromBit, toBit, 1, (isRun ? runMover : bitMover)(from, to, bits));
  const rowBytes = isRun ? (row.size * bits) / 8 : 0;
  if (rowBytes >= BLOCK_ROW_BYTES) return forEachRow(axes, fromBit, toBit, 8, blockMover(from, to, rowBytes));
  const size = Math.min(bits / 8, 4);
  const input = elementsOf(from, fromBit / 8, size);
  const output = elementsOf(to, toBit / 8, size);
  if (!input || !output) return forEachRow(axes, fromBit, toBit, 8, byteMover(from, to, bits / 8));
  // There is no 64-bit array that moves bits unchanged and fast, so such elements move as two halves.
  if (bits === 64) return forEachRow(axes, fromBit, toBit, 64 / 2, pairMover(input, output));
  moveElements(input, output, axes, fromBit, toBit, size * 8);
}

/** Moves one row: `count` elements from `at` on to `targetAt`, all in one unit. */
type RowMover = (at: number, step: number, targetAt: number, targetStep: number, count: number) => void;

type Elements = Uint8Array | Uint16Array | Uint32Array;

/** The memory as integers of `size` bytes, or nothing where the element at byte `at` is not aligned to that. */
function elementsOf(
  { buffer, byteOffset, length }: Uint8Array,
  at: number,
  size: number,
): Elements | undefined {
  if (byteOffset % size !== 0 || at % size !== 0) return undefined;
  const TypedArray = size === 4 ? Uint32Array : size === 2 ? Uint16Array : Uint8Array;
  return new TypedArray(buffer as ArrayBuffer, byteOffset, Math.floor(length / size));
}

function blockMover(from: Uint8Array, to: Uint8Array, bytes: number): RowMover {
  return (at, _step, targetAt) => to.set(from.subarray(at, at + bytes), targetAt);
}

/** Moves the rows of the last two axes together: a call for each row would cost more than a short row. */
function moveElements(
  from: Elements,
  to: Elements,
  axes: Transfer["axes"],
  fromBit: number,
  toBit: number,
  unit: number,
): void {
  const none = { size: 1, source: 0, target: 0 };
  const inUnits = ({ size, source, target }: TransferAxis): [number, number, number] => {
    return [size, source / unit, target / unit];
  };
  const rows = inUnits(axes.at(-2) ?? none);
  const row = inUnits(axes.at(-1) ?? none);
  forEachPlace(axes.slice(0, -2), fromBit, toBit, (at, targetAt) => {
    moveRows(from, to, at / unit, targetAt / unit, ...rows, ...row);
  });
}

/** All in arguments: what a loop takes from around its function is read anew each time. */
function moveRows(
  from: Elements,
  to: Elements,
  at: number,
  targetAt: number,
  rows: number,
  rowStep: number,
  targetRowStep: number,
  count: number,
  step: number,
  targetStep: number,
): void {
  for (let r = 0; r < rows; r++) {
    const start = at + r * rowStep;
    const targetStart = targetAt + r * targetRowStep;
    for (let i = 0; i < count; i++) to[targetStart + i * targetStep] = from[start + i * step]!;
  }
}

function pairMover(from: Elements, to: Elements): RowMover {
  return (at, step, targetAt, targetStep, count) => {
    for (let i = 0; i < count; i++) {
      const place = at + i * step;
      const targetPlace = targetAt + i * targetStep;
      to[targetPlace] = from[place]!;
      to[targetPlace + 1] = from[place + 1]!;
    }
  };
}

/** For elements that are not aligned. */
function byteMover(from: Uint8Array, to: Uint8Array, bytes: number): RowMover {
  return (at, step, targetAt, targetStep, count) => {
    for (let i = 0; i < count; i++)
      for (let byte = 0; byte < bytes; byte++)
        to[targetAt + i * targetStep + byte] = from[at + i * step + byte]!;
  };
}

/** For elements below a byte. */
function bitMover(from: Uint8Array, to: Uint8Array, bits: number): RowMover {
  return (at, step, targetAt, targetStep, count) => {
    for (let i = 0; i < count; i++) moveBits(from, at + i * step, to, targetAt + i * targetStep, bits);
  };
}

/** For elements below a byte that lie side by side on both sides, wherever their bytes begin. */
function runMover(from: Uint8Array, to: Uint8Array, bits: number): RowMover {
  return (at, _step, targetAt, _targetStep, count) => {
    const end = at + count * bits;
    // A run has more than one element, so at least eight bits.
    const head = (8 - (targetAt % 8)) % 8;
    moveBits(from, at, to, targetAt, head);
    const start = Math.floor((at + head) / 8);
    const shift = (at + head) % 8;
    const place = Math.ceil(targetAt / 8);
    const bytes = Math.floor((end - at - head) / 8);
    if (shift === 0) to.set(from.subarray(start, start + bytes), place);
    else
      for (let i = 0; i < bytes; i++)
        to[place + i] = (from[start + i]! | (from[start + i + 1]! << 8)) >> shift;
    const done = head + bytes * 8;
    moveBits(from, at + done, to, targetAt + done, end - at - done);
  };
}

/** Moves up to eight bits; those beside them in the same byte stay as they are. */
function moveBits(from: Uint8Array, at: number, to: Uint8Array, targetAt: number, count: number): void {
  if (count === 0) return;
  const mask = (1 << count) - 1;
  const moved = (pairAt(from, Math.floor(at / 8)) >> (at % 8)) & mask;
  const place = Math.floor(targetAt / 8);
  const shift = targetAt % 8;
  const merged = (pairAt(to, place) & ~(mask << shift)) | (moved << shift);
  to[place] = merged;
  if (shift + count > 8) to[place + 1] = merged >> 8;
}

/** Two bytes as a little-endian number. */
function pairAt(bytes: Uint8Array, at: number): number {
  return bytes[at]! | ((bytes[at + 1] ?? 0) << 8);
}

/** Moves the rows along the last axis, with places and steps counted in units of `unit` bits. */
function forEachRow(
  axes: Transfer["axes"],
  fromBit: number,
  toBit: number,
  unit: number,
  move: RowMover,
): void {
  const { size, source, target } = axes.at(-1) ?? { size: 1, source: 0, target: 0 };
  forEachPlace(axes.slice(0, -1), fromBit, toBit, (from, to) => {
    move(from / unit, source / unit, to / unit, target / unit, size);
  });
}
