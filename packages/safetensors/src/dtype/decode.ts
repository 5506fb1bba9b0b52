import { SafetensorsError } from "../errors.ts";
import { DTYPES, type Dtype } from "./dtype.ts";
import { fromFloat32Bits, WIDEN, type Widen } from "./small-float.ts";
import { asTypedArray } from "./typed-array.ts";

/**
 * The first `count` elements of packed little-endian bytes as 32-bit floats: exact where a float32 can hold the value,
 * else rounded to nearest, ties to even. BOOL gives 0 and 1; C64 gives two floats an element: real, imaginary. NaNs of
 * F16, BF16, F32 and C64 keep their bits. The result belongs to the caller.
 *
 * @throws `SIZE_MISMATCH` when there are too few bytes.
 */
export function toFloat32(dtype: Dtype, bytes: Uint8Array, count: number): Float32Array {
  const { array, bits } = DTYPES[dtype];
  const byteLength = Math.ceil((count * bits) / 8);
  if (!(byteLength >= 0 && byteLength <= bytes.length)) {
    throw new SafetensorsError(
      "SIZE_MISMATCH",
      `${count} elements of ${dtype} take ${byteLength} bytes, there are ${bytes.length}`,
    );
  }
  if (array === Float32Array) return new Float32Array(new Uint8Array(bytes.subarray(0, byteLength)).buffer);
  if (dtype === "I64" || dtype === "U64") {
    return fromWideIntegers(asTypedArray("U32", bytes, 2 * count), dtype === "I64");
  }
  if (dtype === "BF16") return fromBfloat16(bytes, count);
  const widen = WIDEN[dtype];
  if (!widen) return new Float32Array(asTypedArray(dtype as "F64", bytes, count));
  const table = tableOf(widen, bits);
  return bits < 8
    ? fromPacked(bits, table, bytes, count)
    : fromCodes(table, asTypedArray(dtype as "F16", bytes, count));
}

/**
 * One element of packed little-endian bytes: a number, for I64 and U64 a bigint, for C64 [real, imaginary].
 *
 * @throws `OUT_OF_RANGE` when the bytes do not hold the element.
 */
export function decodeElement(
  dtype: Dtype,
  bytes: Uint8Array,
  index: number,
): number | bigint | readonly [number, number] {
  const { bits } = DTYPES[dtype];
  const start = index * bits;
  if (!(Number.isInteger(index) && index >= 0 && start + bits <= bytes.length * 8)) {
    throw new SafetensorsError("OUT_OF_RANGE", `${bytes.length} bytes of ${dtype} hold no element ${index}`);
  }
  const element = bytes.subarray(Math.floor(start / 8), Math.ceil((start + bits) / 8));
  const widen = WIDEN[dtype];
  if (widen) {
    const [low = 0, high = 0] = element;
    return fromFloat32Bits(widen(((low | (high << 8)) >> (start % 8)) & (2 ** bits - 1)));
  }
  if (dtype === "C64") {
    const [real = 0, imaginary = 0] = asTypedArray(dtype, element, 1);
    return [real, imaginary];
  }
  return asTypedArray(dtype, element, 1)[0]!;
}

const tables = new Map<Widen, Uint32Array>();

/** The float32 bits of every code, made when first needed. */
function tableOf(widen: Widen, bits: number): Uint32Array {
  let table = tables.get(widen);
  if (!table) {
    table = new Uint32Array(2 ** bits);
    for (let code = 0; code < table.length; code++) table[code] = widen(code);
    tables.set(widen, table);
  }
  return table;
}

function fromCodes(table: Uint32Array, codes: Uint8Array | Uint16Array): Float32Array {
  const out = new Uint32Array(codes.length);
  for (let i = 0; i < codes.length; i++) out[i] = table[codes[i]!]!;
  return new Float32Array(out.buffer);
}

/** Codes of fewer than 8 bits, the first one in the lowest bits of the first byte. */
function fromPacked(bits: number, table: Uint32Array, bytes: Uint8Array, count: number): Float32Array {
  const out = new Uint32Array(count);
  let held = 0;
  let heldBits = 0;
  let next = 0;
  for (let i = 0; i < count; i++) {
    if (heldBits < bits) {
      held |= bytes[next++]! << heldBits;
      heldBits += 8;
    }
    out[i] = table[held & (table.length - 1)]!;
    held >>= bits;
    heldBits -= bits;
  }
  return new Float32Array(out.buffer);
}

/** A bfloat16 is the upper half of a float32. Two codes a step, because that measured a fifth faster than one. */
function fromBfloat16(bytes: Uint8Array, count: number): Float32Array {
  const out = new Uint32Array(count);
  const pairs = asTypedArray("U32", bytes, Math.floor(count / 2));
  for (let i = 0; i < pairs.length; i++) {
    const pair = pairs[i]!;
    out[2 * i] = pair << 16;
    out[2 * i + 1] = pair & 0xffff0000;
  }
  if (count % 2) out[count - 1] = (bytes[2 * count - 2]! << 16) | (bytes[2 * count - 1]! << 24);
  return new Float32Array(out.buffer);
}

/**
 * 64-bit integers as pairs of words, the lower first. From 2^53 on a double cannot hold them, and rounding twice, to
 * double and then to float, can end one float off: so the lower 11 bits, far below what decides, become one sticky bit.
 */
function fromWideIntegers(words: Uint32Array, signed: boolean): Float32Array {
  const out = new Float32Array(words.length / 2);
  for (let i = 0; i < out.length; i++) {
    const high = signed ? words[2 * i + 1]! | 0 : words[2 * i + 1]!;
    let low = words[2 * i]!;
    if ((high >= 0x200000 || high < -0x200000) && low & 0x7ff) low = ((low | 0xfff) >>> 0) - 0x7ff;
    out[i] = high * 2 ** 32 + low;
  }
  return out;
}
