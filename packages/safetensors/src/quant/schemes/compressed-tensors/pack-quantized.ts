import type { TensorHandle } from "../../../checkpoint/tensor.ts";
import { elementCount } from "../../../dtype/dtype.ts";
import { asTypedArray } from "../../../dtype/typed-array.ts";
import { quote } from "../../../errors.ts";
import type { Finder, ModuleTensors } from "../../scheme.ts";
import type { Part, QuantizedWeight, Restated } from "../../weight.ts";
import { along, partOf } from "../pieces.ts";
import { denseDtype, isScaleDtype } from "../scales.ts";
import type { WeightArgs } from "./config.ts";
import { codesCall, type PackedLayout, type Zeros } from "./pack-decode.ts";
import { type Packing, packingsOf, wordsFor } from "./packing.ts";

const STAYS = "the weight stays as it is stored";

/**
 * `pack-quantized`: integers of 1 to 8 bits in `weight_packed` I32 `[out, words]`, `weight_scale` `[out, groups]`,
 * `weight_shape`, and, as the case may be, `weight_zero_point` (packed along `out`, or bytes) and `weight_g_idx`.
 *
 * @returns the weight, or why it is none
 */
export async function packQuantized(
  finder: Finder,
  module: string,
  tensors: ModuleTensors,
  args: WeightArgs,
  packsDensely: boolean | undefined,
  besides: readonly string[],
): Promise<QuantizedWeight | string> {
  const packed = tensors.get("weight_packed")!;
  const scale = tensors.get("weight_scale");
  if (packed.dtype !== "I32" || packed.shape.length !== 2)
    return `is ${packed.dtype} of shape [${packed.shape}], expected I32 of shape [out, words]: ${STAYS}`;
  if (!scale || !isScaleDtype(scale.dtype) || scale.dtype === "U8")
    return `has ${scale ? `scales ${quote(scale.name)} of ${scale.dtype}` : "no weight_scale beside it"}, expected floats: ${STAYS}`;
  const [rows, words] = packed.shape as [number, number];
  const stated = tensors.get("weight_shape");
  if (stated && ((stated.dtype !== "I64" && stated.dtype !== "I32") || `${stated.shape}` !== "2"))
    return `${quote(stated.name)} is ${stated.dtype} of shape [${stated.shape}], expected I64 of shape [2]: ${STAYS}`;
  const order = tensors.get("weight_g_idx");
  if (order && (order.dtype !== "I32" || order.shape.length !== 1))
    return `${quote(order.name)} is ${order.dtype} of shape [${order.shape}], expected I32 of shape [in]: ${STAYS}`;
  if (!order && args.hasOrder)
    return `has no weight_g_idx, which the configuration lets expect (actorder: group): ${STAYS}`;
  const columns = order ? order.shape[0]! : await columnsOf(finder, rows, stated, scale, args);
  if (typeof columns === "string") return columns;
  const packing = packingOf(columns, words, args.bits, packsDensely);
  if (typeof packing === "string") return packing;
  const { bits } = packing;

  const isOneScale = elementCount(scale.shape) === 1 && rows !== 1;
  const groups = isOneScale ? 1 : (scale.shape.at(-1) ?? 1);
  const group = args.group ?? (groups === 1 ? columns : columns / groups);
  // With an order of its own each column may be of any group: a piece then has all of them.
  const expected = `${[rows, order && scale.shape.length === 2 ? groups : Math.ceil(columns / group)]}`;
  if (!isOneScale && (`${scale.shape}` !== expected || !Number.isInteger(group)))
    return `scales ${quote(scale.name)} of shape [${scale.shape}] do not fit [${rows},${columns}]: expected [${expected}] for groups of ${group}: ${STAYS}`;

  const zero = tensors.get("weight_zero_point");
  const zeros = zerosOf(zero, scale.shape, rows, packing);
  if (typeof zeros === "string") return zeros;
  if (zeros.kind === "none" && args.symmetric === false)
    return `has no weight_zero_point, which the configuration lets expect (symmetric: false): ${STAYS}`;

  const groupLink = order || group >= columns ? null : along(1, group);
  const scaleLinks = isOneScale ? scale.shape.map(() => null) : [along(0), groupLink];
  const zeroLinks =
    zeros.kind === "packed" ? [along(0, zeros.packing.every, zeros.packing.takes), groupLink] : scaleLinks;
  const parts: Part[] = [
    partOf("packed", packed, [along(0), along(1, packing.every, packing.takes)]),
    partOf("scale", scale, scaleLinks),
    ...(stated ? [partOf("shape", stated, [null])] : []),
    ...(zero ? [partOf("zeros", zero, zeroLinks)] : []),
    ...(order ? [partOf("order", order, [along(1)])] : []),
  ];
  const name = module === "" ? "weight" : `${module}.weight`;
  const layout: PackedLayout = { name, packing, zeros, group, isOneScale };
  return {
    name,
    scheme: "compressed-tensors",
    shape: [rows, columns],
    bits,
    group: isOneScale ? [rows, columns] : [group],
    symmetric: zeros.kind === "none",
    notes: notesOf(layout, order),
    dense: denseDtype(finder.config, scale.dtype),
    parts,
    besides,
    ...(stated && { restate: (shape) => [restated(stated, shape)] }),
    decode: (data, shape) => codesCall(data, shape, layout),
  };
}

