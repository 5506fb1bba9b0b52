import { quote } from "../errors.ts";
import { ConfigReader, type ModelConfig } from "./config.ts";
import { layerOf, purposeOf, type Stack } from "./layers.ts";
import { problem } from "./problem.ts";

/** Layers `start` to `stop - 1`. */
export interface LayerRange {
  readonly start: number;
  readonly stop: number;
}

/** How a model is divided into stages. */
export interface PipelineOptions {
  readonly stages: number;
  /**
   * Layers of each stack; see `layerCounts`. Not the highest number in a name: layers after these are for training.
   */
  readonly layers: Readonly<Partial<Record<Stack, number>>>;
  /** How many layers each stage has, where the rule of vLLM is not wanted. */
  readonly partition?: Readonly<Partial<Record<Stack, readonly number[]>>>;
  /** Whether the head is the embedding, which the last stage then has too. */
  readonly tied?: boolean;
  /** What becomes of layers that predict further tokens ahead (MTP). `last` if not given. */
  readonly extraLayers?: "last" | "skip";
}

/** Most stages: more than any model has layers. */
const MAX_STAGES = 4096;

/**
 * Which layers each stage has: a list's, or as vLLM divides them. There what is left over goes to the stages before
 * the last, one each, as the last has the head.
 *
 * @throws `INVALID_SLICE` for a list that is not of these stages and layers
 */
export function stageLayers(layers: number, stages: number, partition?: readonly number[]): LayerRange[] {
  checkStages(stages);
  if (!(Number.isSafeInteger(layers) && layers >= 0)) throw problem(`${layers} is no number of layers`);
  let stop = 0;
  return (partition ? checkPartition(layers, stages, partition) : defaultPartition(layers, stages)).map(
    (count) => {
      const start = stop;
      stop += count;
      return { start, stop };
    },
  );
}

function checkStages(stages: number): void {
  if (Number.isSafeInteger(stages) && stages > 0 && stages <= MAX_STAGES) return;
  throw problem(`${stages} is no number of stages from 1 to ${MAX_STAGES}`);
}

function checkPartition(layers: number, stages: number, partition: readonly number[]): readonly number[] {
  const sum = partition.reduce((sum, count) => sum + count, 0);
  const areCounts = partition.every((count) => Number.isSafeInteger(count) && count >= 0);
  if (areCounts && partition.length === stages && sum === layers) return partition;
  throw problem(`${partition.join(" + ")} do not make ${layers} layers of ${stages} stages`);
}

function defaultPartition(layers: number, stages: number): number[] {
  const more = layers % stages;
  const first = stages - 1 - more;
  return Array.from({ length: stages }, (_, stage) => {
    return Math.floor(layers / stages) + (stage >= first && stage < stages - 1 ? 1 : 0);
  });
}

/** The number of layers of each stack by the configuration of a model. `INVALID_SLICE` if it does not say it. */
export function layerCounts(config: ModelConfig): Readonly<Record<Stack, number>> {
  const reader = new ConfigReader(config);
  const names = ["num_hidden_layers", "n_layer", "num_layers", "n_layers"];
  const layers = reader.required(...names, "encoder_layers");
  return {
    layers,
    encoder: reader.optional("encoder_layers", "num_layers") ?? layers,
    decoder: reader.optional("decoder_layers", "num_decoder_layers") ?? layers,
  };
}

/** Which stages have a tensor, and whether that is known: what no rule is for is in every stage. */
export interface StagesOfTensor {
  readonly stages: readonly number[];
  readonly isKnown: boolean;
}

/**
 * The stages that have a tensor, by its name. Layers are where the partition says; embeddings, what sees and hears,
 * in the first stage; the last norm and the heads in the last; tables of positions in every stage.
 *
 * @throws `INVALID_SLICE` for a layer of a stack whose number of layers is not given
 */
export function stagesOf(name: string, options: PipelineOptions): StagesOfTensor {
  const { stages, tied = false, extraLayers = "last" } = options;
  checkStages(stages);
  const last = stages - 1;
  const known = (...stages: number[]): StagesOfTensor => ({ stages: [...new Set(stages)], isKnown: true });
  const every = (): number[] => Array.from({ length: stages }, (_, stage) => stage);
  const ahead = extraLayers === "skip" ? known() : known(last);
  switch (purposeOf(name)) {
    case "tower":
    case "first":
      return known(0);
    case "tokens":
      return known(0, ...(tied ? [last] : []));
    case "positions":
      return { stages: every(), isKnown: true };
    case "last":
      return known(last);
    case "ahead":
      return ahead;
    case "unknown":
      return { stages: every(), isKnown: false };
    case "layer": {
      const { stack, index } = layerOf(name)!;
      const layers = options.layers[stack];
      if (layers === undefined) {
        const text = `the number of layers of the stack of tensor ${quote(name)}, "${stack}", is not given`;
        throw problem(text, { tensor: name });
      }
      if (index >= layers) return ahead;
      const ranges = stageLayers(layers, stages, options.partition?.[stack]);
      return known(ranges.findIndex(({ start, stop }) => index >= start && index < stop));
    }
  }
}
