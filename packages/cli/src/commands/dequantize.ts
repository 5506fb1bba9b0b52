import { type Command, Option } from "commander";
import { type FileStore, SafetensorsError } from "safetensors.js";
import { denseConfig, dequantized, QUANT_ONLY_FILES } from "safetensors.js/quant";
import { formatBytes, plural } from "../output/numbers.ts";
import { type Fact, listed } from "../output/summary.ts";
import { checkUnderstood, quantizationOf } from "../quantization.ts";
import { schemesOf } from "../scheme-table.ts";
import { openWeightsInput } from "../weights-input.ts";
import {
  addWritingOptions,
  OUTPUT,
  parseSizeOption,
  runWriting,
  WRITING_EXITS,
  WRITING_HELP,
  type WritingOptions,
} from "../writing.ts";

interface DequantizeCommandOptions extends WritingOptions {
  readonly dtype?: "F32" | "BF16" | "F16";
  readonly maxShardSize?: number;
}

/** Problems that are listed; the rest is counted. */
const LISTED = 8;

const HELP = `
Each quantized weight becomes one dense tensor, and its scales, zeros and the like are gone. All
other tensors stay as they are. What says how the weights are quantized is found beside the
input: config.json, quantize_config.json, hf_quant_config.json, or names and shapes.
Into a folder, config.json is written too, without what it said of quantization.

Layouts: GPTQ, AWQ, FP8 (tensor, channel, block), compressed-tensors, ModelOpt, MXFP4, NVFP4,
bitsandbytes, HQQ, MLX, quanto, torchao, ComfyUI, BitNet. Others are refused by name.
An AWQ checkpoint has its scales folded into the layers before: its dense weights are right
together, and are not those of the model that it was made from.
${WRITING_HELP}

Examples:
  safetensors dequantize DeepSeek-V3/ dense/ --dtype BF16 --with-files
  safetensors dequantize llama-gptq/ llama-f16/ --dtype F16 --max-shard-size 5GB --resume
${WRITING_EXITS}`;

/** Adds `dequantize` to the program. */
export function addDequantize(program: Command): void {
  const command = program
    .command("dequantize")
    .summary("make quantized weights dense")
    .description("Writes a checkpoint with its quantized weights as dense tensors.")
    .argument("<input>", "a safetensors file, an index, a folder with either, or an address")
    .argument("<output>", OUTPUT)
    .addOption(
      new Option("--dtype <dtype>", "of the dense weights; what their scales are in, if not given").choices([
        "BF16",
        "F16",
        "F32",
      ]),
    )
    .option("--max-shard-size <size>", "files of at most 5GB, 500MB …, in a folder", parseSizeOption);
  addWritingOptions(command)
    .addHelpText("after", HELP)
    .action(async (input: string, output: string, options: DequantizeCommandOptions) => {
      process.exitCode = await runWriting("dequantized", output, options, async (signal) => {
        const weights = await openWeightsInput(input, signal);
        const close = (): Promise<void> => weights.whole.close();
        try {
          return {
            ...(await dense(weights.whole, weights.store, options, signal)),
            inputs: weights.paths,
            close,
          };
        } catch (error) {
          await close();
          throw error;
        }
      });
    });
}

type Weights = Awaited<ReturnType<typeof openWeightsInput>>["whole"];

async function dense(
  whole: Weights,
  store: FileStore,
  { dtype, maxShardSize }: DequantizeCommandOptions,
  signal: AbortSignal,
) {
  const { quantization, texts } = await quantizationOf(whole, store, signal);
  checkUnderstood(quantization);
  const { weights } = quantization;
  if (weights.size === 0) {
    const text = "there are no quantized weights in it, or nothing says that they are";
    throw new SafetensorsError("UNSUPPORTED", text);
  }
  const checkpoint = dequantized(whole, quantization, { dtype });
  const config = texts.get("config.json");
  const facts: Fact[] = [
    ...listed("dense now", schemesOf(quantization), LISTED, ({ text, weights, bytes }) => {
      return `${plural(weights, "weight")} in ${text}, ${formatBytes(bytes)}`;
    }),
  ];
  return {
    tensors: checkpoint,
    metadata: checkpoint.metadata,
    maxShardSize,
    facts,
    json: { dequantized: weights.size },
    texts: new Map<string, string | undefined>([
      ...QUANT_ONLY_FILES.map((name) => [name, undefined] as const),
      ...(config === undefined ? [] : [["config.json", denseConfig(config, dtype)] as const]),
    ]),
  };
}
