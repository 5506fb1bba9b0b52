import { Checkpoint } from "../../checkpoint/checkpoint.ts";
import type { Dtype } from "../../dtype/dtype.ts";
import { quote, SafetensorsError } from "../../errors.ts";
import { checkedByteLength, checkText } from "../../format/encode.ts";
import { groupAliases } from "../../save/aliases.ts";
import type { SaveInput, SaveInputs } from "../../save/save.ts";
import { type Aliases, aliasesIn, groupByTensor } from "./aliases.ts";
import type { StoredTensor } from "./state-dict.ts";
import { TORCH_TYPES } from "./torch-types.ts";

/** A tensor to write, with its bytes wherever they are. */
export interface TensorEntry extends StoredTensor {
  readonly byteLength: number;
  readonly input: SaveInput;
}

/**
 * What is to be written, checked as a whole, so that nothing is begun that cannot be finished.
 *
 * @param aliases see `WriteTorchOptions`.
 * @throws `INVALID_NAME`, `DUPLICATE_NAME`, `TENSOR_NOT_FOUND`, `INVALID_TENSOR`, `MISALIGNED`, `SIZE_OVERFLOW`, `UNSUPPORTED`
 */
export function entriesOf(inputs: SaveInputs | Checkpoint, aliases?: Aliases): TensorEntry[] {
  if (inputs instanceof Checkpoint) {
    const { kept, aliases: sameViews } = groupAliases(inputs);
    const others = groupByTensor(aliases ?? aliasesIn(inputs), inputs, sameViews);
    return kept.map((name) => checkedEntry(name, inputs.get(name), others));
  }
  const tensors = new Map<string, SaveInput>();
  for (const [name, input] of Symbol.iterator in inputs ? inputs : Object.entries(inputs)) {
    if (tensors.has(name)) {
      throw new SafetensorsError("DUPLICATE_NAME", `tensor ${quote(name)} was given twice`, { tensor: name });
    }
    tensors.set(name, input);
  }
  const others = groupByTensor(aliases ?? {}, tensors);
  return Array.from(tensors, ([name, input]) => checkedEntry(name, input, others));
}

function checkedEntry(
  name: string,
  input: SaveInput,
  aliases: ReadonlyMap<string, readonly string[]>,
): TensorEntry {
  checkText(name, "a tensor's name");
  const { dtype, shape } = input;
  const byteLength = checkedByteLength(name, dtype, shape);
  checkForTorch(name, dtype, shape);
  return { names: [name, ...(aliases.get(name) ?? [])], dtype, shape, byteLength, input };
}

/** Refuses what safetensors can hold, but no PyTorch tensor. */
function checkForTorch(name: string, dtype: Dtype, shape: readonly number[]): void {
  const fail = (text: string): never => {
    throw new SafetensorsError("UNSUPPORTED", `tensor ${quote(name)} ${text}`, {
      tensor: name,
      kind: "torch",
    });
  };
  if (!TORCH_TYPES.has(dtype)) fail(`is ${dtype}, a dtype that PyTorch does not have`);
  if (dtype === "F4" && (shape.length === 0 || shape.at(-1)! % 2 !== 0)) {
    fail(`is F4 of shape [${shape}]: PyTorch has 4-bit floats only in pairs along the last dimension`);
  }
  // Strides count sizes beside a zero too, and must fit the reader's numbers.
  const reach = shape.reduce((product, size) => product * Math.max(size, 1), 64);
  if (!Number.isSafeInteger(reach))
    fail(`has the shape [${shape}], whose strides are beyond what can be read`);
}
