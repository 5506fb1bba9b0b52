import type { TensorHandle } from "../../checkpoint/tensor.ts";
import type { Fields } from "../config.ts";
import type { KernelCall } from "../kernels/call.ts";
import type { Finder } from "../scheme.ts";
import type { PartData } from "../weight.ts";
import { wordsOf } from "./gptq-words.ts";
import { floatsIn, hasShape, partOf, shown } from "./pieces.ts";
import { valuesOf } from "./scales.ts";

/** Layers whose inputs, and those whose outputs, are as wide as the model. */
const READ_HIDDEN: ReadonlySet<string> = new Set([
  "q_proj",
  "k_proj",
  "v_proj",
  "gate_proj",
  "up_proj",
  "fc1",
]);
const WRITE_HIDDEN: ReadonlySet<string> = new Set(["o_proj", "out_proj", "down_proj", "fc2"]);

/** Group sizes that quanto takes; where none of them divides the columns, each row is a group. */
const GROUPS: readonly number[] = [128, 96, 64, 32];

/**
 * qint4 and qint2 of quanto. The weight, row by row, is a matrix of groups: `_data._data` U8
 * `[ceil(groups / codes of a byte), group]` has code `i`, `i + n`, … of its `n` rows in the bits of row `i`, the first in
 * the lowest; `_scale` and `_shift` have one float a group. `w = scale * q - shift`, where quanto rounds the product,
 * too, if scales have 16 bits.
 *
 * The shape is not stored: rows are known by the bias, else by what config.json says of the model.
 */
export function quantoBits(finder: Finder, name: string, data: TensorHandle): void {
  const [scale, shift] = [finder.tensor(`${name}._scale`), finder.tensor(`${name}._shift`)];
  const [packedRows = 0, group = 0] = data.shape;
  const groups = scale?.shape[0] ?? 0;
  const dense = scale && floatsIn(scale);
  const [perByte, other] = [2, 4].filter((codes) => Math.ceil(groups / codes) === packedRows && groups > 0);
  const isFitting = data.dtype === "U8" && data.shape.length === 2 && group > 0 && perByte && !other;
  const haveFloats = dense && hasShape(scale, [groups, 1]) && shift && hasShape(shift, [groups, 1]);
  if (!isFitting || !haveFloats || shift.dtype !== scale.dtype) {
    const there = `_data is ${shown(data)}, _scale ${shown(scale)}, _shift ${shown(shift)}`;
    finder.problem(
      name,
      `${there}, expected U8 [groups / 2 or 4, group] and floats [groups,1]; it is left as it is`,
    );
    return;
  }
  const shape = GROUPS.includes(group) ? shapeOf(finder, name, groups * group) : [groups, group];
  if (!shape || (shape[1]! % group !== 0 && group % shape[1]! !== 0)) {
    const text = `of ${groups} groups of ${group} states no shape: without a bias, and hidden_size in config.json, its rows are not known`;
    finder.problem(name, `${text}; it is left as it is`);
    return;
  }
  finder.add({
    name,
    scheme: "quanto",
    shape,
    bits: 8 / perByte,
    group: [group],
    symmetric: false,
    notes: [`qint${8 / perByte}`],
    dense,
    parts: [
      partOf("data", data, [null, null]),
      partOf("scale", scale, [null, null]),
      partOf("shift", shift, [null, null]),
    ],
    besides: quantoBesides(finder, name),
    indivisible: "its bytes hold rows that are far from each other",
    decode: (parts) => call(parts, groups, group, perByte),
  });
}

/** Stored tensors of a layer that scale what comes in and goes out: they are no part of the weight. */
export function quantoBesides(finder: Finder, name: string): string[] {
  const module = name.slice(0, Math.max(0, name.lastIndexOf(".")));
  const names = [`${module}.input_scale`, `${module}.output_scale`];
  return names.filter((one) => finder.tensor(one));
}

function shapeOf(finder: Finder, name: string, count: number): readonly number[] | undefined {
  const module = name.slice(0, Math.max(0, name.lastIndexOf(".")));
  const layer = module.slice(module.lastIndexOf(".") + 1);
  const bias = finder.tensor(`${module}.bias`);
  const hidden = hiddenSize(finder.model);
  let rows: number | undefined;
  if (bias?.shape.length === 1) rows = bias.shape[0]!;
  else if (hidden && WRITE_HIDDEN.has(layer)) rows = hidden;
  else if (hidden && READ_HIDDEN.has(layer)) rows = count / hidden;
  return rows && Number.isInteger(rows) && count % rows === 0 ? [rows, count / rows] : undefined;
}

function hiddenSize(model: Fields): number | undefined {
  const size = model.get("hidden_size");
  return Number.isSafeInteger(size) && (size as number) > 0 ? (size as number) : undefined;
}

/** The codes one a byte, each row padded to whole words. */
function call(
  parts: ReadonlyMap<string, PartData>,
  groups: number,
  group: number,
  perByte: number,
): KernelCall {
  const { bytes } = parts.get("data")!;
  const bits = 8 / perByte;
  const packedRows = Math.ceil(groups / perByte);
  const width = Math.ceil(group / 4) * 4;
  const codes = new Uint8Array(groups * width);
  for (let row = 0; row < groups; row++) {
    const shift = bits * Math.floor(row / packedRows);
    const from = (row % packedRows) * group;
    for (let i = 0; i < group; i++) codes[row * width + i] = (bytes[from + i]! >> shift) & (2 ** bits - 1);
  }
  return {
    kernel: "packed-rows",
    rows: groups,
    columns: group,
    bits: 8,
    words: wordsOf(codes),
    scales: valuesOf(parts.get("scale")!),
    zeros: 0,
    biases: valuesOf(parts.get("shift")!).map((shift) => -shift),
    groups: group,
  };
}
