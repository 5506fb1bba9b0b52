import { PyDict } from "./pickle/containers.ts";
import type { PickleValue } from "./pickle/values.ts";
import type { CopyBudget } from "./python-calls.ts";
import { allParts, reachesTensor } from "./reach.ts";
import { RefusedTensor } from "./tensor.ts";

type Call = (args: readonly PickleValue[]) => PickleValue | undefined;

/** `f(value, …)` that gives its first value: types are of no use here. */
const firstArgument: Call = ([value]) => value;

/**
 * The functions that TorchScript's pickler, which is not Python's, writes: each gives a value a static type
 * (torch/jit/_pickle.py).
 */
export const SCRIPT_CALLS: ReadonlyMap<string, Call> = new Map<string, Call>([
  ["torch.jit._pickle.build_intlist", firstArgument],
  ["torch.jit._pickle.build_doublelist", firstArgument],
  ["torch.jit._pickle.build_boollist", firstArgument],
  ["torch.jit._pickle.build_tensorlist", firstArgument],
  ["torch.jit._pickle.restore_type_tag", firstArgument],
  [
    "torch.jit._pickle.build_tensor_from_id",
    () =>
      new RefusedTensor("UNSUPPORTED", "lies in a table of tensors, as in TorchScript before PyTorch 1.4"),
  ],
]);

/**
 * Gives an object of TorchScript its state: the dict of all its attributes, modules and tensors among them, so that the
 * path to a tensor is its name in the state dict. Classes with a `__getstate__` of their own have any other value.
 */
export function fillScriptObject(object: PyDict, state: PickleValue, budget: CopyBudget): void {
  if (state instanceof PyDict) {
    budget.spend(state.size);
    for (const [name, value] of state.entries()) object.set(name, value);
  } else if (reachesTensor(state, allParts, new Map())) {
    const reason = `is packed in an object of ${object.type}, which only its own code can unpack`;
    object.set("state", new RefusedTensor("UNSUPPORTED", reason));
  } else {
    object.set("state", state);
  }
}
