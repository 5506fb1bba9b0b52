import { ObjectNode, type PyDict, PyTuple } from "../pickle/containers.ts";
import { GlobalRef, type PickleValue } from "../pickle/values.ts";
import { sweepPickle } from "./sweep.ts";

/**
 * How an array lies in a joblib file: right after the BUILD of its wrapper, as bytes or, if it holds Python objects,
 * as a pickle of its own (joblib.numpy_pickle.NumpyArrayWrapper).
 */
export interface ArrayPlace {
  /** Bytes of the array; "pickle" if it holds objects; undefined if it cannot be told. */
  readonly content: number | "pickle" | undefined;
  /** Whether a byte with a number of padding bytes, and these, come first. */
  readonly padded: boolean;
}

/** What the state of a wrapper says. */
export function arrayPlace(state: PyDict): ArrayPlace {
  const padded = typeof state.get("numpy_array_alignment_bytes") === "number";
  const typeText = dtypeText(state.get("dtype"));
  if (typeText === "O" || typeText === "O8") return { content: "pickle", padded: false };
  const item = /^[biufcSV?](\d{1,9})$/.exec(typeText ?? "")?.[1];
  const shape = state.get("shape");
  if (item === undefined || !(shape instanceof PyTuple)) return { content: undefined, padded };
  let bytes = Number(item);
  for (const size of shape.items) bytes *= typeof size === "number" && size >= 0 ? size : Number.NaN;
  return { content: Number.isSafeInteger(bytes) ? bytes : undefined, padded };
}

/** The bytes from `at`, where an array lies, that belong to it; nothing if that cannot be told from what is there. */
export function arrayLength(
  bytes: Uint8Array,
  at: number,
  { content, padded }: ArrayPlace,
): number | undefined {
  if (content === undefined) return undefined;
  if (content === "pickle") {
    const { end, why } = sweepPickle(bytes, at);
    return why === "stop" ? end - at : undefined;
  }
  if (padded && at >= bytes.length) return undefined;
  const length = content + (padded ? 1 + bytes[at]! : 0);
  return at + length <= bytes.length ? length : undefined;
}

/** The text of `numpy.dtype("f4", …)`. */
function dtypeText(value: PickleValue | undefined): string | undefined {
  if (!(value instanceof ObjectNode) || !(value.callable instanceof GlobalRef)) return undefined;
  const [text] = value.args.items;
  return value.callable.path === "numpy.dtype" && typeof text === "string" ? text : undefined;
}
