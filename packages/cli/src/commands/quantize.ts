import { type Command, InvalidArgumentError, Option } from "commander";
import { type Checkpoint, SafetensorsError, type TensorHandle } from "safetensors.js";
import type { FloatDtype } from "safetensors.js/dtype";
import { checkQuantizable, openPath, quantizeWeights, type WeightReport } from "safetensors.js/node";
import { QUANT_ONLY_FILES, withQuantizationConfig } from "safetensors.js/quant";
import {
  CalibrationStatistics,
  chooseWeights,
  misfitReason,
  type QuantizerOptions,
  quantizedConfig,
  quantizerOf,
  usualReason,
  type WeightChoice,
} from "safetensors.js/quantize";
import type { TensorStream } from "safetensors.js/save";
import { checkChoice, globsFilter } from "../glob.ts";
import { plural } from "../output/numbers.ts";
import { type Fact, listed } from "../output/summary.ts";
import { nameText } from "../output/text.ts";
import { formatValue } from "../output/values.ts";
import { isOneFile } from "../output-path.ts";
import { quantizationOf } from "../quantization.ts";
import { ownVersion } from "../version.ts";
import { openWeightsInput, type WeightsInput } from "../weights-input.ts";
import {
  addWritingOptions,
  identityOf,
  OUTPUT,
  type Progress,
  parseSizeOption,
  runWriting,
  WRITING_EXITS,
  WRITING_HELP,
  type Writing,
  type WritingOptions,
} from "../writing.ts";

interface QuantizeCommandOptions extends WritingOptions {
  readonly scheme: string;
  readonly names?: string[];
  readonly exclude?: string[];
  readonly statistics?: string;
  readonly actOrder?: true;
  readonly damp?: number;
  readonly scaleRule?: QuantizerOptions["scaleRule"];
  readonly threads?: number;
  readonly maxShardSize?: number;
}

/** Weights, the worst first, and skipped tensors that are listed; --json has all. */
const LISTED = 5;

const HELP = `
Schemes:
  fp8-dynamic       FP8, a scale for each row; inputs are quantized as they come (compressed-tensors)
  fp8-tensor        FP8, one scale for a weight (compressed-tensors)
  fp8-block         FP8, blocks of 128x128 (as DeepSeek-V3)
  gptq-int4-g128    integers of 2, 3, 4, 8 bits, groups of any size; without -g…, a row is one
  awq-int4-g128     integers of 4 bits, in the layout of AWQ
  w4a16, ct-int4-g128, ct-int8   integers of 2 to 8 bits (compressed-tensors)
  mxfp4, nvfp4      floats of 4 bits (compressed-tensors)
  nf4               floats of 4 bits (bitsandbytes)
  -asym at the end of gptq- and ct- schemes: with zero points

What is quantized: the weights of linear layers. Heads, embeddings, norms, routers of experts,
towers for images and what does not fit the scheme stay dense; --names takes what it names instead.

Without --statistics, values are rounded to the nearest that there is. With a file of statistics of
the layers' inputs, gptq- and ct- schemes are made by GPTQ, and awq- ones by AWQ, whose scales go
into the layers before. See docs/statistics.md for the file, and how to make one.

Into a folder, config.json is written too, with the quantization_config that transformers and vLLM
expect. The work of a run with --resume that is stopped is taken up by the same command.
${WRITING_HELP}

Examples:
  safetensors quantize llama/ llama-fp8/ --scheme fp8-dynamic --with-files
  safetensors quantize llama/ llama-gptq/ --scheme gptq-int4-g128 --statistics stats.safetensors
  safetensors quantize llama/ llama-nf4/ --scheme nf4 --exclude '*.down_proj.*' --dry-run
${WRITING_EXITS}`;

