import { availableParallelism, totalmem } from "node:os";
import { join } from "node:path";
import type { Checkpoint } from "../../checkpoint/checkpoint.ts";
import type { TensorHandle } from "../../checkpoint/tensor.ts";
import { type FloatDtype, isFloatDtype } from "../../dtype/cast.ts";
import { quote, SafetensorsError } from "../../errors.ts";
import type { CalibrationStatistics } from "../../quant/make/calibrated/statistics.ts";
import type { Calibration } from "../../quant/make/job.ts";
import type { QuantizerOptions } from "../../quant/make/quantizer-of.ts";
import { integerNameOf } from "../../quant/make/quantizer-of.ts";
import { isFilePath } from "../write/checkpoint-layout.ts";
import { type AwqScaling, type AwqWork, foldingsOf, isExpert, scalingOf, searchSteps } from "./awq-steps.ts";
import { QuantizeCrew } from "./crew.ts";
import { globalScaleSteps, globalScalesOf } from "./global-scales.ts";
import { Spool } from "./spool.ts";
import { runSteps, type Step, type StepOptions } from "./steps.ts";

/** How weights are quantised. */
export interface QuantizeWeightsOptions {
  /** Names of the weights, which end in `.weight`. */
  readonly weights: readonly string[];
  /** Name of the scheme, and its options: see `quantizerOf`. */
  readonly scheme: string;
  readonly options?: QuantizerOptions | undefined;
  /** The configuration that the checkpoint gets. */
  readonly config: object;
  /** What the inputs of the layers were like: GPTQ, or for AWQ's layout AWQ, instead of rounding to nearest. */
  readonly statistics?: CalibrationStatistics | undefined;
  /** For GPTQ: see `FactorOptions`. */
  readonly actOrder?: boolean | undefined;
  readonly damp?: number | undefined;
  /** For AWQ: `model_type` of config.json, as scales go into the layers before. */
  readonly modelType?: string | undefined;
  /**
   * Weights that are worked on at a time, each in a thread of its own; 0: one, in the thread that calls. Unless given, as many as
   * there are processors, if half of the memory has room.
   */
  readonly threads?: number | undefined;
  /**
   * Names the input and all else that the result depends on, besides what is given here: what is done stays when the work is
   * stopped, and the next run with the same text takes it up.
   */
  readonly resume?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called after each weight with the bytes of the dense weights done so far, and in all. */
  readonly onProgress?: ((done: number, total: number, name: string) => void) | undefined;
}

/** What became of a weight. */
export interface WeightReport {
  readonly name: string;
  /** Norm of the difference to the dense weight, divided by the norm of that. */
  readonly error: number;
  /** With GPTQ: the squared error of the layer's outputs divided by that of rounding to nearest. */
  readonly outputError?: number;
  /** What else than asked for was done, and why. */
  readonly note?: string;
}

/** A checkpoint with some of its weights quantised. */
export interface QuantizedWeights {
  /** All tensors, to be saved: those that were made, and the others as they are. */
  readonly tensors: ReadonlyMap<string, TensorHandle>;
  readonly reports: readonly WeightReport[];
  /** How many results an interrupted run had left. */
  readonly reused: number;
  /**
   * Ends it.
   *
   * @param isSaved whether the tensors were saved. If not, and with `resume`, the results stay for the next run.
   */
  close(isSaved: boolean): Promise<void>;
}

/** Bytes of memory that an element takes while its weight is worked on. */
const ELEMENT_BYTES = 24;

/**
 * Quantises weights, some at a time, each by a thread: memory is that of as many of the largest weights, and what is made of
 * them. The results lie in a hidden file beside the output, from which they are to be copied: see `saveCheckpoint`.
 *
 * @param output where they are to be saved: a path that ends in `.safetensors` is a file, any other a folder
 * @throws what `checkQuantizable` throws; `UNSUPPORTED` for a NaN or an infinity; `INVALID_TENSOR` for statistics that cannot be
 *   right; errors of reading; `IO`
 */
