/**
 * The element types of the format, as one table.
 *
 * Source: the reference implementation's `Dtype` enum, whose order decides the order of tensors in a written file.
 */

/** How the bits of an element are to be read. */
export type DtypeKind = "bool" | "unsigned" | "signed" | "float" | "complex";

/** One row of the table. */
export interface DtypeInfo {
  /** Bits of one element. Below 8, elements are packed with the first one in the lowest bits. */
  readonly bits: number;
  readonly kind: DtypeKind;
  /** The typed array that `data()` gives; where JavaScript has none for the type, one that holds the raw bits. */
  readonly array: DtypeArrayConstructor;
  /** Whether the values of `array` are the tensor's values (true) or their raw bits (false). */
  readonly exact: boolean;
}

type DtypeArrayConstructor =
  | typeof Uint8Array
  | typeof Int8Array
  | typeof Uint16Array
  | typeof Int16Array
  | typeof Uint32Array
  | typeof Int32Array
  | typeof Float32Array
  | typeof Float64Array
  | typeof BigInt64Array
  | typeof BigUint64Array;

/** The typed array that belongs to each dtype. C64 has two numbers an element: real, imaginary. */
export interface DtypeArrays {
  BOOL: Uint8Array;
  F4: Uint8Array;
  F6_E2M3: Uint8Array;
  F6_E3M2: Uint8Array;
  U8: Uint8Array;
  I8: Int8Array;
  F8_E5M2: Uint8Array;
  F8_E4M3: Uint8Array;
  F8_E8M0: Uint8Array;
  F8_E4M3FNUZ: Uint8Array;
  F8_E5M2FNUZ: Uint8Array;
  I16: Int16Array;
  U16: Uint16Array;
  F16: Uint16Array;
  BF16: Uint16Array;
  I32: Int32Array;
  U32: Uint32Array;
  F32: Float32Array;
  C64: Float32Array;
  F64: Float64Array;
  I64: BigInt64Array;
  U64: BigUint64Array;
}

/** Name of an element type, as it stands in a header. */
export type Dtype = keyof DtypeArrays;

const row = (
  bits: number,
  kind: DtypeKind,
  array: DtypeArrayConstructor = Uint8Array,
  exact = true,
): DtypeInfo => ({ bits, kind, array, exact });
const raw = (bits: number, array: DtypeArrayConstructor = Uint8Array): DtypeInfo =>
  row(bits, "float", array, false);

/** The 22 dtypes in the reference's order, which is by growing alignment. */
export const DTYPES: { readonly [D in Dtype]: DtypeInfo } = {
  BOOL: row(8, "bool"),
  F4: raw(4),
  F6_E2M3: raw(6),
  F6_E3M2: raw(6),
  U8: row(8, "unsigned"),
  I8: row(8, "signed", Int8Array),
  F8_E5M2: raw(8),
  F8_E4M3: raw(8),
  F8_E8M0: raw(8),
  F8_E4M3FNUZ: raw(8),
  F8_E5M2FNUZ: raw(8),
  I16: row(16, "signed", Int16Array),
  U16: row(16, "unsigned", Uint16Array),
  F16: raw(16, Uint16Array),
  BF16: raw(16, Uint16Array),
  I32: row(32, "signed", Int32Array),
  U32: row(32, "unsigned", Uint32Array),
  F32: row(32, "float", Float32Array),
  C64: row(64, "complex", Float32Array),
  F64: row(64, "float", Float64Array),
  I64: row(64, "signed", BigInt64Array),
  U64: row(64, "unsigned", BigUint64Array),
};

/** The dtypes in the reference's order: a dtype's place here is its rank when a file is written. */
export const DTYPE_ORDER: readonly Dtype[] = Object.keys(DTYPES) as Dtype[];

/** Place of each dtype in `DTYPE_ORDER`. */
export const DTYPE_INDEX: ReadonlyMap<string, number> = new Map(
  DTYPE_ORDER.map((name, index) => [name, index]),
);

/** Whether `name` is the name of a dtype. Case matters. */
export function isDtype(name: string): name is Dtype {
  return Object.hasOwn(DTYPES, name);
}

/** Number of elements of a shape. The caller has checked that it is a safe integer. */
export function elementCount(shape: readonly number[]): number {
  // Dimensions beside a zero may be so large that their product is beyond a double.
  return shape.includes(0) ? 0 : shape.reduce((product, size) => product * size, 1);
}