/** Adds `quantize` to the program. */
export function addQuantize(program: Command): void {
  const command = program
    .command("quantize")
    .summary("quantize the weights of a checkpoint")
    .description("Writes a checkpoint with the weights of its linear layers quantized.")
    .argument("<input>", "a safetensors file, an index, a folder with either, or an address")
    .argument("<output>", OUTPUT)
    .requiredOption("--scheme <name>", "how to quantize; see below")
    .option("--names <glob...>", "quantize the weights whose names match: * is any text, ? is one character")
    .option("--exclude <glob...>", "leave weights whose names match as they are")
    .option("--statistics <file>", "what the inputs of the layers are like, for GPTQ and AWQ")
    .option("--act-order", "GPTQ: quantize the inputs that matter most first")
    .option(
      "--damp <share>",
      "GPTQ: what is added to the diagonal, of its mean; 0.01 if not given",
      parseDamp,
    )
    .addOption(
      new Option("--scale-rule <rule>", "mxfp4: how scales are chosen").choices([
        "floor",
        "even",
        "ceil",
        "rceil",
      ]),
    )
    .option(
      "--threads <n>",
      "weights that are worked on at a time; all processors if not given",
      parseThreads,
    )
    .option("--max-shard-size <size>", "files of at most 5GB, 500MB …, in a folder", parseSizeOption);
  addWritingOptions(command)
    .addHelpText("after", HELP)
    .action(async (input: string, output: string, options: QuantizeCommandOptions) => {
      process.exitCode = await runWriting("quantized", output, options, async (signal, onProgress) => {
        const { statistics: path } = options;
        const weights = await openWeightsInput(input, signal);
        let file: Checkpoint | undefined;
        const close = async (): Promise<void> => {
          await file?.close();
          await weights.whole.close();
        };
        try {
          if (path !== undefined) file = await openPath(path, { signal });
          const statistics = file && new CalibrationStatistics(file);
          return { ...(await quantize(weights, output, options, statistics, signal, onProgress)), close };
        } catch (error) {
          await close();
          throw error;
        }
      });
    });
}

async function quantize(
  weights: WeightsInput,
  output: string,
  options: QuantizeCommandOptions,
  statistics: CalibrationStatistics | undefined,
  signal: AbortSignal,
  onProgress: Progress,
): Promise<Writing> {
  const { whole, store, paths } = weights;
  const { scheme, scaleRule, actOrder, damp, threads, maxShardSize } = options;
  const own: QuantizerOptions = scaleRule === undefined ? {} : { scaleRule };
  const quantizer = quantizerOf(scheme, own);
  const { quantization, texts } = await quantizationOf(whole, store, signal);
  if (quantization.weights.size + quantization.unsupported.length > 0) {
    const text = "its weights are quantized already; make them dense first, by `safetensors dequantize`";
    throw new SafetensorsError("UNSUPPORTED", text);
  }
  const model = configIn(texts);
  const choice = choose(whole, quantizer, model, options);
  const names = choice.quantized.map(({ name }) => name);
  const dtype = choice.quantized[0]!.dtype as FloatDtype;
  const { quantizationConfig, files } = quantizedConfig({
    scheme: quantizer.scheme,
    actOrder: actOrder ?? false,
    quantized: names.map(moduleOf),
    dense: choice.dense,
    dtype,
    producer: `safetensors.js:${ownVersion()}`,
  });
  const alsoRead = options.statistics === undefined ? [] : [options.statistics];
  const work = {
    weights: names,
    scheme: quantizer.scheme,
    options: own,
    config: quantizationConfig,
    statistics,
    actOrder,
    damp,
    modelType: textOf(model.model_type),
    threads,
    resume: options.resume ? `${ownVersion()} ${await identityOf(paths, alsoRead)}` : undefined,
    signal,
    onProgress,
  };
  checkQuantizable(whole, work);
  const config = texts.get("config.json") ?? "{}\n";
  const unsaid: Fact[] = isOneFile(output)
    ? [["configuration", "not beside a file: to have config.json say how it is quantized, name a folder"]]
    : [];
  return {
    tensors: outline(whole, quantizer, choice),
    ...factsOf(choice, [], unsaid),
    async make() {
      const made = await quantizeWeights(output, whole, work);
      const more: Fact[] =
        made.reused === 0 ? unsaid : [["taken up", plural(made.reused, "result")], ...unsaid];
      return { tensors: made.tensors, ...factsOf(choice, made.reports, more), close: made.close };
    },
    metadata: whole.metadata,
    maxShardSize,
    inputs: paths,
    alsoRead,
    texts: new Map<string, string | undefined>([
      ...QUANT_ONLY_FILES.map((name) => [name, undefined] as const),
      ["config.json", withQuantizationConfig(config, quantizationConfig)],
      ...Array.from(files, ([name, value]) => [name, `${JSON.stringify(value, null, 2)}\n`] as const),
    ]),
  };
}

