import { Checkpoint } from "../../checkpoint/checkpoint.ts";
import { ViewIndex } from "../../checkpoint/view-index.ts";
import type { FloatDtype } from "../../dtype/cast.ts";
import { quote, SafetensorsError } from "../../errors.ts";
import { fromBytes } from "../../source/memory.ts";
import { contiguousStrides } from "../../view/view.ts";
import { decodePiece } from "../dense-source.ts";
import { findQuantized } from "../find.ts";
import type { PartData } from "../weight.ts";
import { awqLimits } from "./calibrated/awq-limits.ts";
import { awqCodes } from "./calibrated/awq-round.ts";
import { type AwqScales, awqScales } from "./calibrated/awq-scales.ts";
import { foldIntoColumns, foldIntoRows } from "./calibrated/fold-scale.ts";
import { gptq } from "./calibrated/gptq.ts";
import { checkWeight } from "./calibrated/weight-rows.ts";
import { modelScaleDtype } from "./grouped-codes.ts";
import {
  loadQuantizeKernels,
  plainQuantizeKernels,
  type QuantizeKernels,
} from "./kernels/quantize-kernels.ts";
import { packAwq } from "./pack-awq.ts";
import { packCompressedTensors } from "./pack-compressed-tensors.ts";
import { packGptq } from "./pack-gptq.ts";
import { type IntegerName, integerNameOf, type QuantizerOptions, quantizerOf } from "./quantizer-of.ts";

/** What is known of the inputs of a weight, and what is done with it. */
export type Calibration =
  /** GPTQ, into the layouts of GPTQ and compressed-tensors. */
  | {
      readonly kind: "gptq";
      /** `[K, K]`: the sum of the products of the inputs. */
      readonly xtx: Float32Array;
      readonly actOrder?: boolean | undefined;
      readonly damp?: number | undefined;
    }
  /** AWQ: the inputs are multiplied by `scale`; with `xtx`, limits of the weights are looked for. */
  | { readonly kind: "awq"; readonly scale: Float32Array; readonly xtx?: Float32Array | undefined };

/** One weight to quantise: plain data, so that a worker can do it. */
export interface QuantizeJob {
  readonly kind: "quantize";
  /** Of the dense weight, with `.weight` at its end. */
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: FloatDtype;
  /** Row by row. */
  readonly values: Float32Array;
  /** Name of the scheme, and its options: see `quantizerOf`. */
  readonly scheme: string;
  readonly options: QuantizerOptions;
  /** The configuration that the checkpoint gets, by which the result is read. */
  readonly config: object;
  readonly calibration?: Calibration | undefined;
  /** What the outputs are divided by first, as AWQ multiplies the inputs of the layer behind by it. */
  readonly rowScale?: Float32Array | undefined;
}

/** Weights that take the same input, for which AWQ looks for the scale of that. */
export interface AwqSearchJob {
  readonly kind: "awq-search";
  readonly scheme: string;
  /** Of the weights. */
  readonly names: readonly string[];
  /** Each `[N, K]`. */
  readonly weights: readonly Float32Array[];
  readonly xtx: Float32Array;
  readonly absMean: Float32Array;
}

export type MakeJob = QuantizeJob | AwqSearchJob;

/** What became of a weight. */
export interface QuantizedJob {
  /** Stored tensors by their names. */
  readonly parts: readonly (readonly [name: string, data: PartData])[];
  /** Norm of the difference that quantisation makes to the weight, divided by the norm of the weight. */
  readonly error: number;
  /** With GPTQ: the squared error of the layer's outputs divided by that of rounding to nearest. */
  readonly outputError?: number;
  readonly note?: string;
}

/** Does a job of any kind. */
export async function runMakeJob(job: MakeJob): Promise<QuantizedJob | AwqScales> {
  return job.kind === "quantize" ? runQuantizeJob(job) : runAwqSearch(job, await loadQuantizeKernels());
}

/**
 * Quantises a weight, and reads the result as anybody will, to tell how far it is from what it was made of.
 *
 * @throws `UNSUPPORTED` for values that the scheme has no codes for, naming the element, and a calibration that it has no use
 * for; `INVALID_QUANTIZATION` if what was made cannot be read
 */
