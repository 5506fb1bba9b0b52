import { castFloats } from "../dtype/cast.ts";
import { DTYPES, type Dtype } from "../dtype/dtype.ts";
import { readView, readViewInto } from "../plan/read.ts";
import { checkRange } from "../source/range.ts";
import type { ByteSource, ReadOptions } from "../source/source.ts";
import { byteLength, contiguousStrides, isContiguous, type StridedView } from "../view/view.ts";

/** What becomes of the elements of a view, byte-sized ones on both sides. */
export interface ElementMap {
  /** Bytes of an element of the result; as many as before if undefined. */
  readonly bytes?: number;
  /** The elements from `first` on, in row-major order, as new bytes. `input` may be the source's own memory. */
  apply(input: Uint8Array, first: number, options: ReadOptions | undefined): Uint8Array | Promise<Uint8Array>;
}

/** The elements of a view, in order and each mapped, as a source: only what is asked for is read and computed. */
export class MappedView implements ByteSource {
  readonly size: number;
  readonly #view: StridedView;
  readonly #map: ElementMap;
  readonly #elementBytes: number;

  constructor(view: StridedView, map: ElementMap) {
    const inputBytes = DTYPES[view.dtype].bits / 8;
    this.#view = view;
    this.#map = map;
    this.#elementBytes = map.bytes ?? inputBytes;
    this.size = (byteLength(view) / inputBytes) * this.#elementBytes;
  }

  get name(): string | undefined {
    return this.#view.source.name;
  }

  get cost(): ByteSource["cost"] {
    return this.#view.source.cost;
  }

  async read(offset: number, length: number, options?: ReadOptions): Promise<Uint8Array> {
    checkRange(this, offset, length);
    const first = Math.floor(offset / this.#elementBytes);
    const end = Math.ceil((offset + length) / this.#elementBytes);
    const input = await readElements(this.#view, first, end - first, options);
    const output = await this.#map.apply(input, first, options);
    const skip = offset - first * this.#elementBytes;
    return output.subarray(skip, skip + length);
  }
}

/** The bytes of `count` elements from the one with number `start` on, in row-major order. */
export async function readElements(
  view: StridedView,
  start: number,
  count: number,
  options?: ReadOptions,
): Promise<Uint8Array> {
  const { bits } = DTYPES[view.dtype];
  if (isContiguous(view)) {
    const bitOffset = view.bitOffset + start * bits;
    return readView({ ...view, shape: [count], strides: [1], bitOffset }, options);
  }
  const bytes = new Uint8Array((count * bits) / 8);
  let done = 0;
  for (const box of boxes(view, start, start + count)) {
    const target = bytes.subarray(done, done + byteLength(box));
    await readViewInto(box, target, options);
    done += target.length;
  }
  return bytes;
}

/** Cuts a range of elements into views: as few as possible, each a run of indices of one axis with all below it. */
function* boxes(view: StridedView, start: number, end: number): Generator<StridedView> {
  const { shape, strides } = view;
  const { bits } = DTYPES[view.dtype];
  const steps = contiguousStrides(shape);
  for (let at = start; at < end; ) {
    const axis = steps.findIndex((step) => at % step === 0 && at + step <= end);
    const step = steps[axis]!;
    const indices = steps.map((each, i) => Math.floor(at / each) % shape[i]!);
    const size = Math.min(shape[axis]! - indices[axis]!, Math.floor((end - at) / step));
    const place = indices.reduce((sum, index, i) => sum + (i <= axis ? index * strides[i]! : 0), 0);
    yield {
      ...view,
      shape: [size, ...shape.slice(axis + 1)],
      strides: strides.slice(axis),
      bitOffset: view.bitOffset + place * bits,
    };
    at += size * step;
  }
}

/** Elements as they are, in order. */
export const COPY: ElementMap = { apply: (input) => input };

/** The conjugates of complex64: the sign of each imaginary part, the second of two floats, turns. */
export const conjugation: ElementMap = {
  apply: (input) => flipSigns(input, 8),
};

/** The negatives of a dtype's elements: floats turn their sign, integers are taken from zero, modulo their size. */
export function negation(dtype: Dtype): ElementMap | undefined {
  const { kind, bits } = DTYPES[dtype];
  if (dtype === "C64") return { apply: (input) => flipSigns(input, 4) };
  if (kind === "float" && bits >= 16) return { apply: (input) => flipSigns(input, bits / 8) };
  if (kind === "signed" || dtype === "U8") return { apply: (input) => negateIntegers(input, bits / 8) };
  return undefined;
}

/** Turns the highest bit of every `step` bytes. */
function flipSigns(input: Uint8Array, step: number): Uint8Array {
  const output = input.slice();
  for (let at = step - 1; at < output.length; at += step) output[at] = output[at]! ^ 0x80;
  return output;
}

function negateIntegers(input: Uint8Array, size: number): Uint8Array {
  const output = new Uint8Array(input.length);
  for (let start = 0; start < input.length; start += size) {
    let carry = 1;
    for (let at = start; at < start + size; at++) {
      const sum = (~input[at]! & 0xff) + carry;
      output[at] = sum;
      carry = sum >> 8;
    }
  }
  return output;
}

/** float32 to bfloat16, as PyTorch rounds it. */
export const roundToBfloat16: ElementMap = {
  bytes: 2,
  apply: (input) => castFloats("F32", "BF16", input),
};
