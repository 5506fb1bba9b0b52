import type { Block } from "./block.ts";

/**
 * Copies the elements of one block to the places of another of the same shape. Strides and offsets count elements of
 * `bits` bits, of which the first is in the lowest bits of its byte; `leadBits` of `from` come before its first element.
 */
export function copyBlock(
  from: Uint8Array,
  source: Block,
  to: Uint8Array,
  target: Block,
  bits: number,
  leadBits = 0,
): void {
  if (bits < 8) {
    const input = scale(source, bits);
    const placed = { ...input, offset: input.offset + leadBits };
    return forEachRow(placed, scale(target, bits), (...row) => copyBits(from, to, bits, ...row));
  }
  let elementBytes = bits / 8;
  if (elementBytes === 8) {
    // Two halves an element: there is no 64-bit array that moves bits unchanged and fast.
    [source, target] = [halves(source), halves(target)];
    elementBytes = 4;
  }
  const input = elementsOf(from, elementBytes);
  const output = elementsOf(to, elementBytes);
  if (input && output) return forEachRow(source, target, (...row) => copyElements(input, output, ...row));
  const bytes = (block: Block): Block => withInnerAxis(scale(block, elementBytes), elementBytes);
  forEachRow(bytes(source), bytes(target), (...row) => copyElements(from, to, ...row));
}

const halves = (block: Block): Block => withInnerAxis(scale(block, 2), 2);

/** The block counted in a unit of which an element has `units`. */
function scale({ shape, strides, offset }: Block, units: number): Block {
  return { shape, strides: strides.map((stride) => stride * units), offset: offset * units };
}

function withInnerAxis({ shape, strides, offset }: Block, size: number): Block {
  return { shape: [...shape, size], strides: [...strides, 1], offset };
}

type Elements = Uint8Array | Uint16Array | Uint32Array;

/** The memory as integers of the element's size, or nothing where it is not aligned to that. */
function elementsOf({ buffer, byteOffset, length }: Uint8Array, elementBytes: number): Elements | undefined {
  if (byteOffset % elementBytes !== 0) return undefined;
  const TypedArray = elementBytes === 4 ? Uint32Array : elementBytes === 2 ? Uint16Array : Uint8Array;
  return new TypedArray(buffer as ArrayBuffer, byteOffset, Math.floor(length / elementBytes));
}

type Row = [at: number, step: number, targetAt: number, targetStep: number, length: number];

function copyElements(from: Elements, to: Elements, ...[at, step, targetAt, targetStep, length]: Row): void {
  for (let i = 0; i < length; i++, at += step, targetAt += targetStep) to[targetAt] = from[at]!;
}

function copyBits(from: Uint8Array, to: Uint8Array, bits: number, ...row: Row): void {
  let [at, step, targetAt, targetStep, length] = row;
  const mask = (1 << bits) - 1;
  for (; length > 0; length--, at += step, targetAt += targetStep) {
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

/** Visits the rows (the last axis) of two blocks side by side, in row-major order. */
function forEachRow(source: Block, target: Block, visit: (...row: Row) => void): void {
  const { shape } = source;
  if (shape.includes(0)) return;
  const last = shape.length - 1;
  const length = shape[last] ?? 1;
  const step = source.strides[last] ?? 0;
  const targetStep = target.strides[last] ?? 0;
  const index = new Array<number>(Math.max(last, 0)).fill(0);
  let at = source.offset;
  let targetAt = target.offset;
  for (;;) {
    visit(at, step, targetAt, targetStep, length);
    let axis = last - 1;
    for (; axis >= 0; axis--) {
      at += source.strides[axis]!;
      targetAt += target.strides[axis]!;
      index[axis]!++;
      if (index[axis]! < shape[axis]!) break;
      at -= shape[axis]! * source.strides[axis]!;
      targetAt -= shape[axis]! * target.strides[axis]!;
      index[axis] = 0;
    }
    if (axis < 0) return;
  }
}