export async function quantizeWeights(
  output: string,
  checkpoint: Checkpoint,
  options: QuantizeWeightsOptions,
): Promise<QuantizedWeights> {
  checkQuantizable(checkpoint, options);
  const { resume, signal, onProgress } = options;
  const tensors = options.weights.map((name) => checkpoint.get(name));
  const threads = options.threads ?? threadsFor(tensors);
  const spool = await Spool.open(
    isFilePath(output) ? `${output}.spool` : join(output, "quantize.spool"),
    resume === undefined ? undefined : JSON.stringify([resume, workText(options)]),
  );
  const crew = new QuantizeCrew(threads === 0, signal);
  try {
    const awq = awqWork(checkpoint, options);
    const foldings = awq ? foldingsOf(awq) : [];
    const searches = awq ? searchSteps(awq, foldings, crew) : [];
    const globals = globalScaleSteps(tensors, options);
    const before = [...searches, ...globals];
    const total = [...before, ...tensors.map(({ byteLength: bytes }) => ({ bytes }))].reduce(
      (sum, { bytes }) => sum + bytes,
      0,
    );
    let [done, reused] = [0, 0];
    const stepping: StepOptions = {
      threads,
      signal,
      onStep(step, wasDone) {
        if (wasDone) reused++;
        done += step.bytes;
        onProgress?.(done, total, step.item);
      },
    };
    await runSteps(spool, before, stepping);
    const scaling = awq && (await scalingOf(awq, foldings, spool));
    const scales = globalScalesOf(globals, spool);
    const steps = tensors.map((tensor) =>
      quantizeStep(tensor, options, crew, scaling, scales.get(tensor.name)),
    );
    await runSteps(spool, steps, stepping);
    await runSteps(spool, scaling?.rewrites ?? [], { ...stepping, onStep: () => {} });
    return await collect(checkpoint, spool, options, reused);
  } catch (error) {
    await spool.close(resume !== undefined);
    throw error;
  } finally {
    await crew.close();
  }
}

/**
 * Checks all that can be told before any data is read.
 *
 * @throws `TENSOR_NOT_FOUND`, also for statistics that are missing; `SIZE_MISMATCH` for those of a layer with another number of
 *   inputs; `UNSUPPORTED` for a weight that has no floats, and for a scheme or a model that calibration is not for
 */
export function checkQuantizable(checkpoint: Checkpoint, options: QuantizeWeightsOptions): void {
  const { weights, scheme, statistics, actOrder, damp } = options;
  for (const name of weights) {
    const { dtype } = checkpoint.get(name);
    if (isFloatDtype(dtype)) continue;
    const text = `tensor ${quote(name)} is of ${dtype}, no floats`;
    throw new SafetensorsError("UNSUPPORTED", text, { tensor: name });
  }
  const family = integerNameOf(scheme)?.family;
  const isGptq = statistics !== undefined && (family === "gptq" || family === "ct");
  if ((actOrder || damp !== undefined) && !isGptq) {
    const text =
      "the order of activations and damping are for GPTQ, which takes statistics and a gptq- or ct- scheme";
    throw new SafetensorsError("UNSUPPORTED", text);
  }
  if (!statistics) return;
  if (family === undefined) {
    const text = `the scheme ${quote(scheme)} has no use for statistics; those of integers have: gptq-, ct- and awq-`;
    throw new SafetensorsError("UNSUPPORTED", text);
  }
  const awq = awqWork(checkpoint, options);
  const foldings = awq && foldingsOf(awq);
  const needed = foldings
    ? foldings.flatMap(({ quantised: [first], limits }) => [first!, ...limits.filter(awq.isChosen)])
    : weights.map(moduleOf);
  for (const module of new Set(needed)) {
    const columns = statistics.columns(module);
    const expected = checkpoint.get(`${module}.weight`).shape[1];
    if (columns === expected || (columns === undefined && isExpert(module))) continue;
    const details = { tensor: `${module}.xtx` };
    if (columns !== undefined) {
      const text = `the statistics for ${quote(module)} are of ${columns} inputs, and its weight has ${expected}: they are of another model`;
      throw new SafetensorsError("SIZE_MISMATCH", text, details);
    }
    const text = `there are no calibration statistics for ${quote(module)}; collect them, or leave its weight out`;
    throw new SafetensorsError("TENSOR_NOT_FOUND", text, details);
  }
}

const moduleOf = (name: string): string => name.replace(/\.weight$/, "");

/** As many threads as there are processors, but not more than half of the memory has room for. */
function threadsFor(tensors: readonly TensorHandle[]): number {
  // Nothing, or more than there is, if there is no limit.
  const allowed = process.constrainedMemory?.() || Number.POSITIVE_INFINITY;
  const largest = tensors.reduce((most, { length }) => Math.max(most, length), 1);
  const room = Math.floor(Math.min(totalmem(), allowed) / 2 / (largest * ELEMENT_BYTES));
  return Math.max(1, Math.min(availableParallelism(), room));
}

