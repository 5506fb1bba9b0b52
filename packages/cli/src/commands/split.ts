import { type Command, InvalidArgumentError, Option } from "commander";
import { splitByLayer, splitEvenly, splitGreedily, splitTightly } from "safetensors.js/save";
import { openWeightsInput } from "../weights-input.ts";
import {
  addWritingOptions,
  parseSizeOption,
  runWriting,
  WRITING_EXITS,
  WRITING_HELP,
  type Writing,
  type WritingOptions,
} from "../writing.ts";

interface SplitOptions extends WritingOptions {
  readonly maxShardSize?: number;
  readonly files?: number;
  readonly byLayer?: true;
  readonly tight?: true;
  readonly stem?: string;
}

/** What huggingface_hub splits at. */
const USUAL_SIZE = 5e9;

const HELP = `
Without an option it splits as huggingface_hub does: in order, into files of at most 5 GB.
${WRITING_HELP}

Examples:
  safetensors split model.safetensors model/
  safetensors split model.safetensors model/ --max-shard-size 2GB
  safetensors split model/ parts/ --files 4
  safetensors split model/ layers/ --by-layer
${WRITING_EXITS}`;

/** Adds `split` to the program. */
export function addSplit(program: Command): void {
  const command = program
    .command("split")
    .summary("split a checkpoint into files, or split it anew")
    .description("Writes a checkpoint as several files with an index, which every loader opens as one.")
    .argument("<input>", "a safetensors file, an index, a folder with either, or an address")
    .argument("<folder>", "a folder for the files; it is made")
    .addOption(
      new Option("--max-size, --max-shard-size <size>", "files of at most 5GB, 500MB …; units are decimal")
        .argParser(parseSizeOption)
        .conflicts(["files", "byLayer"]),
    )
    .addOption(
      new Option("--files <number>", "this many files, of sizes as even as can be")
        .argParser(parseCount)
        .conflicts("byLayer"),
    )
    .option("--by-layer", "a file for each layer, and one for what is in none")
    .addOption(
      new Option("--tight", "as few files as can be; tensors do not stay in order then").conflicts([
        "files",
        "byLayer",
      ]),
    )
    .option("--stem <text>", "begin of the files' names", parseStem, "model");
  addWritingOptions(command)
    .addHelpText("after", HELP)
    .action(async (input: string, folder: string, options: SplitOptions) => {
      process.exitCode = await runWriting("split", folder, options, async (signal) => {
        const weights = await openWeightsInput(input, signal);
        return {
          tensors: weights.whole,
          inputs: weights.paths,
          ...(options.stem !== undefined && { stem: options.stem }),
          split: splitOf(options),
          close: () => weights.whole.close(),
        };
      });
    });
}

function splitOf({ maxShardSize = USUAL_SIZE, files, byLayer, tight }: SplitOptions): Writing["split"] {
  if (byLayer) return splitByLayer;
  if (files !== undefined) return (sizes) => splitEvenly(sizes, files);
  return tight ? (sizes) => splitTightly(sizes, maxShardSize) : (sizes) => splitGreedily(sizes, maxShardSize);
}

/** A part of a name, which leads to no other folder. */
function parseStem(text: string): string {
  if (/^[^./\\][^/\\]*$/.test(text)) return text;
  throw new InvalidArgumentError("It is the begin of a name: no folder, and no dot in front.");
}

function parseCount(text: string): number {
  const count = Number(text);
  if (Number.isSafeInteger(count) && count > 0) return count;
  throw new InvalidArgumentError("It is a whole number from 1 on.");
}
