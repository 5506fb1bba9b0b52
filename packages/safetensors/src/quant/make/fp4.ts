import type { FloatDtype } from "../../dtype/cast.ts";
import { packCodes, toSmallFloat } from "../../dtype/cast-small.ts";
import { toFloat32 } from "../../dtype/decode.ts";
import { SafetensorsError } from "../../errors.ts";
import { groupMisfit, quantizerFrom } from "./define.ts";
import { modelScaleDtype, part, roundedTo } from "./grouped-codes.ts";
import { largestIn } from "./kernels/runs.ts";
import type { WeightQuantizer } from "./quantizer.ts";

/** The largest value of F4. */
const MAX = 6;

/**
 * How a block's power of two is chosen from its largest magnitude: `floor`, the OCP specification's; `even`, up where the
 * mantissa is 1.75 and more; `ceil`, up unless it is a power of two; `rceil`, the least with which nothing is clipped.
 */
export type MxScaleRule = "floor" | "even" | "ceil" | "rceil";

/** Elements that share a scale in MXFP4 and in NVFP4. */
const MX_BLOCK = 32;
const NV_BLOCK = 16;

/**
 * compressed-tensors, format "mxfp4-pack-quantized": blocks of 32 with a power of two each.
 *
 * @param rule `even` is the original's
 */
export function mxfp4Quantizer(rule: MxScaleRule = "even"): WeightQuantizer {
  return quantizerFrom({
    scheme: "mxfp4",
    misfit: (_, columns) => groupMisfit(columns, MX_BLOCK),
    describe: (rows, columns) => [
      { role: "weight_packed", dtype: "U8", shape: [rows, columns / 2] },
      { role: "weight_scale", dtype: "U8", shape: [rows, columns / MX_BLOCK] },
    ],
    quantize(values, rows, columns, _, { runs }) {
      const exponents = mxExponents(runs.largest(values, MX_BLOCK), rule);
      const scales = toFloat32("F8_E8M0", exponents, exponents.length);
      return new Map([
        ["weight_packed", part("U8", [rows, columns / 2], fp4Codes(values, scales, MX_BLOCK))],
        ["weight_scale", part("U8", [rows, columns / MX_BLOCK], exponents)],
      ]);
    },
  });
}

/** The bytes of E8M0 for the largest magnitudes of blocks. */
function mxExponents(amax: Float32Array, rule: MxScaleRule): Uint8Array {
  const bits = new Uint32Array((rule === "rceil" ? amax.map((value) => value / MAX) : amax).buffer);
  const exponents = new Uint8Array(bits.length);
  // The largest power of two that F4 has is 4.
  const offset = rule === "rceil" ? 0 : 2;
  // What is added to the bits carries into the exponent from a mantissa of 1.75 on, or from the next float after 1.
  const carry = rule === "floor" ? 0 : rule === "even" ? 0x200000 : 0x7fffff;
  for (let i = 0; i < bits.length; i++) exponents[i] = Math.max(((bits[i]! + carry) >>> 23) - offset, 0);
  return exponents;
}

/**
 * compressed-tensors, format "nvfp4-pack-quantized": blocks of 16 with a scale of F8_E4M3 each, and a global one by which
 * all of these are divided.
 *
 * @param globalScale for weights that are run as one (q, k and v; gate and up): `nvfp4GlobalScale` of their largest
 *   magnitude. If not given it is that of the weight
 */
export function nvfp4Quantizer(globalScale?: number): WeightQuantizer {
  if (globalScale !== undefined && !(globalScale > 0 && Number.isFinite(Math.fround(globalScale)))) {
    const text = `a global scale of ${globalScale}: it must be above 0, and a float32`;
    throw new SafetensorsError("UNSUPPORTED", text);
  }
  return quantizerFrom({
    scheme: "nvfp4",
    misfit: (_, columns) => groupMisfit(columns, NV_BLOCK),
    describe: (rows, columns) => [
      { role: "weight_packed", dtype: "U8", shape: [rows, columns / 2] },
      { role: "weight_scale", dtype: "F8_E4M3", shape: [rows, columns / NV_BLOCK] },
      { role: "weight_global_scale", dtype: "F32", shape: [1] },
    ],
    quantize(values, rows, columns, dtype, { runs }) {
      const amax = runs.largest(values, NV_BLOCK);
      const global = Math.fround(globalScale ?? nvfp4GlobalScale(largestIn(amax), dtype));
      const local = roundedTo(
        innerDtype(dtype),
        amax.map((value) => value / MAX),
      );
      const stored = toSmallFloat(
        local.map((scale) => scale * global),
        "F8_E4M3",
        true,
      ).map((code) => code || SMALLEST_SCALE);
      const scales = toFloat32("F8_E4M3", stored, stored.length).map((scale) => scale / global);
      return new Map([
        ["weight_packed", part("U8", [rows, columns / 2], fp4Codes(values, scales, NV_BLOCK))],
        ["weight_scale", part("F8_E4M3", [rows, columns / NV_BLOCK], stored)],
        ["weight_global_scale", part("F32", [1], Float32Array.of(global))],
      ]);
    },
  });
}

/** What compressed-tensors has in place of a scale of 0: 1/8. */
const SMALLEST_SCALE = 0x20;

/**
 * The global scale of NVFP4 for weights whose largest magnitude is `amax`: it brings the largest scale of a block to 448.
 * 1 if there is none, or it is no float32. For a model of BF16 it is computed in that, as the original does.
 */
export function nvfp4GlobalScale(amax: number, dtype: FloatDtype): number {
  const inner = innerDtype(dtype);
  // Not 2688 / amax: torch divides a number by a tensor so.
  const inverse = roundedTo(inner, Float32Array.of(1 / amax));
  const [scale] = roundedTo(
    inner,
    inverse.map((value) => value * 448 * MAX),
  );
  return Number.isFinite(scale) ? scale! : 1;
}

/** What scales are computed in: F16 does not have the range. */
function innerDtype(dtype: FloatDtype): FloatDtype {
  return modelScaleDtype(dtype) === "BF16" ? "BF16" : "F32";
}

/** Values that are divided before they are looked up, so few that they stay in the cache. */
const PIECE = 4096;

/** F4 of `w / scale`, the first of two in the lower half of a byte. */
function fp4Codes(values: Float32Array, scales: Float32Array, block: number): Uint8Array {
  const packed = new Uint8Array(values.length / 2);
  for (let start = 0; start < values.length; start += PIECE) {
    const scaled = values.slice(start, start + PIECE);
    for (let i = 0, group = start / block; i < scaled.length; group++) {
      const scale = scales[group]!;
      // Adding zero makes a negative zero positive: the original multiplies with the sign of its value, which is 0.
      for (const end = i + block; i < end; i++) scaled[i] = Math.fround(scaled[i]! / scale) + 0;
    }
    packed.set(packCodes(toSmallFloat(scaled, "F4", true), 4), start / 2);
  }
  return packed;
}
