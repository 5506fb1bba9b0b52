import { type Command, InvalidArgumentError, Option } from "commander";
import {
  type Checkpoint,
  type FileStore,
  parseJsonFiles,
  readTextFiles,
  SafetensorsError,
} from "safetensors.js";
import {
  DEFAULT_ORDER,
  type ExpertPlacement,
  legalWorldSizes,
  type MeshAxis,
  type ModelConfig,
  type ParallelPlan,
  parsePlan,
  planFor,
  type UnevenRule,
  type WorldOptions,
  type WorldSizes,
  type WorldSizeVerdict,
} from "safetensors.js/parallel";
import { findQuantized, QUANT_CONFIG_FILES } from "safetensors.js/quant";
import { readJsonFile } from "./json-file.ts";
import { checkUnderstood } from "./quantization.ts";

/** Options of every command that divides a model among ranks. */
export interface WorldFlags {
  readonly tp?: number;
  readonly pp?: number;
  readonly ep?: number;
  readonly dp?: number;
  readonly plan?: string;
  readonly config?: string;
  readonly uneven?: UnevenRule;
  readonly order?: readonly MeshAxis[];
  readonly experts?: number;
  readonly expertsOver?: readonly MeshAxis[];
  readonly expertPlacement?: ExpertPlacement;
  readonly padVocabulary?: number;
}

/** The most ranks of tensor parallelism that are tried in order to say which would do. */
const MOST_SIZES = 64;

/** Plans that come with the library. */
const RULES = ["auto", "vllm", "transformers"];

/** What the help says of plans. */
export const PLAN_HELP = `
--plan auto and vllm are the rules of vLLM and Megatron for the model type that config.json says:
attention is cut between heads, and key heads are shared where they are fewer than the ranks.
transformers is its own plan, word for word. A file has patterns and styles, as transformers
writes its base_model_tp_plan:
  { "layers.*.self_attn.q_proj": "colwise", "layers.*.self_attn.o_proj": "rowwise" }
A star is a number. What no pattern is for is whole in every rank; safetensors plan lists it.
config.json beside the input is found by itself.`;

/** Adds the options that every such command has. */
export function addWorldOptions(command: Command): Command {
  const choice = (flags: string, text: string, choices: readonly string[]): Option =>
    new Option(flags, text).choices(choices);
  return command
    .option("--tp <ranks>", "tensor parallelism: tensors are cut", parseCount)
    .option("--pp <ranks>", "pipeline parallelism: each stage has some layers", parseCount)
    .option("--ep <ranks>", "expert parallelism: each rank has some experts", parseCount)
    .option("--dp <ranks>", "data parallelism: ranks have the same", parseCount)
    .option("--plan <file-or-rules>", `how tensors are cut: a file, ${RULES.join(", ")}`, "auto")
    .option("--config <file>", "the model's config.json, if it does not lie beside the input")
    .addOption(
      choice("--uneven <rule>", "sizes that do not divide: the last ranks get less, or an error", [
        "chunk",
        "strict",
      ]),
    )
    .option(
      "--order <axes>",
      `which ranks are neighbours, the last axis's first (default: ${DEFAULT_ORDER})`,
      parseAxes,
    )
    .option("--experts <number>", "experts of a layer, if config.json does not say it", parseCount)
    .option("--experts-over <axes>", "ranks that whole experts are spread over: dp,tp …", parseAxes)
    .addOption(
      choice("--expert-placement <rule>", "neighbours in a rank, or every so many", [
        "linear",
        "round_robin",
      ]),
    )
    .option("--pad-vocabulary <number>", "pad the vocabulary to a multiple (vLLM: 64)", parseCount);
}

/** Options that were given. */
export function sizesOf({ tp, pp, ep, dp }: WorldFlags): WorldSizes {
  return { ...(tp && { tp }), ...(pp && { pp }), ...(ep && { ep }), ...(dp && { dp }) };
}

/**
 * How a model is divided, by the options of the command and what lies beside the weights.
 *
 * @param whole the checkpoint to divide; nothing where it is only in parts.
 * @throws errors of the files; `INVALID_SLICE`, `UNSUPPORTED` for a plan that is none
 */
export async function worldOptionsOf(
  flags: WorldFlags,
  world: WorldSizes,
  store: FileStore,
  whole: Checkpoint | undefined,
  signal: AbortSignal,
): Promise<WorldOptions> {
  const texts = await readTextFiles(store, QUANT_CONFIG_FILES, { signal });
  const given = flags.config === undefined ? {} : { "config.json": await readJsonFile(flags.config) };
  const configs = { ...parseJsonFiles(texts), ...given };
  const config = configOf(configs["config.json"]);
  const { uneven, order, experts: count, expertsOver: over, expertPlacement: placement } = flags;
  const plan = (world.tp ?? 1) > 1 ? await planOf(flags, config) : undefined;
  const quantized = whole && (await findQuantized(whole, { configs, signal }));
  if (quantized && plan) checkUnderstood(quantized);
  const isQuantized = quantized !== undefined && quantized.weightOf.size + quantized.extras.size > 0;
  return {
    world,
    ...(order && { order }),
    ...(config && { config }),
    ...(plan && { plan }),
    ...(uneven && { uneven }),
    ...(isQuantized && { quantized }),
    experts: { ...(count && { count }), ...(over && { over }), ...(placement && { placement }) },
  };
}

