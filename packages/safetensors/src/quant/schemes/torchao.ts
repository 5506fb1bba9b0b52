import { quote } from "../../errors.ts";
import { type Fields, fieldsOf } from "../config.ts";
import type { Finder, Scheme } from "../scheme.ts";
import { torchFloat } from "../torch-floats.ts";
import type { QuantizedWeight } from "../weight.ts";
import { statedJson } from "./stated-json.ts";
import { type AoTensor, aoCodes, aoInt4 } from "./torchao-tensors.ts";

/** Classes whose tensors are laid out for one kind of hardware, or that nothing ships: known by name. */
const REFUSED: ReadonlyMap<string, string> = new Map([
  ["Int4TilePackedTo4dTensor", "its codes are tiled for the tensor cores of CUDA devices"],
  ["Int4PlainInt32Tensor", "its codes are in the order of the XPU or NPU that made them"],
  ["MXTensor", "its element types and swizzled scales are not taken apart here"],
  ["NVFP4Tensor", "its swizzled scales are not taken apart here"],
]);

/**
 * torchao, as its `flatten_tensor_state_dict` stores tensors of its classes: the header's metadata has `tensor_names`, a
 * JSON list, and for each name JSON with its class. `l.weight` of class Float8Tensor is `l._weight_qdata` and
 * `l._weight_scale`. Without these metadata the tensors cannot be put together again.
 */
export const TORCHAO: Scheme = {
  name: "torchao",
  claims: ({ method }) => method === "torchao",
  find(finder) {
    const { metadata } = finder.checkpoint;
    const text = metadata.get("tensor_names");
    if (text === undefined) return;
    const stated = jsonIn(text);
    if ("wrong" in stated || !Array.isArray(stated.value)) {
      const wrong = "wrong" in stated ? stated.wrong : "is no list";
      finder.problem("tensor_names", `of the header's metadata ${wrong}; torchao's weights are not found`);
      return;
    }
    const seen = new Set<unknown>();
    const refused = new Map<string, string[]>();
    for (const name of stated.value as readonly unknown[]) {
      const own = typeof name === "string" && !seen.has(name) ? metadata.get(name) : undefined;
      seen.add(name);
      if (own !== undefined) findTensor(finder, name as string, own, refused);
    }
    for (const [type, names] of refused) {
      const text = `${type}: ${REFUSED.get(type)}; dequantise it with torchao and save it anew`;
      finder.refuse("torchao", text, names);
    }
  },
};

/** Stored tensors of classes that are refused go to `refused`, by class. */
function findTensor(finder: Finder, name: string, text: string, refused: Map<string, string[]>): void {
  const stated = jsonIn(text);
  const fields = "value" in stated ? fieldsOf(stated.value) : undefined;
  const type = fields?.get("_type");
  if (type === "Tensor" || type === "torch.Tensor") return;
  const attributes = fieldsOf(fields?.get("_data"));
  if (typeof type !== "string" || !attributes) {
    finder.problem(name, "has metadata that state no class of torchao; its tensors are left as they are");
    return;
  }
  const dot = name.lastIndexOf(".");
  const prefix = `${name.slice(0, dot + 1)}_${name.slice(dot + 1)}_`;
  const tensor: AoTensor = { name, type, attributes, prefix };
  if (REFUSED.has(type)) {
    const names = refused.get(type) ?? [];
    refused.set(type, names);
    for (const stored of storedNames(finder, tensor, fields)) names.push(stored);
    return;
  }
  const weight = weightOf(finder, tensor);
  if (typeof weight === "string") finder.problem(name, `${weight}; its tensors are left as they are`);
  else finder.add(weight);
}

function weightOf(finder: Finder, tensor: AoTensor): QuantizedWeight | string {
  const { type, attributes } = tensor;
  switch (type) {
    case "Float8Tensor":
    case "Int8Tensor":
    case "IntxUnpackedToInt8Tensor":
      return aoCodes(finder, tensor, dtypeIn(attributes));
    case "Int4Tensor":
      return aoInt4(finder, tensor);
    default:
      return `is of class ${quote(type)}, which is not known`;
  }
}

/** Names of stored tensors that belong to one, as its metadata list them. */
function storedNames(finder: Finder, { prefix }: AoTensor, fields: Fields | undefined): string[] {
  const lasts = fields?.get("_tensor_data_names");
  if (!Array.isArray(lasts)) return [];
  return lasts.slice(0, 16).flatMap((last) => finder.tensor(`${prefix}${last}`)?.name ?? []);
}

/** A dtype stands there as `{"_type": "torch.dtype", "_data": "bfloat16"}`. */
function dtypeIn(attributes: Fields): ReturnType<typeof torchFloat> {
  return torchFloat(fieldsOf(attributes.get("dtype"))?.get("_data"));
}

function jsonIn(text: string): ReturnType<typeof statedJson> {
  return statedJson(new TextEncoder().encode(text));
}
