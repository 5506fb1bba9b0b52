import { DTYPES, type Dtype } from "../dtype/dtype.ts";
import { quote, type SafetensorsError } from "../errors.ts";
import { cutOfDense, cutPartsToStore, denseShape } from "../quant/cut-parts.ts";
import type { Quantization } from "../quant/find.ts";
import type { PartData, QuantizedWeight } from "../quant/weight.ts";
import { type Cut, WHOLE } from "../view/cut.ts";
import type { UnevenRule } from "./axis.ts";
import { ConfigReader, EXPERT_COUNTS, type ModelConfig } from "./config.ts";
import { cutExperts, type ExpertPart, type ExpertPlacement, expertPartOf } from "./experts.ts";
import { type Coordinates, Mesh, type MeshAxis, type WorldSizes } from "./mesh.ts";
import { layerCounts, type PipelineOptions, type StagesOfTensor, stagesOf } from "./pipeline.ts";
import type { ParallelPlan, PlanReport } from "./plan.ts";
import { planFor } from "./plan-for.ts";
import { problem } from "./problem.ts";
import { type Style, shardTensor } from "./style.ts";

/** A world of ranks, and how a model is divided among them. */
export interface WorldOptions {
  readonly world: WorldSizes;
  /** Which ranks are neighbours; `DEFAULT_ORDER` if not given. vLLM: `["dp", "pp", "ep", "tp"]`. */
  readonly order?: readonly MeshAxis[];
  /** The content of config.json: what is not given otherwise is taken from it. */
  readonly config?: ModelConfig;
  /** Tensor parallelism: `planFor(config)` if not given. */
  readonly plan?: ParallelPlan;
  readonly uneven?: UnevenRule;
  /** Names of modules that are embeddings; see `ShardOptions`. */
  readonly embeddings?: readonly string[];
  readonly experts?: {
    /** Experts of a layer. */
    readonly count?: number;
    readonly placement?: ExpertPlacement;
    readonly uneven?: UnevenRule;
    /**
     * The ranks that whole experts are spread over: `["ep"]` if not given. With "tp" among them (vLLM and
     * transformers: `["dp", "tp"]`) experts are not cut by the plan.
     */
    readonly over?: readonly MeshAxis[];
  };
  readonly pipeline?: Partial<Omit<PipelineOptions, "stages">>;
  /**
   * The quantised weights, as `findQuantized` gives them: all stored tensors of one are cut as the dense weight would be.
   * Without it, they are tensors like others, and packed integers are not cut.
   */
  readonly quantized?: Pick<Quantization, "weightOf" | "extras">;
}

/** What is known of a tensor before it is read. */
export interface TensorInfo {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

/** What a rank has of a tensor: a part of it, or other bytes, where the tensor states the shape of a quantised weight. */
export interface Share {
  readonly cut: Cut;
  readonly restated?: PartData;
}

/** What the name of a tensor says, which is the same for all ranks. */
interface Facts {
  readonly stages: StagesOfTensor | undefined;
  readonly expert: ExpertPart | undefined;
  readonly style: Style | undefined;
}

/** The options with all that they need. What is not divided needs nothing. */
export class Division {
  readonly mesh: Mesh;
  readonly #options: WorldOptions;
  readonly #plan: ParallelPlan | undefined;
  readonly #pipeline: PipelineOptions | undefined;
  readonly #expertAxes: readonly MeshAxis[];
  readonly #experts: number | undefined;
  readonly #facts = new Map<string, Facts>();

  constructor(options: WorldOptions, tensors: readonly TensorInfo[]) {
    const { world, order, config } = options;
    this.#options = options;
    this.mesh = new Mesh(world, order);
    const { tp, pp } = this.mesh.sizes;
    if (tp > 1) this.#plan = options.plan ?? planFor(needed(config, "plan", "tensor parallelism"));
    if (pp > 1) this.#pipeline = pipelineOf(options, pp, tensors);
    this.#expertAxes = options.experts?.over ?? ["ep"];
    const isSpread = this.#expertAxes.some((axis) => this.mesh.sizes[axis] > 1);
    if (isSpread && tensors.some(({ name }) => expertPartOf(name))) this.#experts = expertCount(options);
  }

  /** What the rank at a place has of a tensor; nothing, if not even an empty part. */
  shareOf(info: TensorInfo, at: Coordinates): Share | undefined {
    const { quantized } = this.#options;
    const weight = quantized?.weightOf.get(info.name);
    if (weight) return this.#shareOfPart(info, weight, at);
    if (!quantized?.extras.has(info.name)) {
      const cut = this.#cutOf(info.name, info.shape, at);
      if (cut && cut.length > 0) checkUncoded(info, cut);
      return cut && { cut };
    }
    const { stages } = this.#factsOf(info.name);
    return stages && !stages.stages.includes(at.pp) ? undefined : { cut: WHOLE };
  }

