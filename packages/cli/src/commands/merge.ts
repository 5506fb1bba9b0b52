import { type Command, Option } from "commander";
import { SafetensorsError } from "safetensors.js";
import { expandInputs, ofInput } from "../inputs.ts";
import type { Fact } from "../output/summary.ts";
import { nameText } from "../output/text.ts";
import { prepareRanks } from "../rank-inputs.ts";
import { openWeightsInput, type WeightsInput } from "../weights-input.ts";
import { addWorldOptions, type WorldFlags } from "../world-options.ts";
import {
  addWritingOptions,
  OUTPUT,
  parseSizeOption,
  runWriting,
  WRITING_EXITS,
  WRITING_HELP,
  type WritingOptions,
} from "../writing.ts";

interface MergeOptions extends WritingOptions, WorldFlags {
  readonly output: string;
  readonly ranks?: true;
  readonly trust?: true;
  readonly prefer?: "first" | "last";
  readonly maxShardSize?: number;
}

const HELP = `
A folder or an index is one input, whatever the number of its files. A tensor that is in two
inputs is an error, unless --prefer says which one counts. What --with-files copies lies beside the
first input.

With --ranks, the inputs are what the ranks of a parallel program have: one folder with the files
of all, or a file or folder for each. Those of safetensors shard say how they were cut. For others,
such as model0-mp8.safetensors, give the plan that cut them; config.json beside them will do where
they were cut as it is usual. Without --tp and the like, all are ranks of tensor parallelism. What
several ranks have is compared, unless --trust says that it is the same.
${WRITING_HELP}

Examples:
  safetensors merge model/ --output model.safetensors
  safetensors merge base.safetensors adapter.safetensors --output all.safetensors
  safetensors merge 'parts/*.safetensors' --output model/ --max-shard-size 5GB
  safetensors merge --ranks ranks/ --output model/
  safetensors merge --ranks rank-0/ rank-1/ --plan plan.json --output model.safetensors
${WRITING_EXITS}`;

/** Adds `merge` to the program. */
export function addMerge(program: Command): void {
  const command = program
    .command("merge")
    .summary("join checkpoints, or the files of one")
    .description("Writes the tensors of one or several checkpoints as one.")
    .argument("<input...>", "safetensors files, indexes, folders, patterns, or addresses")
    .requiredOption("--output <path>", OUTPUT)
    .addOption(
      new Option(
        "--prefer <which>",
        "of tensors with the same name, take the one of the first or last input",
      ).choices(["first", "last"]),
    )
    .option("--max-shard-size <size>", "files of at most 5GB, 500MB …, in a folder", parseSizeOption)
    .option("--ranks", "the inputs are what the ranks of a parallel program have")
    .option("--trust", "with --ranks: do not compare what several ranks have");
  addWritingOptions(command);
  addWorldOptions(command.optionsGroup("Options with --ranks, for files that do not say how they were cut:"))
    .addHelpText("after", HELP)
    .action(async (inputs: string[], options: MergeOptions) => {
      process.exitCode = await runWriting("merged", options.output, options, (signal) =>
        options.ranks ? prepareRanks(inputs, options, signal) : prepare(inputs, options, signal),
      );
    });
}

async function prepare(patterns: readonly string[], options: MergeOptions, signal: AbortSignal) {
  const { prefer, maxShardSize } = options;
  const opened: WeightsInput[] = [];
  const close = async (): Promise<void> => {
    for (const { whole } of opened) await whole.close();
  };
  try {
    for (const input of await expandInputs(patterns))
      opened.push(await ofInput(input, () => openWeightsInput(input, signal)));
    const tensors = new Map(joined(opened, prefer));
    const { metadata, facts } = mergeMetadata(opened, prefer);
    return {
      tensors,
      metadata,
      facts,
      maxShardSize,
      inputs: opened.flatMap(({ paths }) => paths),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

type Tensors = Map<string, ReturnType<WeightsInput["whole"]["get"]>>;

function joined(inputs: readonly WeightsInput[], prefer: MergeOptions["prefer"]): Tensors {
  const tensors: Tensors = new Map();
  const owner = new Map<string, string>();
  for (const { input, whole } of inputs) {
    for (const tensor of whole) {
      const { name } = tensor;
      const other = owner.get(name);
      if (other !== undefined && prefer === undefined) {
        const text = `tensor ${nameText(name)} is in both ${nameText(other)} and ${nameText(input)}; to take one of them, add --prefer first or --prefer last`;
        throw new SafetensorsError("DUPLICATE_NAME", text, { tensor: name });
      }
      if (other !== undefined && prefer === "first") continue;
      owner.set(name, input);
      tensors.set(name, tensor);
    }
  }
  return tensors;
}

/** The metadata of all inputs. Where two disagree on a key, the preferred one counts, and the report says so. */
function mergeMetadata(
  inputs: readonly WeightsInput[],
  prefer: MergeOptions["prefer"],
): { metadata: Map<string, string>; facts: Fact[] } {
  const metadata = new Map<string, string>();
  const differing = new Set<string>();
  for (const { whole } of prefer === "last" ? inputs.toReversed() : inputs) {
    for (const [key, value] of whole.metadata) {
      const other = metadata.get(key);
      if (other === undefined) metadata.set(key, value);
      else if (other !== value) differing.add(key);
    }
  }
  const which = prefer === "last" ? "last" : "first";
  const text = (key: string): string => `${nameText(key)} differs; that of the ${which} input was taken`;
  return { metadata, facts: [...differing].map((key, place) => [place === 0 ? "metadata" : "", text(key)]) };
}
