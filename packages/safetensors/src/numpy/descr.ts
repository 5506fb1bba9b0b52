import type { Dtype } from "../dtype/dtype.ts";
import { quote, SafetensorsError } from "../errors.ts";
import type { PythonLiteral } from "./literal.ts";

/** What the elements of an array are. */
export interface ElementType {
  readonly dtype: Dtype;
  /** Bytes of a number whose bytes are in the wrong order for safetensors: big-endian. 0 where they are not. */
  readonly swappedBytes: number;
}

/** NumPy's name, without byte order, for each dtype that it has. */
export const NUMPY_NAMES: ReadonlyMap<Dtype, string> = new Map<Dtype, string>([
  ["BOOL", "b1"],
  ["I8", "i1"],
  ["I16", "i2"],
  ["I32", "i4"],
  ["I64", "i8"],
  ["U8", "u1"],
  ["U16", "u2"],
  ["U32", "u4"],
  ["U64", "u8"],
  ["F16", "f2"],
  ["F32", "f4"],
  ["F64", "f8"],
  ["C64", "c8"],
]);

const DTYPE_OF: ReadonlyMap<string, Dtype> = new Map(
  Array.from(NUMPY_NAMES, ([dtype, name]) => [name, dtype]),
);

/** Types that NumPy has and safetensors has not. */
const REFUSED: readonly (readonly [pattern: RegExp, what: string, kind?: string])[] = [
  [/^[<>|]?O[48]?$/, "holds Python objects as a pickle, which is never run", "pickle"],
  [
    /^[<>|](?:V[12]|f1|W4)$/,
    "has elements of a type that NumPy's format has no name for, such as bfloat16 or 8-bit floats of ml_dtypes; save their bits (`array.view(numpy.uint16)`, `numpy.uint8`), or use safetensors",
  ],
  [/^[<>|]?V\d+$/, "has elements without a type"],
  [/^[<>|]?[Sa]\d+$/, "holds byte strings"],
  [/^[<>|]?U\d+$/, "holds strings"],
  [/^[<>|]?[Mm]8(?:\[[\w/]*\])?$/, "holds dates or times"],
  [
    /^[<>]c16$/,
    "has 128-bit complex numbers, which safetensors has not; save it as complex64, or its two parts",
  ],
  [/^[<>](?:f1[0-9]|c[23][0-9])$/, "has extended-precision floats, whose layout depends on the machine"],
];

/**
 * What a header's `descr` says of the elements.
 *
 * @throws `UNSUPPORTED` for types that safetensors has not, `UNKNOWN_DTYPE` for what is none of NumPy's
 */
export function elementType(descr: PythonLiteral): ElementType {
  if (typeof descr === "object" && "list" in descr) throw unsupported("has structured elements (records)");
  if (Array.isArray(descr)) throw unsupported("has elements that are arrays themselves");
  if (typeof descr !== "string") {
    throw new SafetensorsError("INVALID_HEADER", "the header's descr is no name of a type");
  }
  const order = descr[0];
  const name = descr.slice(1);
  const dtype = DTYPE_OF.get(name);
  const isByte = name.endsWith("1");
  if (dtype && (order === "<" || order === ">" || (order === "|" && isByte))) {
    const bytes = dtype === "C64" ? 4 : Number(name.slice(1));
    return { dtype, swappedBytes: order === ">" && !isByte ? bytes : 0 };
  }
  for (const [pattern, what, kind] of REFUSED) {
    if (pattern.test(descr)) throw unsupported(`${what} (${descr})`, kind);
  }
  throw new SafetensorsError("UNKNOWN_DTYPE", `it has elements of the unknown type ${quote(descr)}`);
}

/** What an item of an array is to NumPy, which has more types than safetensors. */
export interface ItemType {
  /** Bytes. */
  readonly size: number;
  /** Whether there is a Python object in it: such an array is a pickle. */
  readonly hasObjects: boolean;
}

/** Types as NumPy writes them. */
const ITEM = /^[<>|=]?(?:([biufcSUVa])(\d{1,8})|([?b])|[mM]8?(?:\[\w+\])?|(O)\d*)$/;

/** Bytes of a reference to an object, a date or a time. */
const WORD_BYTES = 8;

/** NumPy counts the bytes of an item in a C int. */
const MAX_ITEM_BYTES = 2 ** 31 - 1;

/**
 * The item that a header's `descr` describes, as numpy.save writes it; undefined for what is written otherwise: NumPy takes
 * any description that it has of a type.
 */
export function itemType(descr: PythonLiteral | undefined): ItemType | undefined {
  const item =
    typeof descr === "string" ? plainItem(descr) : Array.isArray(descr) ? repeatedItem(descr) : record(descr);
  return item && item.size <= MAX_ITEM_BYTES ? item : undefined;
}

function plainItem(descr: string): ItemType | undefined {
  const [found, letter, digits, byte, object] = ITEM.exec(descr) ?? [];
  if (found === undefined) return undefined;
  // A character has four bytes.
  const size = letter ? Number(digits) * (letter === "U" ? 4 : 1) : byte ? 1 : WORD_BYTES;
  return { size, hasObjects: object !== undefined };
}

/** `(type, shape)`. Of a type without a size, NumPy takes the shape for one. */
function repeatedItem([type, shape, ...more]: readonly PythonLiteral[]): ItemType | undefined {
  const item = itemType(type);
  if (!item || item.size === 0 || !Array.isArray(shape) || more.length > 0) return undefined;
  if (!shape.every((count) => typeof count === "number")) return undefined;
  return { ...item, size: shape.reduce((bytes, count) => bytes * count, item.size) };
}

/** `[(name, type), (name, type, shape), …]`. */
function record(descr: PythonLiteral | undefined): ItemType | undefined {
  if (typeof descr !== "object" || !("list" in descr)) return undefined;
  let size = 0;
  let hasObjects = false;
  for (const field of descr.list) {
    // A text would do, too: the name and the type have a character each.
    const [, type, ...shape]: readonly PythonLiteral[] = Array.isArray(field) ? field : [];
    const item = type === undefined || shape.length === 0 ? itemType(type) : repeatedItem([type, ...shape]);
    if (!item) return undefined;
    size += item.size;
    hasObjects ||= item.hasObjects;
  }
  return { size, hasObjects };
}

function unsupported(what: string, kind = "npy"): SafetensorsError {
  return new SafetensorsError("UNSUPPORTED", `it ${what}`, { kind });
}
