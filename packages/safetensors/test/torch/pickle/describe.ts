import { ObjectNode, PyBytes, PyDict, PyList, PySet, PyTuple } from "../../../src/torch/pickle/containers.ts";
import {
  GlobalRef,
  PersistentId,
  type PickleNode,
  type PickleValue,
  PyFloat,
} from "../../../src/torch/pickle/values.ts";

/** A value as make_pickle_goldens.py writes it (its first lines say how). */
export function describe(value: PickleValue, seen: Map<PickleNode, number> = new Map()): unknown {
  const all = (values: Iterable<PickleValue>) => Array.from(values, (item) => describe(item, seen));
  if (value === null || typeof value === "boolean" || typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "bigint") return ["i", String(value)];
  if (value instanceof PyFloat) return ["f", Number.isNaN(value.value) ? "nan" : floatHex(value.value)];
  if (value instanceof PyBytes && !value.mutable) return ["b", hex(value.bytes)];
  if (value instanceof PyTuple) return ["t", ...all(value.items)];
  if (value instanceof PersistentId) return ["p", describe(value.id, seen)];
  if (value instanceof GlobalRef) return ["g", value.module, value.name];
  if (value instanceof PySet && value.frozen) return ["z", ...sorted(all(value.items()))];
  const number = seen.get(value);
  if (number !== undefined) return ["r", number];
  seen.set(value, seen.size);
  if (value instanceof PyBytes) return ["B", hex(value.bytes)];
  if (value instanceof PyList) return ["l", ...all(value.items)];
  if (value instanceof PyDict) {
    return [
      "d",
      ...Array.from(value.entries(), ([key, item]) => [describe(key, seen), describe(item, seen)]),
    ];
  }
  if (value instanceof PySet) return ["s", ...sorted(all(value.items()))];
  if (!(value instanceof ObjectNode)) throw new TypeError("a node of unknown kind");
  const { callable, args, kwargs, states, list, dict } = value;
  const parts = [
    callable,
    args,
    kwargs && kwargs.size > 0 ? kwargs : null,
    new PyList([...states]),
    list,
    dict,
  ];
  return ["o", ...parts.map((part) => describe(part, seen))];
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

function floatHex(value: number): string {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(value);
  return hex(bytes);
}

/** Sorted by their JSON in ASCII, as Python's json writes it. */
function sorted(values: unknown[]): unknown[] {
  const text = (value: unknown) =>
    JSON.stringify(value).replace(
      /[\u007f-\uffff]/g,
      (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
    );
  return values
    .map((value) => [text(value), value] as const)
    .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([, value]) => value);
}
