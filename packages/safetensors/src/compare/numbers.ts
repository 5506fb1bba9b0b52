import { toFloat32 } from "../dtype/decode.ts";
import { DTYPES, type Dtype } from "../dtype/dtype.ts";
import { asTypedArray } from "../dtype/typed-array.ts";

/** Values as doubles or, where these are enough, floats: 64-bit integers as the nearest double, complex ones as two. */
export function numbersOf(dtype: Dtype, bytes: Uint8Array, count: number): Float32Array | Float64Array {
  switch (dtype) {
    case "F64":
      return asTypedArray(dtype, bytes, count);
    case "F32":
    case "C64":
      return asTypedArray(dtype, bytes, count);
    case "I32":
    case "U32":
      return new Float64Array(asTypedArray(dtype, bytes, count));
    case "I64":
    case "U64":
      return Float64Array.from(asTypedArray(dtype, bytes, count), Number);
    default:
      return toFloat32(dtype, bytes, count);
  }
}

/** Values as complex numbers, two floats or doubles each. */
export function complexOf(dtype: Dtype, bytes: Uint8Array, count: number): Float32Array | Float64Array {
  if (dtype === "C64") return asTypedArray(dtype, bytes, count);
  const reals = numbersOf(dtype, bytes, count);
  const pairs = new Float64Array(2 * count);
  for (let i = 0; i < count; i++) pairs[2 * i] = reals[i]!;
  return pairs;
}

/** Integers and BOOL as 64-bit integers. */
export function integersOf(dtype: Dtype, bytes: Uint8Array, count: number): BigInt64Array | BigUint64Array {
  if (dtype === "I64" || dtype === "U64") return asTypedArray(dtype, bytes, count);
  return BigInt64Array.from(numbersOf(dtype, bytes, count), BigInt);
}

/** As what the values of two dtypes are compared. */
export function commonKind(a: Dtype, b: Dtype): "real" | "complex" | "integer" {
  const infos = [DTYPES[a], DTYPES[b]];
  if (infos.some(({ kind }) => kind === "complex")) return "complex";
  const areIntegers = infos.every(({ kind }) => kind !== "float");
  return areIntegers && infos.some(({ bits }) => bits === 64) ? "integer" : "real";
}
