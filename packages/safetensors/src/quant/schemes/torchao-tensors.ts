import type { FloatDtype } from "../../dtype/cast.ts";
import { elementCount } from "../../dtype/dtype.ts";
import { asTypedArray } from "../../dtype/typed-array.ts";
import type { Fields } from "../config.ts";
import type { KernelCall } from "../kernels/call.ts";
import type { Finder } from "../scheme.ts";
import { transposed } from "../transposed.ts";
import type { PartData, QuantizedWeight } from "../weight.ts";
import { along, floatsIn, hasShape, partOf, shown } from "./pieces.ts";
import type { Block } from "./scale-grid.ts";
import { isByteWeight, scaledBytes } from "./scaled-bytes.ts";
import { valuesOf } from "./scales.ts";
import { shapeIn } from "./stated-json.ts";

/** A tensor of a class of torchao: what the metadata say of it. */
export interface AoTensor {
  readonly name: string;
  readonly type: string;
  readonly attributes: Fields;
  /** What the names of its stored tensors begin with. */
  readonly prefix: string;
}

/** Scales of activations: no part of the weight. */
const ACTIVATIONS = ["act_quant_scale", "act_quant_zero_point", "act_pre_scale"];

/**
 * Float8Tensor, Int8Tensor and IntxUnpackedToInt8Tensor: `qdata` with a byte an element, whatever the bits of the codes,
 * and for each block `scale` and perhaps `zero_point`. `w = (q - zero_point) * scale`. `act_pre_scale` belongs to the
 * input, and is not divided out.
 */
export function aoCodes(
  finder: Finder,
  { name, type, attributes, prefix }: AoTensor,
  stated: FloatDtype | undefined,
): QuantizedWeight | string {
  const [data, scale, zeros] = ["qdata", "scale", "zero_point"].map((last) => finder.tensor(prefix + last));
  const isOfType = data && isByteWeight(data.dtype) && (data.dtype === "I8") !== (type === "Float8Tensor");
  if (!isOfType || !scale || !floatsIn(scale))
    return `is a ${type} with qdata ${shown(data)} and scale ${shown(scale)}, which does not fit`;
  const sizes = shapeIn(attributes.get("block_size"));
  const blocks = sizes?.map((size, axis) => data.shape[axis]! / size) ?? [];
  const isGrid = sizes?.length === data.shape.length && blocks.every(Number.isInteger);
  if (!isGrid || elementCount(blocks) !== scale.length)
    return `is a ${type} of shape [${data.shape}] with scale ${shown(scale)}, and block_size states other blocks`;
  const block: Block = [sizes.at(-2) ?? 1, sizes.at(-1) ?? 1];
  const weight = scaledBytes({
    scheme: "torchao",
    weight: data,
    scale,
    zeros,
    block,
    dense: stated ?? floatsIn(scale) ?? "BF16",
    besides: ACTIVATIONS.flatMap((last) => finder.tensor(prefix + last)?.name ?? []),
    notes: [type],
  });
  return typeof weight === "string" ? weight : { ...weight, name, stated: sizes };
}

/**
 * Int4Tensor: `qdata` I8 `[rows, columns / 2]` with two signed codes a byte, the first in the lower half, `scale` and
 * `zero_point` `[columns / group, rows]`, floats. `w = q * scale + zero_point`, which here is
 * `(q + 8) * scale + (zero_point - 8 * scale)`: the same but for the last bits of float32.
 */
export function aoInt4(
  finder: Finder,
  { name, type, attributes, prefix }: AoTensor,
): QuantizedWeight | string {
  const [data, scale, zeros] = ["qdata", "scale", "zero_point"].map((last) => finder.tensor(prefix + last));
  const [shape, sizes] = [shapeIn(attributes.get("shape")), shapeIn(attributes.get("block_size"))];
  const [rows = 0, columns = 0] = shape ?? [];
  const group = sizes?.at(-1) ?? 0;
  const [dense] = scale ? [floatsIn(scale)] : [];
  const grouped = [columns / group, rows];
  const isCodes = data && ["I8", "U8"].includes(data.dtype) && hasShape(data, [rows, columns / 2]);
  const isGroups = sizes?.length === 2 && sizes[0] === 1 && Number.isInteger(columns / group);
  const isRight = shape?.length === 2 && group % 8 === 0 && isCodes && isGroups;
  if (!isRight || !dense || !hasShape(scale!, grouped) || zeros?.dtype !== dense || !hasShape(zeros, grouped))
    return `is a ${type} of shape [${shape}] with qdata ${shown(data)}, scale ${shown(scale)}, zero_point ${shown(zeros)}, which does not fit`;
  const grid = [along(1, group), along(0)];
  return {
    name,
    scheme: "torchao",
    shape: [rows, columns],
    bits: 4,
    group: [group],
    symmetric: false,
    notes: [type],
    dense,
    stated: [rows, columns],
    parts: [
      partOf("qdata", data, [along(0), along(1, 2)]),
      partOf("scale", scale!, grid),
      partOf("zero_point", zeros, grid),
    ],
    besides: ACTIVATIONS.flatMap((last) => finder.tensor(prefix + last)?.name ?? []),
    decode: (parts, piece) => int4Call(parts, piece, group),
  };
}

function int4Call(
  parts: ReadonlyMap<string, PartData>,
  [rows = 0, columns = 0]: readonly number[],
  group: number,
): KernelCall {
  // Turning the sign bit of both halves makes signed codes unsigned, 8 more than they were.
  const codes = parts.get("qdata")!.bytes.map((pair) => pair ^ 0x88);
  const scales = transposed(valuesOf(parts.get("scale")!), columns / group, rows);
  const zeros = transposed(valuesOf(parts.get("zero_point")!), columns / group, rows);
  return {
    kernel: "packed-rows",
    rows,
    columns,
    bits: 4,
    words: asTypedArray("U32", codes, codes.length / 4),
    scales,
    zeros: 0,
    biases: zeros.map((zero, i) => zero - 8 * scales[i]!),
    groups: group,
  };
}
