import { type Command, InvalidArgumentError } from "commander";
import { type OpenedFiles, SafetensorsError, type Traffic } from "safetensors.js";
import type { Quantization } from "safetensors.js/quant";
import { collectGlobs, globFilter } from "../glob.ts";
import { forEachInput, INPUTS, type InputsOptions } from "../inputs.ts";
import { type OpenedInput, openFiles } from "../open-files.ts";
import { EXIT, errorJson, problemText } from "../output/failure.ts";
import { formatBytes, formatCount, formatParameters, formatShare, plural } from "../output/numbers.ts";
import { type Fact, listed, pickleFacts } from "../output/summary.ts";
import { type Column, table } from "../output/table.ts";
import { outColors, printLines } from "../output/terminal.ts";
import { nameText, toJson } from "../output/text.ts";
import { treeRows } from "../output/tree.ts";
import { type Overview, overviewOf } from "../overview.ts";
import { reportsOf, summarise } from "../pickle-report.ts";
import { quantizationOf, quantProblemsIn } from "../quantization.ts";
import { schemesOf } from "../scheme-table.ts";

/** More tensors than this are shown as a tree unless a table is asked for. */
const TABLE_ROWS = 20;

/** Files, problems and metadata entries that are listed; the rest is counted. */
const LISTED = 8;

/** Characters of a metadata value that are shown. */
const VALUE_LENGTH = 72;

interface InspectOptions extends InputsOptions {
  readonly tree?: true;
  readonly table?: true;
  readonly names?: readonly string[];
  readonly key?: string;
  readonly limit?: number;
}

const HELP = `
Examples:
  safetensors inspect model.safetensors
  safetensors inspect models/llama --names '*.q_proj.weight' --table
  safetensors inspect pytorch_model.bin --json | jq -r '.tensors[].name'

JSON:
  { format, files: [{ file, bytes }], index?, metadata, tensorCount, parameters, bytes,
    dtypes: { DTYPE: { tensors, parameters, bytes } }, problems: [{ code, message, … }],
    quantization?: { config?, schemes: [{ text, weights, parameters, bytes }], unsupported },
    pickle?: { forms, opcodes, globals: [{ name, role, called }], container, leftOut,
               tensorsOutside, remade },
    tensors: [{ name, dtype, shape, bytes, file?, dataOffsets? }] }
  "parameters" of quantized weights are those of the dense ones, counted once; "quantization" is
  there where there are such. "file" is there for checkpoints of several files; "dataOffsets",
  for safetensors, are the begin and the end in the data section of the file; "pickle" is there
  for PyTorch files.

Exit codes:
  0  shown
  1  the input is invalid; what could be understood of it is shown
  2  there is no such file, it cannot be read, or the command was used wrongly`;

/** Adds `inspect` to the program. */
export function addInspect(program: Command): void {
  program
    .command("inspect")
    .summary("show what is in a file or a folder of weights")
    .description(
      "Shows what is in a safetensors, PyTorch or NumPy file, a folder or an index: tensors, dtypes, sizes and metadata.\n" +
        "Only headers are read, and no code of a PyTorch file is run.",
    )
    .argument("<input...>", INPUTS)
    .option("--tree", `group tensors by their names (the default for more than ${TABLE_ROWS} tensors)`)
    .option("--table", "list the tensors one by one, in the order of the file")
    .option(
      "--names <glob>",
      "only tensors whose name matches: * is any text, ? is one character; may be repeated",
      collectGlobs,
    )
    .option("--key <path>", "PyTorch: where the tensors are, if the file has several sets of them")
    .option("--limit <n>", "show at most so many lines of tensors", parseLimit)
    .option("--json", "print everything as JSON; of several inputs as a list")
    .option("--verbose", "say on standard error how many bytes were read, in how many requests")
    .addHelpText("after", HELP)
    .action(async (inputs: string[], options: InspectOptions) => {
      process.exitCode = await forEachInput(inputs, options, (input, traffic) =>
        inspect(input, options, traffic),
      );
    });
}

function parseLimit(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("It is to be a whole number.");
}

async function inspect(input: string, options: InspectOptions, traffic: Traffic): Promise<number> {
  await using opened = await openFiles(input, { mode: "lenient", key: options.key, traffic });
  const quantization = await quantizationIn(opened);
  const overview = await overviewOf(opened, globFilter(options.names), quantization.found);
  const shown = { ...opened, quantization };
  await printLines(options.json ? jsonLines(shown, overview) : textLines(shown, overview, options));
  return problemsOf(shown).length > 0 ? EXIT.invalid : EXIT.ok;
}

