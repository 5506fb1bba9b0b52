import { type Command, InvalidArgumentError } from "commander";
import { applyNameRules } from "safetensors.js/save";
import { globsFilter } from "../glob.ts";
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

interface ExtractOptions extends WritingOptions {
  readonly names?: string[];
  readonly exclude?: string[];
  readonly regex?: RegExp;
  readonly stripPrefix?: string;
  readonly maxShardSize?: number;
}

const HELP = `
Of an address, only what is chosen is read.
${WRITING_HELP}

Examples:
  safetensors extract model/ embeddings.safetensors --names wte.weight wpe.weight
  safetensors extract model/ first.safetensors --names 'model.layers.0.*'
  safetensors extract model/ attention/ --regex '\\.self_attn\\.[qkvo]_proj\\.'
  safetensors extract hf://org/model encoder.safetensors --names 'encoder.*' --strip-prefix encoder.
${WRITING_EXITS}`;

/** Adds `extract` to the program. */
export function addExtract(program: Command): void {
  const command = program
    .command("extract")
    .summary("write some of the tensors of a checkpoint")
    .description("Writes the tensors that are chosen by their names.")
    .argument("<input>", "a safetensors file, an index, a folder with either, or an address")
    .argument("<output>", OUTPUT)
    .option("--names <glob...>", "tensors whose names match one of these: * is any text, ? is one character")
    .option("--exclude <glob...>", "no tensors whose names match")
    .option("--regex <expression>", "tensors whose names match this regular expression", parseRegex)
    .option("--strip-prefix <text>", "take this off the begin of names")
    .option("--max-shard-size <size>", "files of at most 5GB, 500MB …, in a folder", parseSizeOption);
  addWritingOptions(command)
    .addHelpText("after", HELP)
    .action(async (input: string, output: string, options: ExtractOptions) => {
      process.exitCode = await runWriting("extracted", output, options, async (signal) => {
        const weights = await openWeightsInput(input, signal);
        const close = (): Promise<void> => weights.whole.close();
        try {
          const { names, exclude, regex, stripPrefix, maxShardSize } = options;
          const isNamed = globsFilter(names ?? []);
          const tensors = applyNameRules(weights.whole, {
            ...((names || regex) && {
              include: (name: string) => isNamed(name) || (regex?.test(name) ?? false),
            }),
            ...(exclude && { exclude: globsFilter(exclude) }),
            stripPrefix,
          });
          const { metadata } = weights.whole;
          return { tensors, metadata, maxShardSize, inputs: weights.paths, close };
        } catch (error) {
          await close();
          throw error;
        }
      });
    });
}

/** A regular expression given to an option. */
export function parseRegex(text: string): RegExp {
  try {
    return new RegExp(text, "u");
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}
