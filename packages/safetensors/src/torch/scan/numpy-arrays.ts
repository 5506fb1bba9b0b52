import { ObjectNode, PyBytes, PyList, PyTuple } from "../pickle/containers.ts";
import { GlobalRef, type PickleValue } from "../pickle/values.ts";
import type { CallFault } from "./call-checks.ts";
import { MAX_DIMENSIONS } from "./numpy-types.ts";
import type { KnownOf, PlainData } from "./plain-data.ts";

const FAULT: CallFault = ["malformed-pickle", "gives a NumPy array a state that does not fill it exactly"];

/** Calls by which pickles of old protocols make bytes: never a list, whose items NumPy would not count. */
const MAKES_BYTES = /^(?:_codecs\.encode|builtins\.bytes)$/;

/**
 * What is wrong with the state of an array, `(version, shape, type, is_fortran, items)`, without the version in old
 * pickles, and with a mask and the value beneath it in `MaskedArray`. NumPy looks how many bytes it is given, but not how
 * many objects: it reads beyond a list that is too short.
 */
export function arrayStateFault(
  state: PickleValue,
  knownOf: KnownOf,
  data: PlainData,
): CallFault | undefined {
  const parts = state instanceof PyTuple ? state.items : [];
  const [shape, , , items, mask, filler] = parts.length === 4 ? parts : parts.slice(1);
  const hasMask = parts.length === 7;
  if (!(parts.length === 4 || parts.length === 5 || hasMask)) return FAULT;
  const count = countOf(shape);
  if (!fills(items, count, knownOf) || (hasMask && !fills(mask, count, knownOf))) return FAULT;
  return !hasMask || data.holds([filler!]) ? undefined : FAULT;
}

/** Items of an array of a shape; NaN for what is none. */
function countOf(shape: PickleValue | undefined): number {
  if (!(shape instanceof PyTuple) || shape.items.length > MAX_DIMENSIONS) return Number.NaN;
  let count = 1;
  for (const size of shape.items) {
    if (typeof size !== "number" || size < 0) return Number.NaN;
    count *= size;
  }
  return count;
}

/** Whether there is as much as so many items take. The bytes of an item are as many as NumPy says, or its reader fails. */
function fills(items: PickleValue | undefined, count: number, knownOf: KnownOf): boolean {
  if (!Number.isSafeInteger(count)) return false;
  if (items instanceof PyList) return items.items.length === count;
  if (items instanceof ObjectNode)
    return items.callable instanceof GlobalRef && MAKES_BYTES.test(knownOf(items.callable)?.path ?? "");
  const size = items instanceof PyBytes ? items.bytes.length : typeof items === "string" ? items.length : -1;
  return size === 0 || (size > 0 && size % count === 0);
}
