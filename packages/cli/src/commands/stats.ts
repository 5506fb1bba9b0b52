import type { Command } from "commander";
import type { Dtype, TensorHandle, Traffic } from "safetensors.js";
import { checkChoice, collectGlobs, globFilter } from "../glob.ts";
import { forEachInput, INPUTS, type InputsOptions } from "../inputs.ts";
import { numbersOf } from "../numbers-of.ts";
import { openFiles } from "../open-files.ts";
import { EXIT } from "../output/failure.ts";
import { formatCount } from "../output/numbers.ts";
import { startProgress } from "../output/progress.ts";
import { sparkline } from "../output/sparkline.ts";
import { type Column, table } from "../output/table.ts";
import { outColors, printLines } from "../output/terminal.ts";
import { nameText, toJson } from "../output/text.ts";
import { formatValue } from "../output/values.ts";
import { Statistics, type Summary } from "../statistics.ts";

interface StatsOptions extends InputsOptions {
  readonly names?: readonly string[];
  readonly key?: string;
  readonly quiet?: true;
  readonly failOnNan?: true;
}

/** Bytes read at once: whole elements of every dtype, those of 6 bits too. */
const CHUNK_BYTES = 3 << 20;

const HELP = `
The values are streamed: memory stays the same however large the tensors are. Minimum, maximum,
mean, deviation and histogram are of the finite values. Values of 64 bits are taken as doubles;
a complex value counts as two.

Examples:
  safetensors stats model.safetensors
  safetensors stats model/ --names '*.mlp.*' --json
  safetensors stats model.safetensors --fail-on-nan --quiet

JSON:
  { tensors: [{ name, dtype, shape, count, nan, infinite, zero, min, max, mean, std, histogram }] }

Exit codes:
  0  done
  1  the input is invalid, or has NaN or infinite values and --fail-on-nan was given
  2  it could not be done, or the command was used wrongly`;

/** Adds `stats` to the program. */
export function addStats(program: Command): void {
  program
    .command("stats")
    .summary("show minimum, maximum, mean, deviation and odd values of each tensor")
    .description("Reads the values of tensors and shows what they are like.")
    .argument("<input...>", INPUTS)
    .option(
      "--names <glob>",
      "only tensors whose name matches: * is any text, ? is one character; may be repeated",
      collectGlobs,
    )
    .option("--key <path>", "PyTorch: where the tensors are, if the file has several sets of them")
    .option("--fail-on-nan", "exit with 1 if a value is NaN or infinite")
    .option("--json", "print the results as JSON; of several inputs as a list")
    .option("--verbose", "say on standard error how many bytes were read, in how many requests")
    .option("--quiet", "print only tensors with NaN or infinite values")
    .addHelpText("after", HELP)
    .action(async (inputs: string[], options: StatsOptions) => {
      process.exitCode = await forEachInput(inputs, options, (input, traffic) =>
        stats(input, options, traffic),
      );
    });
}

interface Row extends Summary {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

async function stats(input: string, { key, ...options }: StatsOptions, traffic: Traffic): Promise<number> {
  const names = globFilter(options.names);
  await using opened = await openFiles(input, { mode: "strict", key, names, traffic });
  checkChoice(opened.whole.keys(), options.names);
  const tensors = [...opened.whole];
  const total = tensors.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const progress = startProgress(!options.quiet);
  const rows: Row[] = [];
  let done = 0;
  try {
    const buffer = new Uint8Array(CHUNK_BYTES);
    for (const tensor of tensors) {
      const { name, dtype, shape } = tensor;
      const summary = await summarise(tensor, buffer, (bytes) => {
        done += bytes;
        progress.update(done, total, name);
      });
      rows.push({ name, dtype, shape, ...summary });
    }
  } finally {
    progress.stop();
  }
  await printLines(options.json ? [toJson({ tensors: rows }, 2)] : textLines(rows, options.quiet ?? false));
  return options.failOnNan && rows.some(isOdd) ? EXIT.invalid : EXIT.ok;
}

async function summarise(
  tensor: TensorHandle,
  buffer: Uint8Array,
  onBytes: (count: number) => void,
): Promise<Summary> {
  const statistics = new Statistics();
  for await (const chunk of tensor.chunks(buffer)) {
    statistics.add(numbersOf(tensor.dtype, chunk));
    onBytes(chunk.length);
  }
  return statistics.summary;
}

const isOdd = ({ nan, infinite }: Summary): boolean => nan + infinite > 0;

const COLUMNS: readonly Column[] = [
  { title: "name" },
  { title: "dtype" },
  { title: "shape" },
  { title: "min", align: "right" },
  { title: "max", align: "right" },
  { title: "mean", align: "right" },
  { title: "std", align: "right" },
  { title: "zero", align: "right" },
  { title: "histogram", style: outColors.cyan },
  { title: "odd", style: outColors.red },
];

function textLines(rows: readonly Row[], onlyOdd: boolean): Iterable<string> {
  const cells = rows
    .filter((row) => !onlyOdd || isOdd(row))
    .map((row) => [
      nameText(row.name),
      row.dtype,
      `[${row.shape.join(", ")}]`,
      ...[row.min, row.max, row.mean, row.std].map((value) =>
        value === undefined ? "–" : formatValue(value),
      ),
      formatCount(row.zero),
      sparkline(row.histogram),
      [
        row.nan > 0 && `${formatCount(row.nan)} NaN`,
        row.infinite > 0 && `${formatCount(row.infinite)} infinite`,
      ]
        .filter(Boolean)
        .join(", "),
    ]);
  return cells.length === 0 ? [] : table(COLUMNS, cells, outColors.bold);
}
