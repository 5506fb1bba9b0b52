import { type Command, InvalidArgumentError, Option } from "commander";
import type { Checkpoint } from "safetensors.js";
import {
  type Device,
  type DeviceMapOptions,
  inferDeviceMap,
  type RankRow,
  shareCheckpoint,
  type WorldOptions,
  type WorldSizeVerdict,
  type WorldTable,
  worldTable,
} from "safetensors.js/parallel";
import { interruptible } from "../interrupt.ts";
import { EXIT, fail } from "../output/failure.ts";
import { formatBytes, formatCount, formatShare, plural } from "../output/numbers.ts";
import { type Fact, listed } from "../output/summary.ts";
import { table } from "../output/table.ts";
import { outColors, printLines } from "../output/terminal.ts";
import { nameText, toJson } from "../output/text.ts";
import { openWeightsInput } from "../weights-input.ts";
import {
  addWorldOptions,
  explained,
  PLAN_HELP,
  placeText,
  sizesOf,
  sizeVerdicts,
  type WorldFlags,
  worldOptionsOf,
} from "../world-options.ts";

interface PlanOptions extends WorldFlags {
  readonly deviceMap?: NonNullable<DeviceMapOptions["strategy"]>;
  readonly maxMemory?: readonly (readonly [Device, string])[];
  readonly json?: true;
}

/** What reading the share of a rank takes. */
interface Reading {
  readonly requests: number;
  readonly bytesRead: number;
  readonly usefulBytes: number;
  readonly peakMemory: number;
}

type Row = RankRow & Reading;

/** Names that are listed; the rest is counted. */
const LISTED = 10;

const HELP = `
For each rank: its tensors and their bytes, what is read for them and in how many requests, how
much of that is of use, and the memory that it takes to read them one after the other. With --tp
also which other numbers of ranks are possible, and what forbids the rest.
${PLAN_HELP}

With --device-map it prints which module goes to which device as accelerate's JSON, by the rules
of its infer_auto_device_map. Memory: 10GiB or 10GB; a device is the number of a GPU, mps or cpu.

Examples:
  safetensors plan model/ --tp 4 --pp 2
  safetensors plan hf://org/model --tp 8 --json
  safetensors plan model/ --device-map auto --max-memory 0=10GiB,1=10GiB,cpu=30GiB > map.json

Exit codes:
  0    it can be divided so
  1    the input is invalid, or cannot be divided so
  2    it could not be done: no such file, not supported, or the command was used wrongly`;

/** Adds `plan` to the program. */
export function addPlan(program: Command): void {
  const command = program
    .command("plan")
    .summary("say what each rank would read of a checkpoint, or which device gets what")
    .description(
      "Says what each rank of a parallel program would have of a checkpoint. Only headers are read.",
    )
    .argument("<input>", "a safetensors file, an index, a folder with either, or an address");
  addWorldOptions(command)
    .addOption(
      new Option("--device-map <strategy>", "print a device map instead").choices([
        "auto",
        "balanced",
        "balanced_low_0",
        "sequential",
      ]),
    )
    .option("--max-memory <sizes>", "memory of devices for the map: 0=10GiB,cpu=30GiB", parseMemories)
    .option("--json", "print JSON")
    .addHelpText("after", HELP)
    .action(async (input: string, options: PlanOptions) => {
      if (options.deviceMap && !options.maxMemory)
        command.error("error: --device-map needs --max-memory, such as 0=10GiB,cpu=30GiB", {
          exitCode: EXIT.failed,
        });
      process.exitCode = await interruptible((signal) => plan(input, options, signal));
    });
}

async function plan(input: string, options: PlanOptions, signal: AbortSignal): Promise<number> {
  try {
    await using weights = await openWeightsInput(input, signal);
    const { whole, store } = weights;
    const { deviceMap: strategy, maxMemory } = options;
    if (strategy && maxMemory) {
      const map = inferDeviceMap(whole, { strategy, maxMemory });
      await printLines([toJson(Object.fromEntries(map), 2)]);
      return EXIT.ok;
    }
    const division = await worldOptionsOf(options, sizesOf(options), store, whole, signal);
    const { world, rows } = await rowsOf(whole, division, signal);
    const sizes = (division.world.tp ?? 1) > 1 ? sizeVerdicts(division, whole) : undefined;
    const shown = options.json
      ? [toJson({ ...jsonOf(division, world, rows), ...(sizes && { sizes }) }, 2)]
      : lines(division, world, rows, sizes);
    await printLines(shown);
    return EXIT.ok;
  } catch (error) {
    if (signal.aborted) throw error;
    return fail(error, options.json ?? false);
  }
}

async function rowsOf(
  whole: Checkpoint,
  division: WorldOptions,
  signal: AbortSignal,
): Promise<{ world: WorldTable; rows: Row[] }> {
  try {
    const world = worldTable(division, whole);
    const rows: Row[] = [];
    for (const row of world.ranks) {
      const share = await shareCheckpoint(whole, { ...division, rank: row.rank, signal, sample: false });
      rows.push({ ...row, ...(await share.plan()) });
    }
    return { world, rows };
  } catch (error) {
    throw explained(error, division, whole);
  }
}

