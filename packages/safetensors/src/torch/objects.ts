import { ObjectNode, PyBytes, PyDict, type PyList, PySet, PyTuple } from "./pickle/containers.ts";
import type { PickleValue } from "./pickle/values.ts";

/** The `__dict__` of a `torch.nn.Module`, and the three dicts in it that make up its state dict. */
export interface ModuleParts {
  readonly attributes: PyDict;
  readonly parameters: PyDict;
  readonly buffers: PyDict;
  readonly modules: PyDict;
}

/** The names of the three dicts, as text and as the bytes that Python 2 wrote for it. */
const FIELDS = ["_parameters", "_buffers", "_modules"].map(
  (name) => [name, new PyBytes(new TextEncoder().encode(name))] as const,
);

/**
 * What is in a `torch.nn.Module`. Its class is only a name: an object is taken for a module if its `__dict__` has these
 * three dicts, whatever its class.
 *
 * @returns nothing for other objects.
 */
export function moduleParts(node: ObjectNode): ModuleParts | undefined {
  const attributes = attributesOf(node);
  if (!attributes) return undefined;
  const [parameters, buffers, modules] = FIELDS.map(([text, bytes]) =>
    itemsOf(attributes.get(text) ?? attributes.get(bytes)),
  );
  return parameters && buffers && modules && { attributes, parameters, buffers, modules };
}

/** The `__dict__` of an object: its one state, or the first of `(__dict__, __slots__)`. */
export function attributesOf(node: ObjectNode): PyDict | undefined {
  const [state, ...more] = node.states;
  if (more.length > 0) return undefined;
  const first = state instanceof PyTuple && state.items.length === 2 ? state.items[0] : state;
  return first instanceof PyDict ? first : undefined;
}

function itemsOf(value: PickleValue | undefined): PyDict | undefined {
  if (value instanceof PyDict) return value;
  return value instanceof ObjectNode && value.dict.size > 0 ? value.dict : undefined;
}

/** The contents of sets: many modules may share one. A set only grows. */
const contents = new WeakMap<PySet, ReadonlySet<PickleValue>>();

/** The names of the buffers that a module's `state_dict()` leaves out. */
export function transientBuffers({ attributes }: ModuleParts): ReadonlySet<PickleValue> {
  const set = attributes.get("_non_persistent_buffers_set");
  if (!(set instanceof PySet)) return new Set();
  const known = contents.get(set);
  if (known?.size === set.size) return known;
  const names = new Set(set.items());
  contents.set(set, names);
  return names;
}

/** What was put into an object of a subclass of dict or list that nobody knows; nothing for other objects. */
export function subclassItems(node: ObjectNode): PyDict | PyList | undefined {
  if (node.dict.size > 0) return node.dict;
  return node.list.items.length > 0 ? node.list : undefined;
}