/** Columns of a weight: by its groups, where these are of a size that is known, else as `weight_shape` says. */
async function columnsOf(
  finder: Finder,
  rows: number,
  stated: TensorHandle | undefined,
  scale: TensorHandle,
  { group, bits }: WeightArgs,
): Promise<number | string> {
  // Large models have a hundred thousand of these: what the shapes say need not be read.
  if (group !== undefined && bits !== undefined && scale.shape.length === 2) return scale.shape[1]! * group;
  if (!stated) return `has no weight_shape beside it, which says how many columns there are: ${STAYS}`;
  const dtype = stated.dtype === "I32" ? "I32" : "I64";
  const numbers = Array.from(asTypedArray(dtype, await finder.small(stated), 2), Number);
  const [height, columns] = numbers as [number, number];
  if (height !== rows || !(columns >= 1 && Number.isSafeInteger(columns * 8)))
    return `${quote(stated.name)} says [${numbers}], expected [${rows}, columns]: ${STAYS}`;
  return columns;
}

function packingOf(
  columns: number,
  words: number,
  bits: number | undefined,
  packsDensely: boolean | undefined,
): Packing | string {
  const widths = bits === undefined ? [1, 2, 3, 4, 5, 6, 7, 8] : [bits];
  if (bits !== undefined && bits > 8) return `codes of ${bits} bits, expected 1 to 8: ${STAYS}`;
  const fitting = widths.flatMap((width) => packingsOf(width, columns, words));
  const isOfVersion = ({ perWord }: Packing): boolean => (perWord === undefined) === packsDensely;
  const [packing, other] =
    fitting.length > 1 && bits !== undefined && packsDensely !== undefined
      ? fitting.filter(isOfVersion)
      : fitting;
  if (!packing) {
    const expected = widths
      .map((width) => `${Math.ceil((columns * width) / 32)} for ${width} bits`)
      .join(", ");
    return `${words} words a row for ${columns} columns, expected ${expected}: ${STAYS}`;
  }
  if (other) {
    const shown = fitting.map((one) => `${one.bits} bits${one.perWord ? ` (${one.perWord} a word)` : ""}`);
    return `${words} words a row for ${columns} columns may be ${shown.join(" or ")}: ${STAYS}`;
  }
  return packing;
}

function zerosOf(
  zero: TensorHandle | undefined,
  scale: readonly number[],
  rows: number,
  packing: Packing,
): Zeros | string {
  if (!zero) return { kind: "none" };
  if (zero.dtype === "I8" && `${zero.shape}` === `${scale}`) return { kind: "bytes" };
  if (zero.dtype === "I32" && zero.shape.length === 2 && zero.shape[1] === scale[1]) {
    // Written together with the codes: packed as these, unless only the other way fits.
    const packings = packingsOf(packing.bits, rows, zero.shape[0]!);
    const chosen = packings.find((one) => one.perWord === packing.perWord) ?? packings[0];
    if (chosen) return { kind: "packed", packing: chosen };
  }
  const expected = `I32 of shape [${wordsFor(rows, packing)},${scale[1] ?? 1}] or I8 of shape [${scale}]`;
  return `zero points ${quote(zero.name)} are ${zero.dtype} of shape [${zero.shape}], expected ${expected}: ${STAYS}`;
}

function notesOf({ packing, zeros }: PackedLayout, order: TensorHandle | undefined): string[] {
  return [
    ...(packing.perWord !== undefined && 32 % packing.bits !== 0
      ? [`${packing.perWord} codes a word, as before version 0.18`]
      : []),
    ...(zeros.kind === "bytes" ? ["zero points as bytes"] : []),
    ...(order ? ["act-order"] : []),
  ];
}

/** `weight_shape` of a piece. */
function restated({ dtype }: TensorHandle, shape: readonly number[]): Restated {
  const numbers = dtype === "I32" ? Int32Array.from(shape) : BigInt64Array.from(shape, BigInt);
  return { role: "shape", data: { dtype, shape: [shape.length], bytes: new Uint8Array(numbers.buffer) } };
}
