import { ObjectNode, type PyDict, PyTuple } from "../pickle/containers.ts";
import { GlobalRef, type PickleValue } from "../pickle/values.ts";
import { finish } from "../steps.ts";
import { MAX_DIMENSIONS } from "./numpy-types.ts";
import { sweepPickle } from "./sweep.ts";

/** The class whose objects stand for arrays. */
export const ARRAY_WRAPPER = "joblib.numpy_pickle.NumpyArrayWrapper";

/**
 * Who reads a pickle with arrays of joblib: joblib; joblib before version 1.2, which knows no padding; or pickle.load,
 * which takes the bytes of the first array for opcodes.
 */
export type JoblibReader = "joblib" | "old joblib" | "pickle";

/**
 * How an array lies in a joblib file: right after the BUILD of its wrapper, as bytes or, if it holds Python objects,
 * as a pickle of its own (joblib.numpy_pickle.NumpyArrayWrapper).
 */
export interface ArrayPlace {
  /** Bytes of the array; "pickle" if it holds objects. */
  readonly content: number | "pickle";
  /** Whether a byte with a number of padding bytes, and these, come first. */
  readonly padded: boolean;
}

/** The keys of a wrapper's state. */
export const KEYS: readonly string[] = [
  "subclass",
  "shape",
  "order",
  "dtype",
  "allow_mmap",
  "numpy_array_alignment_bytes",
];

/** The types of arrays that joblib does not leave to pickle. */
const SUBCLASSES = new Set(["numpy.ndarray", "numpy.matrix", "numpy.memmap"]);

/** Padding that a byte can count. */
const MAX_ALIGNMENT = 256;

/** Types as they name themselves: a letter and bytes, characters (U), or the code of a date, which has eight bytes (M, m). */
const TYPE_TEXT = /^(?:b1|[biufcSVO]\d{1,9}|U\d{1,8}|[Mm]8)$/;

/**
 * What the state of a wrapper says; nothing unless it is one that joblib writes. NumPy takes the size of some types, and
 * whether there are objects in them, from states that can say anything.
 */
export function arrayPlace(state: PyDict): ArrayPlace | undefined {
  const [subclass, shape, order, dtype, allowMmap, alignment] = KEYS.map((key) => state.get(key));
  const item = itemOf(dtype);
  const isKnown =
    state.size === (alignment === undefined ? 5 : 6) &&
    subclass instanceof GlobalRef &&
    SUBCLASSES.has(subclass.path) &&
    (order === "C" || order === "F") &&
    typeof allowMmap === "boolean" &&
    (alignment == null || isCount(alignment, 1, MAX_ALIGNMENT));
  if (!isKnown || item === undefined || !(shape instanceof PyTuple)) return undefined;
  if (shape.items.length > MAX_DIMENSIONS) return undefined;
  let items = 1;
  for (const size of shape.items) items *= isCount(size) ? size : Number.NaN;
  if (Number.isNaN(items)) return undefined;
  // Joblib maps no objects into memory: it would take the pickle for the addresses of objects.
  if (item === "object") return allowMmap ? undefined : { content: "pickle", padded: false };
  const content = items * item;
  return Number.isSafeInteger(content) ? { content, padded: alignment != null } : undefined;
}

/** The bytes from `at`, where an array lies, that belong to it; nothing if that cannot be told from what is there. */
export function arrayLength(
  bytes: Uint8Array,
  at: number,
  { content, padded }: ArrayPlace,
): number | undefined {
  if (content === "pickle") {
    const { end, why } = finish(sweepPickle(bytes, at));
    return why === "stop" ? end - at : undefined;
  }
  if (padded && at >= bytes.length) return undefined;
  const length = content + (padded ? 1 + bytes[at]! : 0);
  return at + length <= bytes.length ? length : undefined;
}

/** Bytes of an item of `numpy.dtype("f4", False, True)` with its state, or "object". */
function itemOf(dtype: PickleValue | undefined): number | "object" | undefined {
  if (!(dtype instanceof ObjectNode) || !(dtype.callable instanceof GlobalRef)) return undefined;
  const { states, args } = dtype;
  // Before they are copied: many arrays can share a type.
  if (args.items.length !== 3 || states.length !== 1) return undefined;
  const [text, ...switches] = args.items;
  const [state] = states;
  const isPlainCall =
    dtype.callable.path === "numpy.dtype" &&
    dtype.kwargs === undefined &&
    switches.every((one) => typeof one === "boolean" || typeof one === "number");
  if (!isPlainCall || typeof text !== "string" || !TYPE_TEXT.test(text)) return undefined;
  if (!(state instanceof PyTuple)) return undefined;
  const letter = text[0]!;
  const bytes = Number(text.slice(1)) * (letter === "U" ? 4 : 1);
  return hasUsualState(state.items, letter, bytes) ? itemBytes(state.items[7], letter, bytes) : undefined;
}

/** `(3 or 4, byte order, base, names, fields, size, alignment, flags)`, from version 4 on with metadata. */
function hasUsualState(state: readonly PickleValue[], letter: string, bytes: number): boolean {
  const [version, , base, names, fields, size] = state;
  const isFlexible = letter === "S" || letter === "U" || letter === "V";
  return (
    ((version === 3 && state.length === 8) || (version === 4 && state.length === 9)) &&
    base === null &&
    (letter === "V" || (names === null && fields === null)) &&
    (size === bytes || (size === -1 && !isFlexible))
  );
}

/** The first flag says that there are objects in the items. */
function itemBytes(
  flags: PickleValue | undefined,
  letter: string,
  bytes: number,
): number | "object" | undefined {
  if (!isCount(flags)) return undefined;
  const holdsObjects = flags % 2 === 1;
  if (holdsObjects) return letter === "O" || letter === "V" ? "object" : undefined;
  return letter === "O" || bytes === 0 ? undefined : bytes;
}

function isCount(
  value: PickleValue | undefined,
  least = 0,
  most: number = Number.MAX_SAFE_INTEGER,
): value is number {
  return typeof value === "number" && value >= least && value <= most;
}
