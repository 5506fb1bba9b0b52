import { availableParallelism } from "node:os";
import type { Checkpoint } from "../../checkpoint/checkpoint.ts";
import type { TensorHandle } from "../../checkpoint/tensor.ts";
import { type FloatDtype, isFloatDtype } from "../../dtype/cast.ts";
import { quote, SafetensorsError } from "../../errors.ts";
import type { CalibrationStatistics } from "../../quant/make/calibrated/statistics.ts";
import type { Calibration } from "../../quant/make/job.ts";
import type { QuantizerOptions } from "../../quant/make/quantizer.ts";
import { integerNameOf } from "../../quant/make/quantizer-of.ts";
import { type AwqScaling, type AwqWork, foldingsOf, scalingOf, searchSteps } from "./awq-steps.ts";
import { QuantizeCrew } from "./crew.ts";
import { globalScales } from "./global-scales.ts";
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
  /** Weights that are worked on at a time; as many as there are processors unless given. */
  readonly threads?: number | undefined;
  /** A name for the work and all that it depends on: what is done stays when it is stopped, and the next run takes it up. */
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
  /** How many of them an interrupted run had done. */
  readonly reused: number;
  /** Ends it, and removes what was kept for it beside the output. */
  close(): Promise<void>;
}

/**
 * Quantises weights, some at a time, each by a thread: memory is that of as many of the largest weights, and what is made of
 * them. The results lie in a hidden file in the folder of the output, from which they are to be copied.
 *
 * @throws `TENSOR_NOT_FOUND`, also for statistics that are missing; `UNSUPPORTED` for a weight that has no floats or cannot
 *   be quantised so; errors of reading; `IO`
 */
export async function quantizeWeights(
  folder: string,
  checkpoint: Checkpoint,
  options: QuantizeWeightsOptions,
): Promise<QuantizedWeights> {
  const { threads = availableParallelism(), resume, signal, onProgress } = options;
  const tensors = options.weights.map((name) => floatsIn(checkpoint, name));
  const spool = await Spool.open(folder, resume);
  const crew = new QuantizeCrew(Math.max(1, Math.min(threads, tensors.length)));
  try {
    const awq = awqWork(checkpoint, options, crew);
    const foldings = awq ? foldingsOf(awq) : [];
    const searches = awq ? searchSteps(awq, foldings) : [];
    // A search tries twenty scales for what is then quantised once, so it counts as much.
    const total = [...searches, ...tensors.map(({ byteLength }) => ({ bytes: byteLength }))].reduce(
      (sum, { bytes = 0 }) => sum + bytes,
      0,
    );
    let [done, reused] = [0, 0];
    const stepping: StepOptions = {
      threads,
      signal,
      onStep(step, wasDone) {
        if (wasDone) reused++;
        done += step.bytes;
        onProgress?.(Math.min(done, total), total, step.item);
      },
    };
    await runSteps(spool, searches, stepping);
    const scaling = awq && scalingOf(awq, foldings, spool);
    const scales = await globalScales(tensors, options);
    const steps = tensors.map((tensor) =>
      quantizeStep(tensor, options, crew, scaling, scales.get(tensor.name)),
    );
    await runSteps(spool, steps, stepping);
    await runSteps(spool, scaling?.rewrites ?? [], { ...stepping, onStep: () => {} });
    await spool.close();
    return await collect(checkpoint, spool, new Set(options.weights), reused);
  } catch (error) {
    await spool.close();
    if (resume === undefined) await spool.remove();
    throw error;
  } finally {
    await crew.close();
  }
}

function floatsIn(checkpoint: Checkpoint, name: string): TensorHandle {
  const tensor = checkpoint.get(name);
  if (isFloatDtype(tensor.dtype)) return tensor;
  const text = `tensor ${quote(name)} is of ${tensor.dtype}, no floats`;
  throw new SafetensorsError("UNSUPPORTED", text, { tensor: name });
}

function awqWork(
  checkpoint: Checkpoint,
  { scheme, statistics, modelType, weights, signal }: QuantizeWeightsOptions,
  crew: QuantizeCrew,
): AwqWork | undefined {
  if (!statistics || integerNameOf(scheme)?.family !== "awq") return undefined;
  if (modelType === undefined) {
    const text = "AWQ needs the model_type of config.json, to know which layers scales go into";
    throw new SafetensorsError("UNSUPPORTED", text);
  }
  const chosen = new Set(weights);
  const isChosen = (module: string): boolean => chosen.has(`${module}.weight`);
  return { checkpoint, statistics, scheme, modelType, isChosen, crew, signal };
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
  const module = name.replace(/\.weight$/, "");
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
      try {
        const { parts, ...report } = await crew.run({ ...job, calibration, rowScale });
        return { parts, note: { name, ...report } satisfies WeightReport };
      } catch (error) {
        if (!(error instanceof SafetensorsError) || error.details.tensor === name) throw error;
        const details = { ...error.details, tensor: name, cause: error };
        throw new SafetensorsError(error.code, `tensor ${quote(name)}: ${error.reason}`, details);
      }
    },
  };
}

async function calibrationOf(
  module: string,
  { statistics, actOrder, damp, signal }: QuantizeWeightsOptions,
  scaling: AwqScaling | undefined,
): Promise<Calibration | undefined> {
  if (!statistics) return undefined;
  if (!scaling) return { kind: "gptq", xtx: (await statistics.read(module, { signal })).xtx, actOrder, damp };
  const scale = scaling.columns.get(module);
  // What nothing is folded into is rounded as it is.
  if (!scale) return undefined;
  const xtx = scaling.limited.has(module) ? (await statistics.read(module, { signal })).xtx : undefined;
  return { kind: "awq", scale, xtx };
}

/** What was made stands where the tensors stood that it was made of. */
async function collect(
  checkpoint: Checkpoint,
  spool: Spool,
  weights: ReadonlySet<string>,
  reused: number,
): Promise<QuantizedWeights> {
  const { tensors: made, source } = await spool.read();
  const byName = new Map(made.map((tensor) => [tensor.name, tensor]));
  const partsOf = new Map(Array.from(spool.entries, ({ item, tensors }) => [item, tensors]));
  const tensors = new Map<string, TensorHandle>();
  const put = (tensor: TensorHandle): void => {
    if (tensors.has(tensor.name)) {
      const text = `${quote(tensor.name)} is there already, and would be made of a weight too`;
      throw new SafetensorsError("DUPLICATE_NAME", text, { tensor: tensor.name });
    }
    tensors.set(tensor.name, tensor);
  };
  try {
    for (const tensor of checkpoint) {
      const parts = partsOf.get(tensor.name);
      if (!parts) put(tensor);
      else for (const { name } of parts) put(byName.get(name)!);
    }
  } catch (error) {
    await source.close();
    throw error;
  }
  const reports = Array.from(spool.entries)
    .filter(({ item }) => weights.has(item))
    .map(({ note }) => note as WeightReport);
  const close = async (): Promise<void> => {
    await source.close();
    await spool.remove();
  };
  return { tensors, reports, reused, close };
}
