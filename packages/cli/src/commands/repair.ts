import type { Command } from "commander";
import { SafetensorsError } from "safetensors.js";
import { type RepairReport, repairCheckpoint } from "safetensors.js/node";
import { isAddress } from "../address.ts";
import { interruptible } from "../interrupt.ts";
import { EXIT, fail } from "../output/failure.ts";
import { formatBytes, plural } from "../output/numbers.ts";
import { startProgress } from "../output/progress.ts";
import { type Fact, listed } from "../output/summary.ts";
import { table } from "../output/table.ts";
import { outColors, printLines } from "../output/terminal.ts";
import { nameText, printable, toJson } from "../output/text.ts";
import { checkOutput } from "../output-path.ts";
import { savedJson } from "../writing.ts";

/** Defects, files and lost tensors that are listed; the rest is counted. */
const LISTED = 20;

interface RepairOptions {
  readonly salvage?: true;
  readonly dryRun?: true;
  readonly json?: true;
  readonly quiet?: true;
}

const HELP = `
Repaired is only what can be proved: bytes after the end of the data are cut off; an index that is
missing or wrong is made anew from the headers of the files. Of a file that is cut, of holes and
overlaps, nothing can be repaired: get it again. With --salvage the tensors that are whole are
written then, and those that are lost are named. The input is never changed.

Examples:
  safetensors repair model.safetensors repaired.safetensors
  safetensors repair model/ repaired/
  safetensors repair model/ --dry-run
  safetensors repair cut.safetensors part.safetensors --salvage

Exit codes:
  0    repaired, or nothing is wrong and nothing was written
  1    something cannot be repaired: nothing was written, or with --salvage the rest
  2    it could not be done: no such file, no permission, no room; or the command was used wrongly
  130  stopped by Ctrl-C (143: by SIGTERM); nothing is left of it`;

/** Adds `repair` to the program. */
export function addRepair(program: Command): void {
  program
    .command("repair")
    .summary("repair what can be repaired of a damaged checkpoint")
    .description(
      "Writes a sound copy of a damaged safetensors file or checkpoint, as far as one can be made.",
    )
    .argument("<input>", "a safetensors file, an index, or a folder")
    .argument("[output]", "a file that ends in .safetensors, or a folder; not needed with --dry-run")
    .option("--salvage", "where something is lost, write the tensors that are whole")
    .option("--dry-run", "say what would be done, and write nothing")
    .option("--json", "print the result as JSON")
    .option("--quiet", "print nothing but errors")
    .addHelpText("after", HELP)
    .action(async (input: string, output: string | undefined, options: RepairOptions) => {
      process.exitCode = await interruptible((signal) => repair(input, output, options, signal));
    });
}

async function repair(
  input: string,
  output: string | undefined,
  options: RepairOptions,
  signal: AbortSignal,
): Promise<number> {
  const progress = startProgress(!options.quiet);
  try {
    if (isAddress(input)) {
      const text = `${input} is an address; download it, and repair the copy`;
      throw new SafetensorsError("UNSUPPORTED", text, { file: input });
    }
    if (output !== undefined) await checkOutput(output);
    else if (!options.dryRun) {
      throw new SafetensorsError("UNSUPPORTED", "an output is needed: a file or a folder, or --dry-run");
    }
    const report = await repairCheckpoint(input, options.dryRun ? undefined : output, {
      salvage: options.salvage,
      signal,
      onProgress: progress.update,
    });
    progress.stop();
    if (options.json) await printLines([toJson(reportJson(report, options), 2)]);
    else if (!options.quiet || report.status === "refused") await printLines(reportLines(report, input));
    return report.fatal.length > 0 ? EXIT.invalid : EXIT.ok;
  } catch (error) {
    progress.stop();
    if (signal.aborted) throw error;
    return fail(error, options.json ?? false);
  }
}

const VERDICTS: Readonly<Record<RepairReport["status"], string>> = {
  sound: outColors.green("nothing is wrong, nothing to write"),
  repaired: outColors.green("can be repaired"),
  salvaged: outColors.yellow("can be salvaged in part"),
  refused: outColors.red("cannot be repaired"),
};

function reportJson(
  { status, repairable, fatal, lost, saved }: RepairReport,
  { dryRun }: RepairOptions,
): object {
  const defectJson = ({ file, text }: RepairReport["fatal"][number]): object => {
    return { ...(file !== undefined && { file }), message: text };
  };
  return {
    status,
    repairable: repairable.map(defectJson),
    fatal: fatal.map(defectJson),
    lost,
    ...(saved ? savedJson(saved) : { files: [] }),
    dryRun: dryRun ?? false,
  };
}

function* reportLines(report: RepairReport, input: string): Iterable<string> {
  const { status, saved } = report;
  const verdict = saved ? VERDICTS[status].replace("can be ", "") : VERDICTS[status];
  yield `${outColors.bold(nameText(input))}: ${verdict}`;
  yield* table([{ style: outColors.dim }, {}], [...facts(report)]);
  if (status === "refused" && report.tensors > 0) {
    yield `  ${outColors.dim(`${plural(report.tensors, "tensor")} could be salvaged: --salvage`)}`;
  }
}

function* facts({ repairable, fatal, lost, tensors, saved }: RepairReport): Iterable<Fact> {
  const defect = ({ file, text }: RepairReport["fatal"][number]): string =>
    `${file === undefined ? "" : `${nameText(file)}: `}${printable(text)}`;
  yield* listed("repairable", repairable, LISTED, defect);
  yield* listed("broken", fatal, LISTED, defect);
  yield* listed("tensors lost", lost, LISTED, nameText);
  if (!saved) return;
  yield* listed("written", saved.files, LISTED, ({ path, byteLength }) => {
    return `${nameText(path)}  ${outColors.dim(formatBytes(byteLength))}`;
  });
  if (saved.index !== undefined) yield ["", nameText(saved.index)];
  yield ["", plural(tensors, "tensor")];
}