function jsonOf(
  { world }: WorldOptions,
  { wholeBytes, plan, unplaced }: WorldTable,
  rows: readonly Row[],
): object {
  return {
    world,
    wholeBytes,
    ranks: rows.map(({ rank, at, tensors, bytes, requests, bytesRead, usefulBytes, peakMemory }) => {
      return { rank, at, tensors, bytes, requests, bytesRead, usefulBytes, peakMemory };
    }),
    ...(plan && { plan }),
    unplaced,
  };
}

function* lines(
  { world }: WorldOptions,
  { wholeBytes, plan, unplaced }: WorldTable,
  rows: readonly Row[],
  sizes: readonly WorldSizeVerdict[] = [],
): Iterable<string> {
  const total = rows.reduce((sum, { bytes }) => sum + bytes, 0);
  yield outColors.bold(
    `${plural(rows.length, "rank")}, ${formatBytes(total)} of a checkpoint of ${formatBytes(wholeBytes)}`,
  );
  const right = { align: "right" } as const;
  const columns = [
    { title: "rank", ...right },
    { title: "place" },
    { title: "tensors", ...right },
    { title: "bytes", ...right },
    { title: "of all", ...right },
    { title: "read", ...right },
    { title: "of use", ...right },
    { title: "requests", ...right },
    { title: "peak", ...right },
  ];
  const cells = rows.map(({ rank, at, tensors, bytes, bytesRead, usefulBytes, requests, peakMemory }) => [
    String(rank),
    placeText(at, world),
    formatCount(tensors),
    formatBytes(bytes),
    formatShare(bytes, wholeBytes),
    formatBytes(bytesRead),
    formatShare(usefulBytes, bytesRead),
    formatCount(requests),
    formatBytes(peakMemory),
  ]);
  yield* table(columns, cells, outColors.dim);
  const facts: Fact[] = [
    ...listed("whole", kindsOf(plan?.whole ?? []), LISTED, ([kind, count]) => {
      return count === 1 ? nameText(kind) : `${nameText(kind)}, ${plural(count, "tensor")}`;
    }),
    ...listed("no use", plan?.unused ?? [], LISTED, (rule) => {
      return `no tensor has a name for the pattern ${nameText(rule)}`;
    }),
    ...listed("every stage", unplaced, LISTED, (name) => `${nameText(name)}: no rule says where it belongs`),
    ...sizeFacts(sizes),
  ];
  if (facts.length > 0) yield "";
  yield* table([{ style: outColors.dim }, {}], facts);
}

/** Which numbers of ranks are possible, and for powers of two up to the first one that is not, what forbids it. */
function* sizeFacts(sizes: readonly WorldSizeVerdict[]): Iterable<Fact> {
  const possible = sizes.filter(({ obstacles }) => obstacles.length === 0).map(({ tp }) => tp);
  if (possible.length === 0) return;
  yield ["tp", `${rangesText(possible)} ${possible.length === 1 ? "is" : "are"} possible`];
  const forbidden = sizes.find(
    ({ tp, obstacles }) => Number.isInteger(Math.log2(tp)) && obstacles.length > 0,
  );
  if (!forbidden) return;
  const [{ tensor, reason } = { tensor: "", reason: "" }] = forbidden.obstacles;
  yield ["", `${forbidden.tp} is not: ${nameText(tensor)}: ${reason}`];
}

/** `1, 2, 4 to 9`. */
function rangesText(numbers: readonly number[]): string {
  const runs: [first: number, last: number][] = [];
  for (const number of numbers) {
    const run = runs.at(-1);
    if (run && run[1] === number - 1) run[1] = number;
    else runs.push([number, number]);
  }
  return runs
    .map(([first, last]) => {
      if (first === last) return `${first}`;
      return last === first + 1 ? `${first}, ${last}` : `${first} to ${last}`;
    })
    .join(", ");
}

/** Names with a star for each number, and how many tensors have such a name. */
function kindsOf(names: readonly string[]): [kind: string, count: number][] {
  const kinds = new Map<string, number>();
  for (const name of names) {
    const kind = name.replace(/(^|\.)\d+(?=\.|$)/g, "$1*");
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  }
  return [...kinds];
}

/** `0=10GiB,cpu=30GiB`. */
function parseMemories(text: string): readonly (readonly [Device, string])[] {
  return text.split(",").map((entry) => {
    const [, device, size] = /^(\d{1,4}|mps|cpu|disk)=(\d+(?:\.\d+)?[KMG]i?[bB])$/.exec(entry) ?? [];
    if (device === undefined || size === undefined)
      throw new InvalidArgumentError("Devices and sizes are expected: 0=10GiB,cpu=30GiB.");
    return [/^\d/.test(device) ? Number(device) : device, size] as const;
  });
}