const moduleOf = (name: string): string => name.replace(/\.weight$/, "");

const textOf = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);

function configIn(texts: ReadonlyMap<string, string>): Readonly<Record<string, unknown>> {
  const value: unknown = JSON.parse(texts.get("config.json") ?? "{}");
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

const NOT_NAMED = "is not named";

/** Which weights are quantised, and why the others are not. */
function choose(
  whole: Checkpoint,
  quantizer: ReturnType<typeof quantizerOf>,
  model: Readonly<Record<string, unknown>>,
  { names, exclude, scheme }: QuantizeCommandOptions,
): WeightChoice<TensorHandle> {
  checkChoice(whole.keys(), names);
  checkChoice(whole.keys(), exclude);
  const isNamed = globsFilter(names ?? []);
  const isExcluded = globsFilter(exclude ?? []);
  const usual = usualReason(new Map(Object.entries(model)));
  const misfit = misfitReason(quantizer);
  const choice = chooseWeights(whole, (tensor) => {
    if (names && !isNamed(tensor.name)) return NOT_NAMED;
    if (isExcluded(tensor.name)) return "is excluded";
    return misfit(tensor) ?? (names ? undefined : usual(tensor));
  });
  if (choice.quantized.length > 0) return choice;
  const skipped = [...choice.skipped];
  const first = skipped.find(([, why]) => why !== NOT_NAMED) ?? skipped[0];
  const example = first ? `; for example, ${nameText(first[0])}: ${first[1]}` : "";
  throw new SafetensorsError("UNSUPPORTED", `there is nothing to quantize as ${scheme}${example}`);
}

/** The output as it would be, without data. */
function outline(
  whole: Checkpoint,
  quantizer: ReturnType<typeof quantizerOf>,
  { quantized }: WeightChoice<TensorHandle>,
): Map<string, TensorHandle | TensorStream> {
  const chosen = new Set(quantized.map(({ name }) => name));
  const tensors = new Map<string, TensorHandle | TensorStream>();
  for (const tensor of whole) {
    if (!chosen.has(tensor.name)) {
      tensors.set(tensor.name, tensor);
      continue;
    }
    const parts = quantizer.describe(tensor.shape, tensor.dtype as FloatDtype);
    for (const { role, dtype, shape } of typeof parts === "string" ? [] : parts)
      tensors.set(`${moduleOf(tensor.name)}.${role}`, { dtype, shape, chunks: () => [] });
  }
  return tensors;
}

function factsOf(
  { quantized, skipped, dense }: WeightChoice<TensorHandle>,
  reports: readonly WeightReport[],
  more: readonly Fact[],
): Required<Pick<Writing, "facts" | "json">> {
  const worst = reports.toSorted((a, b) => b.error - a.error);
  const facts: Fact[] = [
    ["weights", `${plural(quantized.length, "weight")} quantized`],
    ...listed("dense still", dense, LISTED, (module) => {
      return `${nameText(module)}: ${skipped.get(`${module}.weight`) ?? skipped.get(module)}`;
    }),
    ...listed("relative error", worst, LISTED, ({ name, error, outputError, note }) => {
      const output =
        outputError === undefined ? "" : `, output error ${formatValue(outputError)} times that of rounding`;
      return `${formatValue(error)}${output}  ${nameText(name)}${note === undefined ? "" : `: ${note}`}`;
    }),
    ...more,
  ];
  return { facts, json: { weights: reports, skipped: Object.fromEntries(skipped) } };
}

function parseThreads(text: string): number {
  if (/^[1-9]\d{0,2}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("It is a whole number from 1 to 999.");
}

function parseDamp(text: string): number {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (value >= 0 && value <= 1) return value;
  throw new InvalidArgumentError("It is a number from 0 to 1, such as 0.01.");
}
