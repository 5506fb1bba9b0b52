import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { type Command, Option } from "commander";
import { SafetensorsError } from "safetensors.js";
import { type OpenedRanks, openRanks, parseCuts, type RankKind } from "safetensors.js/consolidate";
import { placeOf } from "../address.ts";
import { plural } from "../output/numbers.ts";
import { startProgress } from "../output/progress.ts";
import { type Fact, listed } from "../output/summary.ts";
import { nameText } from "../output/text.ts";
import {
  addWritingOptions,
  OUTPUT,
  parseSizeOption,
  runWriting,
  WRITING_EXITS,
  WRITING_HELP,
  type Writing,
  type WritingOptions,
} from "../writing.ts";

interface ConsolidateOptions extends WritingOptions {
  readonly kind?: RankKind;
  readonly cuts?: string;
  readonly trust?: true;
  readonly allowGaps?: true;
  readonly maxShardSize?: number;
}

/** Rules without a use that are listed; the rest is counted. */
const LISTED = 10;

/** The folder in which PyTorch keeps the files of the ranks beside those that it has made of them. */
const SHARDED = "sharded";

const KINDS: Readonly<Record<RankKind, string>> = {
  dcp: "PyTorch's distributed checkpoint",
  deepseek: "DeepSeek's inference code",
  vllm: "vLLM's sharded state",
  ranks: "files of ranks",
};

const HELP = `
The kind is told by the names of the files:
  dcp       PyTorch's distributed checkpoint: shard-00001-model-00001-of-00001.safetensors, also
            in a folder "sharded"; its files say themselves where each tensor belongs,
            but not how many ranks there were: look at the shapes if files may have been lost
  deepseek  DeepSeek's inference code: model0-mp8.safetensors; names of tensors stay as they are
            there
  vllm      vLLM's sharded state: model-rank-0-part-0.safetensors; padding of the vocabulary stays
  ranks     any other with one number that is the rank: rank0.safetensors

For vllm and ranks, --cuts names a JSON file that says along which axis tensors were cut. A star
is one part of a name, "replicated" is a tensor that every rank has whole, and several matrices
in one tensor are "blocks": how many, or their sizes as ratios.
  {
    "model.layers.*.self_attn.qkv_proj.weight": { "axis": 0, "blocks": [32, 8, 8] },
    "model.layers.*.self_attn.o_proj.weight": 1,
    "model.layers.*.mlp.gate_up_proj.weight": { "axis": 0, "blocks": 2 },
    "model.norm.weight": "replicated"
  }
A tensor without a rule must be the same in all ranks. The files of a checkpoint with an index are
no ranks: join them with safetensors merge.
${WRITING_HELP}

Examples:
  safetensors consolidate checkpoint/ model/
  safetensors consolidate step-1000/sharded/ model.safetensors --dry-run
  safetensors consolidate vllm-state/ model/ --cuts cuts.json --max-shard-size 2GB
${WRITING_EXITS}`;

/** Adds `consolidate` to the program. */
export function addConsolidate(program: Command): void {
  const command = program
    .command("consolidate")
    .summary("make one checkpoint of the files that ranks wrote")
    .description(
      "Joins the files that the ranks of a distributed program wrote, each its part, into one checkpoint.",
    )
    .argument("<input>", "the folder with the files, or its address")
    .argument("<output>", OUTPUT)
    .addOption(
      new Option("--kind <kind>", "what wrote the files, where their names do not tell").choices(
        Object.keys(KINDS),
      ),
    )
    .option("--cuts <file>", "JSON that says how tensors were cut")
    .option("--trust", "do not compare tensors that several ranks are known to have whole")
    .option("--allow-gaps", "dcp: let ranks be missing, as those without tensors of their own are")
    .option("--max-shard-size <size>", "files of at most 5GB, 500MB …, in a folder", parseSizeOption);
  addWritingOptions(command)
    .addHelpText("after", HELP)
    .action(async (input: string, output: string, options: ConsolidateOptions) => {
      process.exitCode = await runWriting("consolidated", output, options, (signal) =>
        prepare(input, options, signal),
      );
    });
}

async function prepare(
  input: string,
  options: ConsolidateOptions,
  signal: AbortSignal,
): Promise<Writing & { close(): Promise<void> }> {
  const { opened, folder } = await openInput(input, options, signal);
  const { kind, checkpoint, report } = opened;
  const { files, ranks, tensors, comparedBytes, unusedRules } = report;
  return {
    tensors: checkpoint,
    inputs: folder === undefined ? [] : files.map((file) => join(folder, file)),
    maxShardSize: options.maxShardSize,
    facts: [...facts(opened)],
    json: { kind, ranks, inputs: files, distribution: tensors, comparedBytes, unusedRules },
    close: () => checkpoint.close(),
  };
}

/** The files of the ranks, and the folder that they are in, if it is one on this machine. */
async function openInput(
  input: string,
  { kind, cuts, trust, allowGaps, quiet }: ConsolidateOptions,
  signal: AbortSignal,
): Promise<{ opened: OpenedRanks; folder: string | undefined }> {
  const rules =
    cuts === undefined ? undefined : parseCuts(await readFile(cuts, "utf8").catch(unreadable(cuts)));
  const progress = startProgress(!quiet);
  const onProgress = (done: number, total: number): void => progress.update(done, total, "comparing");
  const open = async (folder: string): Promise<OpenedRanks> => {
    const { store, file } = await placeOf(folder, { requests: 0, bytes: 0 });
    if (file === undefined)
      return openRanks(store, { kind, cuts: rules, trust, allowGaps, signal, onProgress });
    const text = `${folder} is one file; name the folder with the files of all ranks`;
    throw new SafetensorsError("UNSUPPORTED", text, { file });
  };
  const isFolder = async (path: string): Promise<boolean> =>
    (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
  try {
    const opened = await open(input);
    return { opened, folder: (await isFolder(input)) ? input : undefined };
  } catch (error) {
    const within = join(input, SHARDED);
    const isMissing = error instanceof SafetensorsError && error.code === "NOT_FOUND";
    if (!isMissing || !(await isFolder(within))) throw error;
    return { opened: await open(within), folder: within };
  } finally {
    progress.stop();
  }
}

function unreadable(path: string): (cause: Error) => never {
  return (cause) => {
    throw new SafetensorsError("NOT_FOUND", `the rules in ${path} cannot be read: ${cause.message}`, {
      file: path,
      cause,
    });
  };
}

function* facts({ kind, report }: OpenedRanks): Iterable<Fact> {
  const { files, ranks, tensors, unusedRules } = report;
  yield ["from", `${plural(ranks, "rank")} in ${plural(files.length, "file")}, ${KINDS[kind]}`];
  yield [
    "tensors",
    `${tensors.cut} were cut, ${tensors.replicated} in several ranks, ${tensors.whole} in one`,
  ];
  yield* listed(
    "no use",
    unusedRules,
    LISTED,
    (rule) => `no tensor has a name for the rule ${nameText(rule)}`,
  );
}