/** All that the results depend on, but for the input. */
function workText({
  weights,
  scheme,
  options,
  config,
  actOrder,
  damp,
  modelType,
}: QuantizeWeightsOptions): string {
  return JSON.stringify([weights, scheme, options, config, actOrder, damp, modelType]);
}

function awqWork(
  checkpoint: Checkpoint,
  { scheme, statistics, modelType, weights, signal }: QuantizeWeightsOptions,
): AwqWork | undefined {
  if (!statistics || integerNameOf(scheme)?.family !== "awq") return undefined;
  if (modelType === undefined) {
    const text = "AWQ needs the model_type of config.json, to know which layers scales go into";
    throw new SafetensorsError("UNSUPPORTED", text);
  }
  const chosen = new Set(weights);
  const isChosen = (module: string): boolean => chosen.has(`${module}.weight`);
  return { checkpoint, statistics, scheme, modelType, isChosen, signal };
}

function quantizeStep(
  tensor: TensorHandle,
  options: QuantizeWeightsOptions,
  crew: QuantizeCrew,
  scaling: AwqScaling | undefined,
  globalScale: number | undefined,
): Step {
  const { scheme, config, signal } = options;
  const { name, shape, byteLength } = tensor;
  const module = moduleOf(name);
  return {
    item: name,
    bytes: byteLength,
    async run() {
      const calibration = await calibrationOf(module, options, scaling);
      const values = await tensor.toFloat32({ signal });
      const rowScale = scaling?.rows.get(module);
      const dtype = tensor.dtype as FloatDtype;
      const own = { ...options.options, ...(globalScale !== undefined && { globalScale }) };
      const job = { kind: "quantize", name, shape, dtype, values, scheme, options: own, config } as const;
      const { parts, ...report } = await crew.run({ ...job, calibration, rowScale });
      const note = options.statistics && !calibration ? { note: uncalibrated(module, scaling) } : {};
      return { parts, note: { name, ...report, ...note } satisfies WeightReport };
    },
  };
}

/** Why a weight is rounded in spite of statistics. */
function uncalibrated(module: string, scaling: AwqScaling | undefined): string {
  const why =
    isExpert(module) || !scaling ? "there are no statistics for it" : "no layer before it can be scaled";
  return `${why}: rounded to nearest`;
}

async function calibrationOf(
  module: string,
  { statistics, actOrder, damp, signal }: QuantizeWeightsOptions,
  scaling: AwqScaling | undefined,
): Promise<Calibration | undefined> {
  const scale = scaling?.columns.get(module);
  // What nothing is folded into is rounded as it is.
  if (!statistics || (scaling && !scale)) return undefined;
  const hasOwn = statistics.owner(module) !== undefined;
  if (scale) {
    const isLimited = hasOwn && scaling?.limited.has(module);
    return {
      kind: "awq",
      scale,
      xtx: isLimited ? (await statistics.read(module, { signal })).xtx : undefined,
    };
  }
  if (!hasOwn) return undefined;
  return { kind: "gptq", xtx: (await statistics.read(module, { signal })).xtx, actOrder, damp };
}

/** What was made stands where the tensors stood that it was made of. */
async function collect(
  checkpoint: Checkpoint,
  spool: Spool,
  { weights, resume }: QuantizeWeightsOptions,
  reused: number,
): Promise<QuantizedWeights> {
  const { items, source } = await spool.read();
  const tensors = new Map<string, TensorHandle>();
  try {
    for (const tensor of checkpoint) {
      for (const part of items.get(tensor.name) ?? [tensor]) {
        if (tensors.has(part.name)) {
          const text = `${quote(part.name)} is there already, and would be made of a weight too`;
          throw new SafetensorsError("DUPLICATE_NAME", text, { tensor: part.name });
        }
        tensors.set(part.name, part);
      }
    }
  } catch (error) {
    await source.close();
    throw error;
  }
  const chosen = new Set(weights);
  const reports = Array.from(spool.entries)
    .filter(({ item }) => chosen.has(item))
    .map(({ note }) => note as WeightReport);
  const close = async (isSaved: boolean): Promise<void> => {
    await source.close();
    await spool.close(resume !== undefined && !isSaved);
  };
  return { tensors, reports, reused, close };
}
