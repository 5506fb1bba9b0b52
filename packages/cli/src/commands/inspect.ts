import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { Command } from "commander";
import type { TensorHandle } from "safetensors.js";
import { globFilter } from "../glob.ts";
import { type OpenedFiles, openFiles } from "../open-files.ts";
import { EXIT, errorJson, fail, problemText } from "../output/failure.ts";
import { formatBytes, formatCount, formatParameters, formatShare, plural } from "../output/numbers.ts";
import { table } from "../output/table.ts";
import { outColors, printLines } from "../output/terminal.ts";
import { nameText, toJson } from "../output/text.ts";
import { treeRows } from "../output/tree.ts";

/** More tensors than this are shown as a tree unless a table is asked for. */
const TABLE_ROWS = 20;

/** Files and metadata entries that are listed; the rest is counted. */
const LISTED = 8;

interface InspectOptions {
  readonly json?: true;
  readonly tree?: true;
  readonly table?: true;
  readonly names?: string;
  readonly limit?: number;
}

/** Adds `inspect` to the program. */
export function addInspect(program: Command): void {
  program
    .command("inspect")
    .summary("show what is in a file or folder of weights")
    .description(
      "Shows what is in a safetensors or PyTorch file, a folder or an index: tensors, dtypes, sizes, metadata.\n" +
        "Only headers are read, and no code of a PyTorch file is run.",
    )
    .argument("<path>", "a file, a folder, or an index such as model.safetensors.index.json")
    .option("--tree", `group tensors by name (the default for more than ${TABLE_ROWS})`)
    .option("--table", "list every tensor in file order")
    .option("--names <glob>", "only tensors whose name matches; * stands for any text, ? for one character")
    .option("--limit <n>", "show at most n lines of tensors", parseLimit)
    .option("--json", "print everything as JSON")
    .addHelpText("after", HELP)
    .action(async (path: string, options: InspectOptions) => {
      process.exitCode = await inspect(path, options).catch((error) => fail(error, options.json ?? false));
    });
}

const HELP = `
Examples:
  safetensors inspect model.safetensors
  safetensors inspect models/llama --names '*.q_proj.weight' --table
  safetensors inspect pytorch_model.bin --json | jq '.tensors[].name'

JSON:
  { format, files: [{ file, bytes }], index?, metadata, tensorCount, parameters, bytes,
    dtypes: { DTYPE: { tensors, parameters, bytes } }, pickle?, problems: [{ code, message, … }],
    tensors: [{ name, dtype, shape, bytes, file?, dataOffsets? }] }
  "file" is there when there are several, "dataOffsets" for safetensors: begin and end in its data section.

Exit codes:
  0  shown
  1  the file is invalid; what could be understood of it is shown
  2  there is no such file, it cannot be read, or the command was used wrongly`;

function parseLimit(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("It must be a whole number.");
}

async function inspect(path: string, options: InspectOptions): Promise<number> {
  await using opened = await openFiles(path, "lenient");
  const overview = await summarise(opened, options.names);
  await (options.json ? printJson(opened, overview) : printLines(humanLines(opened, overview, options)));
  return opened.whole.problems.length > 0 ? EXIT.invalid : EXIT.ok;
}

