import type { TensorHandle } from "../../checkpoint/tensor.ts";
import type { FloatDtype } from "../../dtype/cast.ts";
import { elementCount } from "../../dtype/dtype.ts";
import { quote } from "../../errors.ts";
import type { KernelCall } from "../kernels/call.ts";
import type { PartData, QuantizedWeight } from "../weight.ts";
import { along, partOf } from "./pieces.ts";
import { isOfColumns, timesColumns } from "./scaled-bytes.ts";
import { E2M1, isScaleDtype, ownBytes, scalesOf, valuesOf } from "./scales.ts";

/** Tensors of a weight of F4 (E2M1), two elements a byte, the first in the lower half. */
export interface ScaledNibbles {
  readonly scheme: string;
  /** Name of the dense weight. */
  readonly name: string;
  /** U8 or I8 `[…, out, in / 2]`, or F4 `[…, out, in]`. */
  readonly weight: TensorHandle;
  /** `[…, out, in / block]`: E4M3 (NVFP4, blocks of 16) or E8M0 (MXFP4, blocks of 32). */
  readonly scale: TensorHandle;
  /** Of the configuration; unless given, the shapes say it. */
  readonly block?: number | undefined;
  /** One float that goes with all scales. */
  readonly globalScale?: { readonly tensor: TensorHandle; readonly how: "multiply" | "divide" } | undefined;
  /** One for each column, by which the scaled weight is multiplied. */
  readonly columnFactors?: TensorHandle | undefined;
  readonly dense: FloatDtype;
  readonly besides: readonly string[];
  readonly notes?: readonly string[];
}

/**
 * A weight of F4 with a scale for each block of a row.
 *
 * @returns the weight, or why it is none, to be said of the weight's tensor
 */
export function scaledNibbles(given: ScaledNibbles): QuantizedWeight | string {
  const { scheme, name, weight, scale, globalScale, columnFactors, dense, besides, notes = [] } = given;
  const stored = "the weight stays as it is stored";
  const rank = weight.shape.length;
  if (rank < 2) return `shape [${weight.shape}], expected [out, in / 2]: ${stored}`;
  const perByte = weight.dtype === "F4" ? 1 : 2;
  const shape = [...weight.shape.slice(0, -1), weight.shape.at(-1)! * perByte];
  const columns = shape.at(-1)!;
  const across = scale.shape.at(-1) ?? 0;
  const block = given.block ?? columns / across;
  const isGrid = `${scale.shape}` === `${[...shape.slice(0, -1), Math.ceil(columns / block)]}`;
  if (!isScaleDtype(scale.dtype) || !isGrid || !(Number.isInteger(block / 2) && block >= 2))
    return `scales ${quote(scale.name)} are ${scale.dtype} of shape [${scale.shape}], expected floats of shape [${shape.slice(0, -1)},${given.block ? columns / block : `${columns} / block`}]: ${stored}`;
  if (globalScale && !isOneFloat(globalScale.tensor))
    return `${quote(globalScale.tensor.name)} is ${globalScale.tensor.dtype} of shape [${globalScale.tensor.shape}], expected one float: ${stored}`;
  if (columnFactors && !isOfColumns(columnFactors, shape))
    return `${quote(columnFactors.name)} is ${columnFactors.dtype} of shape [${columnFactors.shape}], expected floats of shape [${columns}]: ${stored}`;
  const rowLinks = shape.slice(0, -1).map((_, axis) => along(axis));
  const parts = [
    partOf("weight", weight, [...rowLinks, along(rank - 1, block, block / perByte)]),
    partOf("scale", scale, [...rowLinks, along(rank - 1, block)]),
    ...(globalScale
      ? [
          partOf(
            "global",
            globalScale.tensor,
            globalScale.tensor.shape.map(() => null),
          ),
        ]
      : []),
    ...(columnFactors ? [partOf("factors", columnFactors, [along(rank - 1)])] : []),
  ];
  const how = globalScale?.how;
  return {
    ...{ name, scheme, shape, bits: 4, group: [block], symmetric: true, notes, dense, parts, besides },
    decode: (data, piece) => nibblesCall(data, piece, block, how),
  };
}

function nibblesCall(
  data: ReadonlyMap<string, PartData>,
  shape: readonly number[],
  block: number,
  how: "multiply" | "divide" | undefined,
): KernelCall {
  const columns = shape.at(-1)!;
  const rows = elementCount(shape.slice(0, -1));
  const codes = ownBytes(data.get("weight")!);
  const scales = scalesOf(data.get("scale")!);
  if (how) {
    const global = valuesOf(data.get("global")!)[0]!;
    for (let i = 0; i < scales.length; i++)
      scales[i] = how === "divide" ? scales[i]! / global : scales[i]! * global;
  }
  const call = { kernel: "scaled-nibbles", rows, columns, codes, highFirst: false, table: E2M1 } as const;
  const factors = data.get("factors");
  if (!factors) return { ...call, scales, block };
  return { ...call, scales: timesColumns(scales, valuesOf(factors), columns, block), block: 1 };
}

/** Whether a tensor is a single float. */
export function isOneFloat({ dtype, shape }: TensorHandle): boolean {
  return isScaleDtype(dtype) && dtype !== "U8" && elementCount(shape) === 1;
}