/** An input, and what is known of quantisation in it, or why nothing is. */
interface Shown extends OpenedFiles {
  readonly quantization: { readonly found?: Quantization; readonly problems: readonly SafetensorsError[] };
}

async function quantizationIn(opened: OpenedInput): Promise<Shown["quantization"]> {
  try {
    const { quantization } = await quantizationOf(opened.whole, opened.store);
    return { found: quantization, problems: quantProblemsIn(opened, quantization) };
  } catch (error) {
    // The configuration is no part of what is shown: that it is broken is told with the rest.
    if (error instanceof SafetensorsError) return { problems: [error] };
    throw error;
  }
}

const problemsOf = ({ whole, quantization }: Shown): readonly SafetensorsError[] => [
  ...whole.problems,
  ...quantization.problems,
];

/** One JSON object, of which each tensor has a line: it may be larger than any string can be. */
function* jsonLines(shown: Shown, overview: Overview): Iterable<string> {
  const { files, index, whole, quantization } = shown;
  const several = overview.files.length > 1;
  const { tensors: tensorCount, parameters, bytes } = overview.totals;
  const pickle = summarise(reportsOf(files));
  const head = {
    format: whole.format,
    files: overview.files,
    ...(index && { index: index.file }),
    metadata: Object.fromEntries(whole.metadata),
    tensorCount,
    parameters,
    bytes,
    dtypes: Object.fromEntries(overview.dtypes),
    ...(pickle && { pickle }),
    ...(quantization.found &&
      isQuantized(quantization.found) && { quantization: quantizationJson(quantization.found) }),
    problems: problemsOf(shown).map(errorJson),
  };
  yield `${toJson(head, 2).slice(0, -"\n}".length)},`;
  yield '  "tensors": [';
  for (const [position, tensor] of overview.tensors.entries()) {
    const { name, dtype, shape, byteLength, file, dataOffsets } = tensor;
    const place = { ...(several && { file }), ...(dataOffsets && { dataOffsets }) };
    const comma = position < overview.tensors.length - 1 ? "," : "";
    yield `    ${toJson({ name, dtype, shape, bytes: byteLength, ...place })}${comma}`;
  }
  yield "  ]";
  yield "}";
}

function* textLines(opened: Shown, overview: Overview, options: InspectOptions): Iterable<string> {
  yield* table([{ style: outColors.dim }, {}], [...summaryRows(opened, overview, options)]);
  yield* listProblems(opened);
  if (overview.totals.tensors === 0) return;
  yield "";
  yield* dtypeTable(overview);
  yield* quantizationLines(opened.quantization.found);
  yield "";
  yield* tensorLines(overview, options);
  yield* globalsTable(opened);
}

function* summaryRows(
  { files: opened, index, whole }: OpenedFiles,
  overview: Overview,
  { names }: InspectOptions,
): Iterable<Fact> {
  const { files, totals } = overview;
  const size = files.reduce((sum, file) => sum + file.bytes, 0);
  yield ["format", whole.format];
  if (index) yield ["index", nameText(index.file)];
  yield* listed(files.length > 1 ? "files" : "file", files, LISTED, ({ file, bytes }) => {
    return files.length > 1 ? `${nameText(file)}  ${formatBytes(bytes)}` : nameText(file);
  });
  yield ["size", exact(size, formatBytes(size), "bytes")];
  const filtered =
    names === undefined ? "" : ` of ${formatCount(whole.size)}, named ${names.map(nameText).join(" or ")}`;
  yield ["tensors", formatCount(totals.tensors) + filtered];
  yield ["parameters", exact(totals.parameters, formatParameters(totals.parameters))];
  yield ["data", exact(totals.bytes, formatBytes(totals.bytes), "bytes")];
  yield* listed("metadata", [...whole.metadata], LISTED, ([key, value]) => {
    const cut = value.length > VALUE_LENGTH ? `${value.slice(0, VALUE_LENGTH)}…` : value;
    return `${nameText(key)} = ${nameText(cut)}`;
  });
  const pickle = summarise(reportsOf(opened));
  if (pickle) yield* pickleFacts(pickle, LISTED);
}

