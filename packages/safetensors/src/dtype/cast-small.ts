import { codesOf } from "./cast-codes.ts";
import type { Dtype } from "./dtype.ts";
import { fromFloat32Bits } from "./small-float.ts";

/** Stands for a NaN as a dtype that has none. No such dtype has a code of 8 bits. */
export const NO_CODE = 0x80;

/**
 * Floats as codes of at most 8 bits, a byte each. The upper half of a float32, its last bit set where the lower half is
 * not zero, lies on the same side of every such dtype's midpoints as the whole: so a table of 64 Ki codes is enough.
 */
export function toSmallFloat(floats: Float32Array, dtype: Dtype, saturates: boolean): Uint8Array {
  const bits = new Uint32Array(floats.buffer, floats.byteOffset, floats.length);
  const table = tableOf(dtype, saturates);
  const codes = new Uint8Array(bits.length);
  for (let i = 0; i < bits.length; i++) {
    const word = bits[i]!;
    codes[i] = table[(word >>> 16) | (((word & 0xffff) + 0xffff) >>> 16)]!;
  }
  return codes;
}

const tables = new Map<string, Uint8Array>();

function tableOf(dtype: Dtype, saturates: boolean): Uint8Array {
  const key = `${dtype} ${saturates}`;
  let table = tables.get(key);
  if (!table) {
    table = makeTable(dtype, saturates);
    tables.set(key, table);
  }
  return table;
}

/** The code of every pattern of a bfloat16. */
function makeTable(dtype: Dtype, saturates: boolean): Uint8Array {
  const { magnitudes, sign, signedZero, beyond, nan = NO_CODE } = codesOf(dtype);
  const goesUp = dtype === "F8_E8M0" ? goesUpInE8M0 : goesUpToEven;
  const largest = magnitudes.length - 1;
  const table = new Uint8Array(1 << 16);
  let code = 0;
  for (let pattern = 0; pattern < 0x8000; pattern++) {
    const value = fromFloat32Bits(pattern << 16);
    while (code < largest && goesUp(value, magnitudes, code)) code++;
    const overflows = code === largest && goesUp(value, magnitudes, code);
    const result = Number.isNaN(value) ? nan : overflows && !saturates ? beyond : code;
    table[pattern] = result;
    table[pattern | 0x8000] = result > 0 || signedZero ? result | sign : 0;
  }
  return table;
}

/** Whether a value is nearer to the magnitude above, or amidst and that one is even. Above the last one the steps go on. */
function goesUpToEven(value: number, magnitudes: Float64Array, code: number): boolean {
  const [from, to] = code + 1 < magnitudes.length ? [code, code + 1] : [code - 1, code];
  const middle = magnitudes[code]! + (magnitudes[to]! - magnitudes[from]!) / 2;
  return value > middle || (value === middle && code % 2 === 1);
}

/** As PyTorch does it: the lowest magnitude, a subnormal float32, is left as soon as there is more. */
function goesUpInE8M0(value: number, magnitudes: Float64Array, code: number): boolean {
  return code === 0 ? value > magnitudes[0]! : value >= 1.5 * magnitudes[code]!;
}

/** Codes of 8, 6 or 4 bits behind one another, the first in the lowest bits; they fill whole bytes. */
export function packCodes(codes: Uint8Array, bits: number): Uint8Array {
  if (bits === 8) return codes;
  const packed = new Uint8Array((codes.length * bits) / 8);
  if (bits === 4) {
    for (let i = 0; i < packed.length; i++) packed[i] = codes[2 * i]! | (codes[2 * i + 1]! << 4);
    return packed;
  }
  for (let i = 0, at = 0; i < codes.length; i += 4, at += 3) {
    const group = codes[i]! | (codes[i + 1]! << 6) | (codes[i + 2]! << 12) | (codes[i + 3]! << 18);
    packed[at] = group;
    packed[at + 1] = group >> 8;
    packed[at + 2] = group >> 16;
  }
  return packed;
}
