import type { TensorHandle } from "../../checkpoint/tensor.ts";
import type { Finder, Scheme } from "../scheme.ts";
import { floatsIn, hasShape, shown } from "./pieces.ts";
import { quantoBesides, quantoBits } from "./quanto-bits.ts";
import { isByteWeight, scaledBytes } from "./scaled-bytes.ts";

/**
 * quanto (optimum-quanto): `weight._data` and `weight._scale`, one scale a row, for qint8 and qfloat8; packed codes in
 * `weight._data._data`, with `weight._scale` and `weight._shift`, for qint4 and qint2 (see `quantoBits`).
 */
export const QUANTO: Scheme = {
  name: "quanto",
  claims: ({ method }) => method === "quanto",
  find(finder) {
    for (const [module, tensors] of finder.modules()) {
      const data = tensors.get("_data");
      if (!data || module === "") continue;
      if (module.endsWith("._data")) quantoBits(finder, module.slice(0, -"._data".length), data);
      else findBytes(finder, module, data);
    }
  },
};

function findBytes(finder: Finder, name: string, data: TensorHandle): void {
  const scale = finder.tensor(`${name}._scale`);
  const dense = scale && floatsIn(scale);
  const isFitting = isByteWeight(data.dtype) && data.shape.length >= 1;
  // One scale for each index of the first axis, or one for all.
  const perRow = [data.shape[0] ?? 0, ...data.shape.slice(1).map(() => 1)];
  if (!scale || !dense || !isFitting || !(scale.length === 1 || hasShape(scale, perRow))) {
    const there = `_data is ${shown(data)}, _scale ${shown(scale)}`;
    finder.problem(name, `${there}, expected I8 or F8 with floats [${perRow}]; it is left as it is`);
    return;
  }
  const besides = quantoBesides(finder, name);
  const note = data.dtype === "I8" ? "qint8" : "qfloat8";
  const weight = scaledBytes({ scheme: "quanto", weight: data, scale, dense, besides, notes: [note] });
  if (typeof weight === "string") finder.problem(name, weight);
  else finder.add({ ...weight, name });
}
