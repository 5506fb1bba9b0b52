import { ObjectNode, PyTuple } from "../pickle/containers.ts";
import { GlobalRef, PickleNode, type PickleValue } from "../pickle/values.ts";
import { isPythons, stateAttributes } from "./attributes.ts";
import { isTensorClass, type KnownOf, type PlainData } from "./plain-data.ts";

/** Calls that make tensors, arrays, and what describes them. */
const MAKES_PARTS =
  /^(?:torch\.(?:_utils\._rebuild_\w+|_tensor\._rebuild_from_type_v2|storage\._load_from_bytes|serialization\._get_layout|device|Size)|numpy\._?core\.(?:multiarray\._reconstruct|numeric\._frombuffer)|collections\.OrderedDict)$/;

/** Methods of tensors that PyTorch calls while it makes tensors. As an attribute, anything could be called instead. */
const METHODS = ["detach", "requires_grad_", "to", "as_subclass"];

/**
 * Looks whether all arguments of a call are what tensors are made of: PyTorch calls methods of them. Anything else must
 * be data. Quick for the usual ones, as there is a call for each tensor.
 */
export function tensorParts(knownOf: KnownOf, data: PlainData): (items: readonly PickleValue[]) => boolean {
  const makers = new Map<PickleValue, boolean>();
  const makesParts = (maker: PickleValue): boolean => {
    let makes = makers.get(maker);
    if (makes === undefined) {
      const path = knownOf(maker)?.path ?? "";
      makes = MAKES_PARTS.test(path) || isTensorClass(path);
      makers.set(maker, makes);
    }
    return makes;
  };
  const isPart = (value: PickleValue): boolean => {
    if (!(value instanceof PickleNode) || value instanceof GlobalRef) return true;
    if (value instanceof PyTuple && areNumbers(value.items, data)) return true;
    return (value instanceof ObjectNode && makesParts(value.callable)) || data.holds([value]);
  };
  return (items) => {
    for (const item of items) if (typeof item !== "number" && !isPart(item)) return false;
    return true;
  };
}

/** Whether all are numbers: the sizes of a tensor, or its strides. */
function areNumbers(items: readonly PickleValue[], data: PlainData): boolean {
  if (!data.spend(items.length)) return false;
  for (const item of items) if (typeof item !== "number") return false;
  return true;
}

/** Whether a state sets methods of a tensor, or cannot be told to set none: PyTorch sets all of it by `setattr`. */
export function setsMethods(state: PickleValue | undefined, data: PlainData): boolean {
  const attributes = stateAttributes(state, data);
  if (attributes === undefined) return true;
  for (const name of attributes.keys()) if (METHODS.includes(name) || isPythons(name)) return true;
  return false;
}