  #shareOfPart({ name, shape }: TensorInfo, weight: QuantizedWeight, at: Coordinates): Share | undefined {
    const cut = this.#cutOf(weight.name, denseShape(weight), at);
    if (!cut) return undefined;
    const { parts } = cutPartsToStore(weight, cutOfDense(weight, cut));
    const part = parts.find((one) => one.part.name === name);
    if (part && `${shape}` !== `${part.part.shape}`) throw otherTensor(name, shape, part.part.shape);
    if (!part) return { cut: cutBeside(shape, weight, cut) };
    return { cut: part.cut, ...(part.restated && { restated: part.restated }) };
  }

  #cutOf(name: string, shape: readonly number[], at: Coordinates): Cut | undefined {
    const { stages, expert, style } = this.#factsOf(name);
    if (stages && !stages.stages.includes(at.pp)) return undefined;
    if (!expert) return this.#tensorCut(name, shape, style, at);
    const { experts: { placement, uneven } = {} } = this.#options;
    const part = cutExperts(expert, shape, {
      experts: this.#experts!,
      ...this.mesh.among(this.#expertAxes, at),
      ...(placement && { placement }),
      ...(uneven && { uneven }),
    });
    if (part === "none") return undefined;
    const inside = this.#expertAxes.includes("tp") ? WHOLE : this.#tensorCut(name, shape, style, at);
    return part === "whole" ? inside : [part, ...inside];
  }

  /** Ranks with the same have the same. */
  placeOf(at: Coordinates): string {
    return `${at.pp} ${at.tp} ${this.mesh.among(this.#expertAxes, at).rank}`;
  }

  /** What the plan did not do, and the tensors that are in every stage for want of a rule. */
  report(names: readonly string[]): { readonly plan?: PlanReport; readonly unplaced: readonly string[] } {
    const plan = this.#plan?.report(names);
    const unplaced = names.filter((name) => this.#factsOf(name).stages?.isKnown === false);
    return { ...(plan && { plan }), unplaced };
  }

  #factsOf(name: string): Facts {
    const known = this.#facts.get(name);
    if (known) return known;
    const facts: Facts = {
      stages: this.#pipeline && stagesOf(name, this.#pipeline),
      expert: this.#experts === undefined ? undefined : expertPartOf(name),
      style: this.#plan?.styleOf(name),
    };
    this.#facts.set(name, facts);
    return facts;
  }

  #tensorCut(name: string, shape: readonly number[], style: Style | undefined, at: Coordinates): Cut {
    if (style === undefined) return WHOLE;
    const { uneven, embeddings } = this.#options;
    return shardTensor(name, shape, style, {
      rank: at.tp,
      world: this.mesh.sizes.tp,
      ...(uneven && { uneven }),
      ...(embeddings && { embeddings }),
    });
  }
}

/** What is beside the weights of several experts, such as one scale of inputs for each, goes with the experts. */
function cutBeside(shape: readonly number[], weight: QuantizedWeight, cut: Cut): Cut {
  const hasExperts = weight.shape.length === 3 && shape[0] === weight.shape[0];
  return hasExperts ? cut.filter(({ axis }) => axis === 0) : WHOLE;
}

function otherTensor(name: string, shape: readonly number[], found: readonly number[]): SafetensorsError {
  const text = `tensor ${quote(name)} of shape [${shape}] is not the part of a quantised weight that was found, of shape [${found}]: dense tensors are divided without the option "quantized"`;
  return problem(text, { tensor: name });
}

/** Packed codes of quantised weights look like integers: cut like a plain matrix, they would be wrong without a sign of it. */
function checkUncoded({ name, dtype, shape }: TensorInfo, cut: Cut): void {
  if (DTYPES[dtype].kind === "float" && DTYPES[dtype].bits >= 8) return;
  const text = `tensor ${quote(name)} (${dtype} [${shape}]) would be cut along axis ${cut[0]!.axis}, but looks like a part of a quantised weight: give the option "quantized"`;
  throw problem(text, { tensor: name });
}

function pipelineOf(
  { config, pipeline = {} }: WorldOptions,
  stages: number,
  tensors: readonly TensorInfo[],
): PipelineOptions {
  const layers = pipeline.layers ?? layerCounts(needed(config, "pipeline.layers", "pipeline parallelism"));
  // Without a head in the checkpoint the last stage can only make it of the embeddings.
  const hasHead = (): boolean =>
    tensors.some(({ name }) => /^(?:.*\.)?(?:lm_head|embed_out)\.|^output\./.test(name));
  const isTied = config ? new ConfigReader(config).flag("tie_word_embeddings") : undefined;
  return { tied: isTied ?? !hasHead(), ...pipeline, stages, layers };
}

function expertCount({ config, experts }: WorldOptions): number {
  if (experts?.count !== undefined) return experts.count;
  return new ConfigReader(needed(config, "experts.count", "expert parallelism")).required(...EXPERT_COUNTS);
}

function needed(config: ModelConfig | undefined, option: string, purpose: string): ModelConfig {
  if (config) return config;
  throw problem(`${purpose} needs the option "config" or "${option}"`);
}