function configOf(value: unknown): ModelConfig | undefined {
  if (value === undefined) return undefined;
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as ModelConfig;
  throw new SafetensorsError("INVALID_JSON", "config.json is no JSON object", { file: "config.json" });
}

async function planOf(
  { plan = "auto", padVocabulary }: WorldFlags,
  config: ModelConfig | undefined,
): Promise<ParallelPlan> {
  if (RULES.includes(plan)) {
    if (!config) {
      const text = `there is no config.json beside the input, which --plan ${plan} needs; name one with --config, or a plan with --plan FILE`;
      throw new SafetensorsError("NOT_FOUND", text, { file: "config.json" });
    }
    const rules = plan === "transformers" ? "transformers" : "vllm";
    try {
      return planFor(config, { rules, ...(padVocabulary && { vocabularyMultiple: padVocabulary }) });
    } catch (error) {
      if (!(error instanceof SafetensorsError)) throw error;
      const text = `config.json: ${error.reason}; name another with --config, or a plan with --plan FILE`;
      throw new SafetensorsError(error.code, text, error.details);
    }
  }
  const value = await readJsonFile(plan);
  try {
    return parsePlan(value.base_model_tp_plan ?? value);
  } catch (error) {
    throw error instanceof SafetensorsError ? error.inFile(plan) : error;
  }
}

/** An error of dividing in the words of the command, with the sizes that would do. */
export function explained(error: unknown, options: WorldOptions, whole: Checkpoint): unknown {
  const { tp = 1, ...others } = options.world;
  if (!(error instanceof SafetensorsError) || error.code !== "INVALID_SLICE") return error;
  const needed = /^(.* needs) the option "config" or /.exec(error.reason)?.[1];
  if (needed !== undefined) {
    const text = `${needed} a config.json, and there is none beside the input; name one with --config`;
    return new SafetensorsError("NOT_FOUND", text, error.details);
  }
  const coded = /^(.* looks like a part of a quantised weight): give/.exec(error.reason)?.[1];
  if (coded !== undefined) {
    const text = `${coded}, and neither config.json nor the names beside it say how it is quantised`;
    return new SafetensorsError("UNSUPPORTED", text, error.details);
  }
  if (tp === 1) return error;
  const fitting = sizeVerdicts({ ...options, world: others }, whole)
    ?.filter(({ obstacles }) => obstacles.length === 0)
    .map((verdict) => verdict.tp);
  if (fitting === undefined || fitting.includes(tp)) return error;
  const dense = options.quantized ? ", but of the dense weights, which safetensors dequantize makes" : "";
  const which =
    fitting.length > 1
      ? `--tp ${fitting.slice(1).join(", ")} would do`
      : `no other --tp up to ${MOST_SIZES} would do${dense}`;
  return new SafetensorsError(error.code, `${error.reason}; ${which}`, error.details);
}

/**
 * For each number of ranks of tensor parallelism what forbids it, if anything does, by the rule for uneven sizes that the
 * command has. Nothing, if the model cannot be divided so at all.
 */
export function sizeVerdicts(
  { world: { tp: _, ...world }, ...options }: WorldOptions,
  whole: Checkpoint,
): WorldSizeVerdict[] | undefined {
  try {
    return legalWorldSizes({ uneven: "chunk", ...options, world, upTo: MOST_SIZES }, whole);
  } catch (error) {
    // What does not depend on the size: the first error says it.
    if (error instanceof SafetensorsError) return undefined;
    throw error;
  }
}

/** A number from 1 on. */
function parseCount(text: string): number {
  const count = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(count) && count > 0) return count;
  throw new InvalidArgumentError("It is a whole number from 1 on.");
}

function parseAxes(text: string): readonly MeshAxis[] {
  const axes = text.split(",");
  const known: readonly string[] = DEFAULT_ORDER;
  if (axes.every((axis) => known.includes(axis))) return axes as MeshAxis[];
  throw new InvalidArgumentError(`They are some of ${known.join(",")}, such as dp,tp.`);
}

/** `tp 1 of 4, pp 0 of 2`. */
export function placeText(at: Readonly<Record<MeshAxis, number>>, world: WorldSizes): string {
  const axes = DEFAULT_ORDER.filter((axis) => (world[axis] ?? 1) > 1);
  return axes.map((axis) => `${axis} ${at[axis]}`).join(", ");
}
