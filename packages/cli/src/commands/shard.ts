import { type Command, InvalidArgumentError } from "commander";
import { type Checkpoint, SafetensorsError } from "safetensors.js";
import { saveCheckpoint, saveShares } from "safetensors.js/node";
import { shareCheckpoint, type WorldOptions, type WorldTable, worldTable } from "safetensors.js/parallel";
import { formatBytes, plural } from "../output/numbers.ts";
import { type Fact, listed } from "../output/summary.ts";
import { nameText } from "../output/text.ts";
import { isOneFile } from "../output-path.ts";
import { openWeightsInput } from "../weights-input.ts";
import {
  addWorldOptions,
  explained,
  PLAN_HELP,
  sizesOf,
  type WorldFlags,
  worldOptionsOf,
} from "../world-options.ts";
import {
  addWritingOptions,
  parseSizeOption,
  runWriting,
  WRITING_EXITS,
  WRITING_HELP,
  type Writing,
  type WritingOptions,
} from "../writing.ts";

interface ShardOptions extends WorldFlags, WritingOptions {
  readonly out: string;
  readonly rank?: number;
  readonly maxShardSize?: number;
}

/** Patterns that are listed; the rest is counted. */
const LISTED = 10;

const HELP = `
Each rank gets model-rank-0-part-0.safetensors, the names that vLLM and SGLang have for files of
ranks; of several parts with --max-shard-size. There is no index: the files are not one checkpoint.
In their metadata they say what they have, so that safetensors merge --ranks needs no plan.
The input is read once for each rank, also from an address: the parts of one rank lie all over it.
${PLAN_HELP}
${WRITING_HELP}

Examples:
  safetensors shard model/ --tp 8 --out ranks/
  safetensors shard model/ --tp 4 --pp 2 --rank 5 --out rank-5.safetensors
  safetensors shard hf://org/model --tp 2 --plan plan.json --out ranks/ --dry-run
  safetensors shard model/ --ep 8 --out ranks/ --max-shard-size 5GB --with-files
${WRITING_EXITS}`;

/** Adds `shard` to the program. */
export function addShard(program: Command): void {
  const command = program
    .command("shard")
    .summary("divide a checkpoint among ranks: tensor, pipeline, expert parallelism")
    .description(
      "Writes what each rank of a parallel program has of a checkpoint, and nothing else, into its files.",
    )
    .argument("<input>", "a safetensors file, an index, a folder with either, or an address")
    .requiredOption(
      "--out <path>",
      "a folder for the files; of one rank also a file that ends in .safetensors",
    );
  addWorldOptions(command)
    .option("--rank <number>", "only this rank", parseRank)
    .option("--max-shard-size <size>", "parts of at most 5GB, 500MB …", parseSizeOption);
  addWritingOptions(command)
    .addHelpText("after", HELP)
    .action(async (input: string, options: ShardOptions) => {
      process.exitCode = await runWriting("sharded", options.out, options, (signal) =>
        prepare(input, options, signal),
      );
    });
}

async function prepare(
  input: string,
  options: ShardOptions,
  signal: AbortSignal,
): Promise<Writing & { close(): Promise<void> }> {
  const { rank, out, maxShardSize } = options;
  const weights = await openWeightsInput(input, signal, rank !== undefined);
  const { whole, store, paths } = weights;
  const close = (): Promise<void> => whole.close();
  try {
    if (isOneFile(out) && rank === undefined) {
      const text = `${nameText(out)} is one file, and there are several ranks: name a folder as the output, or one rank with --rank`;
      throw new SafetensorsError("UNSUPPORTED", text, { file: out });
    }
    const division = await worldOptionsOf(options, sizesOf(options), store, whole, signal);
    const { table, shares } = await sharesOf(whole, division, rank, signal);
    return {
      tensors: [],
      save: async (output, _, rest) => {
        const [one] = shares.values();
        if (isOneFile(output)) return saveCheckpoint(output, one!, rest);
        return saveShares(output, shares, { ...rest, areAll: rank === undefined });
      },
      inputs: paths,
      maxShardSize,
      facts: [...facts(table, rank)],
      json: {
        world: division.world,
        ranks: table.ranks.filter((row) => shares.has(row.rank)),
        wholeBytes: table.wholeBytes,
        unusedRules: table.plan?.unused ?? [],
        unplaced: table.unplaced,
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function sharesOf(
  whole: Checkpoint,
  division: WorldOptions,
  only: number | undefined,
  signal: AbortSignal,
): Promise<{ table: WorldTable; shares: Map<number, Checkpoint> }> {
  try {
    const table = worldTable(division, whole);
    checkRank(only, table.ranks.length);
    const shares = new Map<number, Checkpoint>();
    for (const { rank } of table.ranks)
      if (only === undefined || only === rank)
        shares.set(rank, await shareCheckpoint(whole, { ...division, rank, signal }));
    return { table, shares };
  } catch (error) {
    throw explained(error, division, whole);
  }
}

function checkRank(rank: number | undefined, count: number): void {
  if (rank === undefined || rank < count) return;
  const those =
    count === 1
      ? "only rank 0: say how many there are, with --tp, --pp or --ep"
      : `the ranks 0 to ${count - 1}`;
  throw new SafetensorsError("INVALID_SLICE", `there is no rank ${rank}, but ${those}`);
}

function* facts({ ranks, wholeBytes, plan, unplaced }: WorldTable, rank: number | undefined): Iterable<Fact> {
  const sizes = ranks.map(({ bytes }) => bytes).sort((a, b) => a - b);
  const [least = 0, most = 0] = [sizes[0], sizes.at(-1)];
  const each = least === most ? formatBytes(least) : `${formatBytes(least)} to ${formatBytes(most)}`;
  const which = rank === undefined ? plural(ranks.length, "rank") : `rank ${rank} of ${ranks.length}`;
  yield ["ranks", `${which}, each ${each} of ${formatBytes(wholeBytes)}`];
  if (plan) yield ["whole", `${plural(plan.whole.length, "tensor")} that no pattern of the plan is for`];
  yield* listed("no use", plan?.unused ?? [], LISTED, (rule) => {
    return `no tensor has a name for the pattern ${nameText(rule)}`;
  });
  yield* listed(
    "every stage",
    unplaced,
    LISTED,
    (name) => `${nameText(name)}: no rule says where it belongs`,
  );
}

/** A number of a rank. */
export function parseRank(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("It is a whole number from 0 on.");
}
