import type { TensorHandle } from "../../checkpoint/tensor.ts";
import type { FloatDtype } from "../../dtype/cast.ts";
import type { KernelCall } from "../kernels/call.ts";
import type { PartData, QuantizedWeight } from "../weight.ts";
import { along, partOf, shown } from "./pieces.ts";
import { isOneFloat } from "./scaled-nibbles.ts";
import { byteTable, E2M1, ownBytes, valuesOf } from "./scales.ts";

/** Rows and columns of a tile of scales, as cuBLAS has them. */
const TILE_ROWS = 128;
const TILE_COLUMNS = 4;

/** Tensors of a weight whose scales lie in tiles. */
export interface Tiled {
  readonly format: "nvfp4" | "mxfp8";
  readonly weight: TensorHandle;
  readonly scale: TensorHandle | undefined;
  /** For nvfp4: one float that goes with all scales. */
  readonly global: TensorHandle | undefined;
  /** Rows without those of padding, if a bias says it. */
  readonly biasLength: number | undefined;
  readonly dense: FloatDtype;
}

/** What the two formats have in blocks. `multiple`: what rows are padded to. */
const FORMATS = {
  nvfp4: { block: 16, multiple: 16, bits: 4, scale: "F8_E4M3" },
  mxfp8: { block: 32, multiple: 32, bits: 8, scale: "F8_E8M0" },
} as const;

/**
 * NVFP4 and MXFP8 of ComfyUI. The names are those of ModelOpt, the layout is another: of the two E2M1 codes of a byte the
 * first lies in the upper half, and the scales of the blocks lie in tiles of 128 rows and 4 columns, as cuBLAS reads
 * them: that of row `r` and column `c` at
 * `(r / 128 * tiles across + c / 4) * 512 + r % 32 * 16 + r % 128 / 32 * 4 + c % 4`.
 *
 * `w = code * (scale * weight_scale_2)`, in float32. Rows and columns are padded to multiples of 16 or 32; a bias says
 * how many rows there are, columns stay as they are stored. Scales of blocks of zeros are 0 in MXFP8, which as E8M0
 * is 2^-127: zeros stay zeros.
 *
 * @returns the weight, or why it is none
 */
export function tiledWeight(given: Tiled): QuantizedWeight | string {
  const { format, weight, scale, global, biasLength, dense } = given;
  const { block, bits, multiple } = FORMATS[format];
  const [stored = 0, width = 0] = weight.shape;
  const columns = (width * 8) / bits;
  const across = columns / block;
  const isWeight = weight.shape.length === 2 && weight.dtype === (format === "nvfp4" ? "U8" : "F8_E4M3");
  const tiles = Math.ceil(stored / TILE_ROWS) * Math.ceil(across / TILE_COLUMNS);
  const isScale = scale && ["U8", FORMATS[format].scale].includes(scale.dtype);
  if (!isWeight || !isScale || !Number.isInteger(across) || scale.length !== tiles * TILE_ROWS * TILE_COLUMNS)
    return `is ${shown(weight)} with weight_scale ${shown(scale)}, expected ${format} with tiles of 128 by 4 for [${stored},${across}] scales`;
  if (format === "nvfp4" && !(global && isOneFloat(global)))
    return `has weight_scale_2 ${shown(global)}, expected one float`;
  const isPadded = biasLength !== undefined && Math.ceil(biasLength / multiple) * multiple === stored;
  const rows = isPadded ? biasLength : stored;
  const none = (tensor: TensorHandle): null[] => tensor.shape.map(() => null);
  return {
    name: weight.name,
    scheme: "comfyui",
    shape: [rows, columns],
    bits,
    group: [block],
    symmetric: true,
    notes: [format, "scales in tiles", ...(rows === stored ? [] : [`${stored - rows} rows of padding`])],
    dense,
    parts: [
      partOf("weight", weight, [along(0, rows, stored), along(1, columns, width)]),
      partOf("scale", scale, none(scale)),
      ...(global && format === "nvfp4" ? [partOf("global", global, none(global))] : []),
    ],
    indivisible: "its scales lie in tiles",
    decode: (parts) => tiledCall(format, parts, rows, columns),
  };
}

function tiledCall(
  format: Tiled["format"],
  parts: ReadonlyMap<string, PartData>,
  rows: number,
  columns: number,
): KernelCall {
  const { block, bits, scale } = FORMATS[format];
  const codes = ownBytes(parts.get("weight")!).subarray(0, (rows * columns * bits) / 8);
  const tiled = valuesOf({ ...parts.get("scale")!, dtype: scale });
  const scales = untiled(tiled, rows, columns / block);
  if (format === "mxfp8") {
    const table = byteTable("F8_E4M3");
    return { kernel: "scaled-bytes", rows, columns, codes, table, scales, blockRows: 1, blockColumns: block };
  }
  const [global = 0] = valuesOf(parts.get("global")!);
  for (let i = 0; i < scales.length; i++) scales[i] = global * scales[i]!;
  return { kernel: "scaled-nibbles", rows, columns, codes, highFirst: true, table: E2M1, scales, block };
}

/** Scales row by row out of their tiles; those of padding are left out. */
function untiled(tiled: Float32Array, rows: number, columns: number): Float32Array {
  const out = new Float32Array(rows * columns);
  const across = Math.ceil(columns / TILE_COLUMNS);
  for (let row = 0; row < rows; row++) {
    const tileRow = Math.floor(row / TILE_ROWS) * across;
    const inTile = (row % 32) * 16 + Math.floor((row % TILE_ROWS) / 32) * TILE_COLUMNS;
    for (let column = 0; column < columns; column++) {
      const tile = tileRow + Math.floor(column / TILE_COLUMNS);
      const at = tile * TILE_ROWS * TILE_COLUMNS + inTile + (column % TILE_COLUMNS);
      out[row * columns + column] = tiled[at]!;
    }
  }
  return out;
}