/** The rounded number, and the exact one where rounding has taken something away. */
function exact(value: number, rounded: string, unit = ""): string {
  return value < 1000 ? rounded : `${rounded} (${`${formatCount(value)} ${unit}`.trimEnd()})`;
}

function* listProblems(shown: Shown): Iterable<string> {
  const problems = problemsOf(shown);
  if (problems.length === 0) return;
  yield "";
  yield outColors.red(
    `  ${plural(problems.length, "problem")}: other programs will refuse this, or read it differently`,
  );
  for (const problem of problems.slice(0, LISTED)) yield `    ${problemText(problem)}`;
  if (problems.length > LISTED) yield "    `safetensors check` lists all of them.";
}

function dtypeTable({ dtypes, totals }: Overview): Iterable<string> {
  const right = { align: "right" } as const;
  const columns: Column[] = [
    { title: "dtype", style: outColors.cyan },
    { title: "tensors", ...right },
    { title: "parameters", ...right },
    { title: "bytes", ...right },
    { title: "share", ...right },
  ];
  const rows = [...dtypes].map(([dtype, sums]) => [
    dtype,
    formatCount(sums.tensors),
    formatCount(sums.parameters),
    formatBytes(sums.bytes),
    formatShare(sums.bytes, totals.bytes),
  ]);
  return table(columns, rows, outColors.dim);
}

const isQuantized = ({ weights, unsupported }: Quantization): boolean =>
  weights.size + unsupported.length > 0;

function quantizationJson(quantization: Quantization): object {
  const { config, unsupported } = quantization;
  return { ...(config && { config: config.place }), schemes: schemesOf(quantization), unsupported };
}

/** How weights are quantised, and what is not understood. */
function* quantizationLines(quantization: Quantization | undefined): Iterable<string> {
  if (!quantization || !isQuantized(quantization)) return;
  const right = { align: "right" } as const;
  const columns: Column[] = [
    { title: "quantized", style: outColors.cyan },
    { title: "weights", ...right },
    { title: "parameters", ...right },
    { title: "bytes", ...right },
    { title: "bits each", ...right },
  ];
  const rows = [
    ...schemesOf(quantization).map(({ text, weights, parameters, bytes }) => [
      text,
      formatCount(weights),
      formatCount(parameters),
      formatBytes(bytes),
      ((8 * bytes) / parameters).toFixed(2),
    ]),
    ...quantization.unsupported.map(({ scheme, names, why }) => [
      `${scheme}: not taken apart`,
      plural(names.length, "tensor"),
      "",
      "",
      why,
    ]),
  ];
  yield "";
  yield* table(columns, rows, outColors.dim);
}

function* globalsTable({ files }: OpenedFiles): Iterable<string> {
  const globals = summarise(reportsOf(files))?.globals ?? [];
  if (globals.length === 0) return;
  yield "";
  const columns: Column[] = [{ title: "python name" }, { title: "role" }];
  const rows = globals.map(({ name, role }) => [nameText(name), role]);
  yield* table(columns, rows, outColors.dim);
}

function* tensorLines(overview: Overview, options: InspectOptions): Iterable<string> {
  const asTree = !options.table && (options.tree || overview.tensors.length > TABLE_ROWS);
  const several = overview.files.length > 1;
  const title = (text: string): { title: string } => ({ title: text });
  const columns: Column[] = [
    title("name"),
    { ...title("dtype"), style: outColors.cyan },
    title("shape"),
    { ...title("bytes"), align: "right" },
    ...(several && !asTree ? [{ ...title("file"), style: outColors.dim }] : []),
  ];
  const rows = asTree ? treeRows(overview.tensors) : tableRows(overview, several);
  const shown: (readonly string[])[] = [];
  let left = 0;
  for (const row of rows) {
    if (shown.length < (options.limit ?? Infinity)) shown.push(row);
    else left++;
  }
  yield* table(columns, shown, outColors.dim);
  if (left > 0) yield outColors.dim(`  and ${plural(left, "line")} more`);
}

function* tableRows({ tensors }: Overview, several: boolean): Iterable<readonly string[]> {
  for (const { name, dtype, shape, byteLength, file } of tensors) {
    const cells = [nameText(name), dtype, `[${shape.join(", ")}]`, formatBytes(byteLength)];
    yield several ? [...cells, nameText(file)] : cells;
  }
}
