import type { FloatDtype } from "../../dtype/cast.ts";
import { torchName } from "../torch-floats.ts";
import { quantizerFrom } from "./define.ts";
import { modelScaleDtype, part } from "./grouped-codes.ts";
import { largestIn } from "./kernels/runs.ts";
import type { WeightQuantizer } from "./quantizer.ts";

/** Elements that share a scale, in the order of memory: rows may begin amid a block. */
const BLOCK = 64;

/** The 16 values of NF4. Source: QLoRA (Dettmers et al., 2023), appendix E. */
const VALUES = Float32Array.of(
  -1,
  -0.6961928009986877,
  -0.5250730514526367,
  -0.39491748809814453,
  -0.28444138169288635,
  -0.18477343022823334,
  -0.09105003625154495,
  0,
  0.07958029955625534,
  0.16093020141124725,
  0.24611230194568634,
  0.33791524171829224,
  0.44070982933044434,
  0.5626170039176941,
  0.7229568362236023,
  1,
);

/** Where one value gives way to the next; what lies on such a limit goes to the lower. */
const LIMITS: Float32Array = VALUES.subarray(1).map((value, i) => Math.fround(VALUES[i]! + value) / 2);

/** Smaller magnitudes count as this, so that nothing is divided by zero. */
const LEAST = Math.fround(1e-38);

/**
 * bitsandbytes NF4, blocks of 64, scales as they are ("absmax", not quantised again). Its tensors are the weight, as a column
 * of bytes, and three more behind its name.
 */
export const nf4Quantizer: WeightQuantizer = quantizerFrom({
  scheme: "nf4",
  describe: (rows, columns, dtype) => [
    { role: "weight", dtype: "U8", shape: [Math.ceil((rows * columns) / 2), 1] },
    { role: "weight.absmax", dtype: "F32", shape: [Math.ceil((rows * columns) / BLOCK)] },
    { role: "weight.quant_map", dtype: "F32", shape: [VALUES.length] },
    { role: STATE, dtype: "U8", shape: [stateOf(rows, columns, dtype).length] },
  ],
  quantize(values, rows, columns, dtype) {
    const absmax = new Float32Array(Math.ceil(values.length / BLOCK));
    // A last, unpaired code is followed by that of zero.
    const codes = new Uint8Array(values.length + (values.length % 2)).fill(nearest(0));
    for (let i = 0; i < absmax.length; i++) {
      const start = i * BLOCK;
      const end = Math.min(start + BLOCK, values.length);
      const amax = largestIn(values, start, end);
      const divisor = Math.max(amax, LEAST);
      // A block that is cut short is treated otherwise by the original: divided, and its scale never 0.
      const isShort = end - start < BLOCK;
      absmax[i] = isShort ? divisor : amax;
      const factor = Math.fround(1 / divisor);
      for (let at = start; at < end; at++)
        codes[at] = nearest(Math.fround(isShort ? values[at]! / divisor : values[at]! * factor));
    }
    const packed = new Uint8Array(codes.length / 2);
    for (let i = 0; i < packed.length; i++) packed[i] = (codes[2 * i]! << 4) | codes[2 * i + 1]!;
    const state = stateOf(rows, columns, dtype);
    return new Map([
      ["weight", part("U8", [packed.length, 1], packed)],
      ["weight.absmax", part("F32", [absmax.length], absmax)],
      ["weight.quant_map", part("F32", [VALUES.length], VALUES.slice())],
      [STATE, part("U8", [state.length], state)],
    ]);
  },
});

const STATE = "weight.quant_state.bitsandbytes__nf4";

/** Parts of the range from -1 to 1, so many that there is at most one limit in each. */
const CELLS = 64;

/** Of each part, the code at its begin, and the limit that lies in it, if one does. */
const CELL_CODES = new Uint8Array(CELLS + 1);
const CELL_LIMITS = new Float32Array(CELLS + 1).fill(Number.POSITIVE_INFINITY);
for (let cell = 0, code = 0; cell <= CELLS; cell++) {
  CELL_CODES[cell] = code;
  const limit = LIMITS[code];
  if (limit !== undefined && limit < (2 * (cell + 1)) / CELLS - 1) {
    CELL_LIMITS[cell] = limit;
    code++;
  }
}

/** The code of the value that is nearest to one from -1 to 1. */
function nearest(value: number): number {
  const cell = ((value + 1) * (CELLS / 2)) | 0;
  return CELL_CODES[cell]! + (value > CELL_LIMITS[cell]! ? 1 : 0);
}

/** What is no tensor of the quantisation's state, as Python's json.dumps has it. */
function stateOf(rows: number, columns: number, dtype: FloatDtype): Uint8Array {
  const name = torchName(modelScaleDtype(dtype));
  const json = `{"quant_type": "nf4", "blocksize": ${BLOCK}, "dtype": "${name}", "shape": [${rows}, ${columns}]}`;
  return new TextEncoder().encode(json);
}
