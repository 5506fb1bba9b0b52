import { quote, SafetensorsError } from "../errors.ts";
import type { TensorOptions } from "./options.ts";
import { type AnyTensor, CompositeTensor, type ReadableTensor, RefusedTensor } from "./tensor.ts";

/** What each option can be for, to say so where a tensor is refused. */
const ADVICE = {
  quantized: 'the option quantized takes it: "raw" for its integers and scales, "dequantize" for F32',
  sparse: 'the option sparse takes it: "densify" for all elements, "parts" for indices and values',
  complex128: 'the option complex128 takes it: "split" for real and imaginary parts',
};

const PARTS: ReadonlySet<string> = new Set(["raw", "parts", "split"]);
const WHOLE: ReadonlySet<string> = new Set(["dequantize", "densify"]);

/**
 * The tensors that stand for one, by what is added to its name. Or why there are none: `UNSUPPORTED` if safetensors cannot
 * hold it and no option says what to do, the reason of a `RefusedTensor`.
 */
export function formOf(
  tensor: AnyTensor,
  name: string,
  options: TensorOptions,
): Iterable<readonly [suffix: string, tensor: ReadableTensor]> | SafetensorsError {
  if (tensor instanceof RefusedTensor) return refusal(tensor, name);
  if (!(tensor instanceof CompositeTensor)) return [["", tensor]];
  const choice = options[tensor.option] ?? "refuse";
  if (choice === "refuse") {
    const reason = `is ${tensor.what}, which safetensors cannot hold; ${ADVICE[tensor.option]}`;
    return refusal(new RefusedTensor("UNSUPPORTED", reason), name);
  }
  if (PARTS.has(choice)) return tensor.parts;
  if (tensor.whole && WHOLE.has(choice)) return [["", tensor.whole]];
  throw new TypeError(`the option ${tensor.option} cannot be ${JSON.stringify(choice)}`);
}

function refusal(tensor: RefusedTensor, name: string): SafetensorsError {
  return new SafetensorsError(tensor.code, `tensor ${quote(name)} ${tensor.reason}`, {
    tensor: name,
    ...(tensor.global === undefined ? {} : { global: tensor.global }),
  });
}
