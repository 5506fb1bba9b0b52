import { SafetensorsError } from "../errors.ts";
import type { TorchFile } from "./file.ts";
import { MAX_LISTED } from "./limits.ts";
import type { SelectOptions } from "./options.ts";
import { PyDict, PyTuple } from "./pickle/containers.ts";
import { kindOf, type PickleValue } from "./pickle/values.ts";
import { allParts, type Known, reachesTensor } from "./reach.ts";
import { type LeftOut, type Selection, selectTensors } from "./select.ts";
import type { Steps } from "./steps.ts";
import { isTensor } from "./tensor-of.ts";

/** What TorchScript's code calls the table of its constants: `CONSTANTS.c0`. */
const CONSTANTS = "CONSTANTS";

/**
 * The constants in `constants.pkl` by the names that the code has for them: `c0`, `c1`, …
 *
 * @throws `INVALID_PICKLE` if they are not a tuple
 */
export function constantsOf(value: PickleValue): PyDict {
  if (!(value instanceof PyTuple)) {
    throw new SafetensorsError("INVALID_PICKLE", `it holds a value of the type ${kindOf(value)}, no tuple`);
  }
  const constants = new PyDict();
  for (const [index, constant] of value.items.entries()) constants.set(`c${index}`, constant);
  return constants;
}

/**
 * Finds and names the tensors of a TorchScript archive. Modules lie in each other as in the state dict, whose names begin
 * at the top. The constants of the code, which are the weights of a frozen module, lie beside them as `CONSTANTS`: they are
 * taken if there are no other tensors, if everything is to be taken, or with a key that leads there.
 *
 * @throws what `selectTensors` throws; `AMBIGUOUS` if the module has an attribute of that name; if the constants are to be
 *   taken, the reason why they cannot be read
 */
export function* selectScript({ pickle, constants }: TorchFile, options: SelectOptions): Steps<Selection> {
  const { value, opcodes } = pickle;
  const from = { ...options, key: options.key ?? "" };
  if (!constants || !(value instanceof PyDict)) return yield* selectTensors(value, opcodes, from);
  if (wantsConstants(value, options))
    return yield* selectTensors(withConstants(value, constants), opcodes, from);
  const selection = yield* selectTensors(value, opcodes, from);
  return { ...selection, outside: noted(selection.outside, constants) };
}

function wantsConstants(module: PyDict, { key, flatten }: SelectOptions): boolean {
  if (key !== undefined) return key === "" || `${key}.`.startsWith(`${CONSTANTS}.`);
  return flatten || !reachesTensor(module, allParts, new Map());
}

/** The module with the constants as one more attribute. */
function withConstants(module: PyDict, constants: PyDict | SafetensorsError): PyDict {
  if (constants instanceof SafetensorsError) throw constants;
  if (constants.size === 0) return module;
  if (module.get(CONSTANTS) !== undefined) {
    const text = `the module has an attribute ${CONSTANTS}, where the constants of its code belong`;
    throw new SafetensorsError("AMBIGUOUS", text);
  }
  const all = new PyDict(module.type);
  for (const [name, value] of module.entries()) all.set(name, value);
  all.set(CONSTANTS, constants);
  return all;
}

/** What lies outside of the module, and the constants that are tensors, or that they cannot be read. */
function noted({ count, listed }: LeftOut, constants: PyDict | SafetensorsError): LeftOut {
  const found: { path: string; kind: string }[] = [];
  if (constants instanceof SafetensorsError) {
    found.push({ path: CONSTANTS, kind: `constants that cannot be read: ${constants.reason}` });
  } else {
    const known: Known = new Map();
    for (const [name, value] of constants.entries()) {
      if (!reachesTensor(value, allParts, known)) continue;
      const kind = isTensor(value) ? kindOf(value) : `${kindOf(value)} with tensors`;
      found.push({ path: `${CONSTANTS}.${name}`, kind });
    }
  }
  return { count: count + found.length, listed: [...listed, ...found].slice(0, MAX_LISTED) };
}