export async function runQuantizeJob(job: QuantizeJob): Promise<QuantizedJob> {
  const { name, shape, dtype, calibration, rowScale } = job;
  const module = name.replace(/\.weight$/, "");
  const values = rowScale ? foldIntoRows(job.values, rowScale) : job.values;
  const kernels = await loadQuantizeKernels();
  const made = naming(name, () =>
    calibration
      ? calibrated(job, values, calibration, kernels)
      : { parts: quantizerOf(job.scheme, job.options).quantize(values, shape, dtype, kernels) },
  );
  const parts = Array.from(made.parts, ([role, data]) => [`${module}.${role}`, data] as const);
  const meant = calibration?.kind === "awq" ? foldIntoColumns(values, calibration.scale) : values;
  return { ...made, parts, error: relativeError(await readBack(job, parts), meant) };
}

/** Looks for the scale of the inputs of some weights: see `awqScales`, whose errors name the weight here. */
export function runAwqSearch(job: AwqSearchJob, kernels: QuantizeKernels = plainQuantizeKernels): AwqScales {
  const { scheme, names, weights, xtx, absMean } = job;
  const { bits, group, symmetric } = integersOf(scheme, {});
  for (const [at, weight] of weights.entries()) naming(names[at]!, () => checkWeight(weight, absMean.length));
  const input = { weights, hessian: xtx, absMean, bits, group, symmetric, scaleDtype: "F16" } as const;
  return awqScales(input, kernels);
}

/** Does something with a weight, which errors name then. */
function naming<T>(name: string, act: () => T): T {
  try {
    return act();
  } catch (error) {
    if (!(error instanceof SafetensorsError)) throw error;
    const details = { ...error.details, tensor: name, cause: error };
    throw new SafetensorsError(error.code, `tensor ${quote(name)}: ${error.reason}`, details);
  }
}

function calibrated(
  { scheme, options, shape, dtype }: QuantizeJob,
  values: Float32Array,
  calibration: Calibration,
  kernels: QuantizeKernels,
): Pick<QuantizedJob, "outputError" | "note"> & { parts: ReadonlyMap<string, PartData> } {
  const { family, ...format } = integersOf(scheme, options);
  const scaleDtype = family === "ct" ? modelScaleDtype(dtype) : "F16";
  if (calibration.kind === "awq") {
    if (family !== "awq") throw unusable(scheme, "AWQ");
    const { scale, xtx } = calibration;
    const rounding = { ...format, scaleDtype } as const;
    const limits = xtx && awqLimits(values, scale, xtx, rounding, kernels);
    return { parts: packAwq(awqCodes(values, scale, rounding, limits), scaleDtype) };
  }
  if (family === "awq") throw unusable(scheme, "GPTQ");
  const { xtx: hessian, actOrder, damp } = calibration;
  const input = { weight: values, hessian, columns: shape[1]!, ...format, actOrder, damp, scaleDtype };
  const solved = gptq(input, kernels);
  const pack = family === "gptq" ? packGptq : packCompressedTensors;
  const { error, note } = solved;
  return {
    parts: pack(solved, scaleDtype),
    ...(error && error.before > 0 && { outputError: error.after / error.before }),
    ...(note !== undefined && { note }),
  };
}

function integersOf(scheme: string, { symmetric }: QuantizerOptions): IntegerName {
  const name = integerNameOf(scheme, symmetric);
  if (name) return name;
  throw unusable(scheme, "calibration");
}

function unusable(scheme: string, what: string): SafetensorsError {
  return new SafetensorsError("UNSUPPORTED", `the scheme ${quote(scheme)} has no use for ${what}`);
}

async function readBack(job: QuantizeJob, parts: QuantizedJob["parts"]): Promise<Float32Array> {
  const views = new Map(
    parts.map(([name, { dtype, shape, bytes }]) => {
      const source = fromBytes(bytes, name);
      return [name, { source, dtype, shape, strides: contiguousStrides(shape), bitOffset: 0 }] as const;
    }),
  );
  const checkpoint = new Checkpoint({ format: "memory", tensors: new ViewIndex(views) });
  const configs = { "config.json": { quantization_config: job.config } };
  const { weights, problems } = await findQuantized(checkpoint, { configs });
  const weight = weights.get(job.name);
  if (weight && problems.length === 0) return decodePiece(weight, (name) => checkpoint.get(name), []);
  const text = `what ${job.scheme} made of ${quote(job.name)} cannot be read: ${problems[0]?.text ?? "it is not recognised"}`;
  throw new SafetensorsError("INVALID_QUANTIZATION", text, { tensor: job.name });
}

function relativeError(made: Float32Array, values: Float32Array): number {
  let [differences, squares] = [0, 0];
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    const difference = made[i]! - value;
    differences += difference * difference;
    squares += value * value;
  }
  return differences === 0 ? 0 : Math.sqrt(differences / squares);
}
