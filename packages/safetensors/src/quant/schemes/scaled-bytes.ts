import type { TensorHandle } from "../../checkpoint/tensor.ts";
import type { FloatDtype } from "../../dtype/cast.ts";
import { DTYPES, type Dtype } from "../../dtype/dtype.ts";
import { quote } from "../../errors.ts";
import type { ScaledBytesCall } from "../kernels/call.ts";
import type { PartData, QuantizedWeight } from "../weight.ts";
import { along, partOf } from "./pieces.ts";
import { type GridOptions, type ScaleGrid, scaleGrid } from "./scale-grid.ts";
import { byteTable, isScaleDtype, ownBytes, scalesOf, valuesOf } from "./scales.ts";

/** Tensors of a weight of one byte an element, and what is known of it. */
export interface ScaledBytes extends GridOptions {
  readonly scheme: string;
  readonly weight: TensorHandle;
  readonly scale: TensorHandle;
  /** Of the shape of the scales; taken off before scaling. */
  readonly zeros?: TensorHandle | undefined;
  /** One for each column, by which the scaled weight is multiplied. Not together with `zeros`. */
  readonly columnFactors?: TensorHandle | undefined;
  readonly dense: FloatDtype;
  readonly besides: readonly string[];
  readonly notes?: readonly string[];
}

const BYTES: ReadonlySet<Dtype> = new Set(["F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "I8"]);

/** Whether a dtype is one that weights of one byte an element come in. */
export function isByteWeight(dtype: Dtype): boolean {
  return BYTES.has(dtype);
}

/**
 * A weight `(w - z) * scale` of F8 or I8, with scales in any granularity.
 *
 * @returns the weight, or why it is none, to be said of the weight's tensor
 */
export function scaledBytes(given: ScaledBytes): QuantizedWeight | string {
  const { scheme, weight, scale, zeros, columnFactors, dense, besides, notes = [] } = given;
  if (!isScaleDtype(scale.dtype))
    return `${quote(scale.name)} is of ${scale.dtype}, expected floats: the weight stays as it is stored`;
  const grid = scaleGrid(weight.shape, scale.shape, given);
  if (typeof grid === "string")
    return `scales ${quote(scale.name)} of shape [${scale.shape}] do not fit the weight of shape [${weight.shape}]: ${grid}; the weight stays as it is stored`;
  if (zeros && `${zeros.shape}` !== `${scale.shape}`)
    return `zero points ${quote(zeros.name)} of shape [${zeros.shape}], expected [${scale.shape}] as the scales: the weight stays as it is stored`;
  if (zeros && ["bool", "complex"].includes(DTYPES[zeros.dtype].kind))
    return `zero points ${quote(zeros.name)} are ${zeros.dtype}, expected numbers: the weight stays as it is stored`;
  if (columnFactors && !isOfColumns(columnFactors, weight.shape))
    return `${quote(columnFactors.name)} is ${columnFactors.dtype} of shape [${columnFactors.shape}], expected floats of shape [${weight.shape.at(-1)}]: the weight stays as it is stored`;
  const parts = [
    partOf(
      "weight",
      weight,
      weight.shape.map((_, axis) => along(axis)),
    ),
    partOf("scale", scale, grid.links),
    ...(zeros ? [partOf("zeros", zeros, grid.links)] : []),
    ...(columnFactors ? [partOf("factors", columnFactors, [along(weight.shape.length - 1)])] : []),
  ];
  const [rows, columns] = grid.block;
  return {
    name: weight.name,
    scheme,
    shape: weight.shape,
    bits: 8,
    group: rows === 1 ? [columns] : [rows, columns],
    symmetric: zeros === undefined,
    notes,
    dense,
    parts,
    besides,
    decode: (data, shape) =>
      scaledBytesCall(ownBytes(data.get("weight")!), byteTable(weight.dtype), data, shape, grid),
  };
}

/** The call for codes of a byte, with the parts `scale`, `zeros` and `factors`. */
export function scaledBytesCall(
  codes: Uint8Array,
  table: Float32Array,
  data: ReadonlyMap<string, PartData>,
  shape: readonly number[],
  { block: [height, width], isPerMatrix }: Pick<ScaleGrid, "block" | "isPerMatrix">,
): ScaledBytesCall {
  const columns = shape.at(-1) ?? 1;
  const inMatrix = shape.at(-2) ?? 1;
  const matrices = shape.slice(0, -2).reduce((product, size) => product * size, 1);
  const rows = matrices * inMatrix;
  let blockRows = isPerMatrix ? Math.min(height, inMatrix) : rows;
  let scales = scalesOf(data.get("scale")!);
  const zeroPoints = data.get("zeros");
  let zeros = zeroPoints && valuesOf(zeroPoints);
  // Blocks that are cut short in each matrix of a stack are not those of one matrix: then each row has its own scales.
  if (isPerMatrix && matrices > 1 && inMatrix % blockRows !== 0) {
    const spread = (values: Float32Array): Float32Array =>
      repeatRows(values, matrices, inMatrix, blockRows, Math.ceil(columns / width));
    scales = spread(scales);
    zeros &&= spread(zeros);
    blockRows = 1;
  }
  const call = { kernel: "scaled-bytes", rows, columns, codes, table } as const;
  const blocks = { blockRows: Math.max(1, blockRows), blockColumns: Math.max(1, width) };
  const factors = data.get("factors");
  if (!factors) return { ...call, ...blocks, scales, ...(zeros && { zeros }) };
  const factored = timesColumns(scales, valuesOf(factors), columns, blocks.blockColumns);
  return { ...call, blockRows: blocks.blockRows, blockColumns: 1, scales: factored };
}

/** Scales of blocks as scales of columns, each multiplied by the factor of its column. */
export function timesColumns(
  scales: Float32Array,
  factors: Float32Array,
  columns: number,
  blockColumns: number,
): Float32Array {
  const across = Math.ceil(columns / blockColumns);
  const down = across === 0 ? 0 : scales.length / across;
  const out = new Float32Array(down * columns);
  for (let row = 0; row < down; row++)
    for (let column = 0; column < columns; column++) {
      const scale = scales[row * across + Math.floor(column / blockColumns)]!;
      out[row * columns + column] = scale * factors[column]!;
    }
  return out;
}

/** Whether a tensor is one float for each column of a weight. */
export function isOfColumns({ dtype, shape }: TensorHandle, weight: readonly number[]): boolean {
  return isScaleDtype(dtype) && dtype !== "U8" && shape.length === 1 && shape[0] === weight.at(-1);
}

function repeatRows(
  values: Float32Array,
  matrices: number,
  rows: number,
  height: number,
  across: number,
): Float32Array {
  const down = Math.ceil(rows / height);
  const out = new Float32Array(matrices * rows * across);
  for (let row = 0; row < matrices * rows; row++) {
    const block = Math.floor(row / rows) * down + Math.floor((row % rows) / height);
    out.set(values.subarray(block * across, (block + 1) * across), row * across);
  }
  return out;
}
