import type { KernelModule } from "../../kernels/module.ts";

/** What a call gives: `units` of so many values, which lie behind one another in the output. */
export interface JobSize {
  readonly units: number;
  readonly values: number;
  /** The units of a step are a multiple of it, but for the last. */
  readonly multiple: number;
}

/** Values of a step: as F32 they fit the second cache, from where they are copied out. */
const STEP = 1 << 16;

/** Units of a step. */
export function stepUnits({ units, values, multiple }: JobSize): number {
  return Math.min(units, Math.max(multiple, Math.floor(STEP / values / multiple) * multiple));
}

/** Gives the address of what an array has for some units, `bytes` for each, which it copies if need be. */
export function input(
  module: KernelModule,
  array: Uint8Array | Uint32Array | Float32Array,
  bytes: number,
  size: JobSize,
): (first: number, count: number) => number {
  const address = module.reserve(stepUnits(size) * bytes);
  const all = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  return (first, count) => {
    module.bytes(address, count * bytes).set(all.subarray(first * bytes, (first + count) * bytes));
    return address;
  };
}

/**
 * Gives the words of some rows, `perWord` of which share one, in all columns: copied whole before the first step, or if they
 * are many for each step. Where columns would lie a multiple of 4 KiB apart, all in the same few places of the caches,
 * they are moved apart.
 */
export function columnInput(
  module: KernelModule,
  words: Uint32Array,
  perWord: number,
  size: JobSize,
  most: number,
): (first: number, count: number) => { readonly address: number; readonly stride: number } {
  const width = size.units / perWord;
  const height = words.length / width;
  const copy = (address: number, stride: number, first: number, count: number): void => {
    const target = module.words(address, (height * stride) / 4);
    for (let i = 0; i < height; i++) {
      const start = i * width + first;
      target.set(words.subarray(start, start + count), (i * stride) / 4);
    }
  };
  if (words.byteLength > most) {
    const address = module.reserve((height * stepUnits(size) * 4) / perWord);
    return (first, count) => {
      const stride = (count / perWord) * 4;
      copy(address, stride, first / perWord, count / perWord);
      return { address, stride };
    };
  }
  const isApart = width % 1024 !== 0;
  const stride = width * 4 + (isApart ? 0 : 64);
  const address = isApart ? module.place(words) : module.reserve(height * stride);
  if (!isApart) copy(address, stride, 0, width);
  return (first) => ({ address: address + (first / perWord) * 4, stride });
}
