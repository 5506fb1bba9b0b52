import type { Command } from "commander";
import { SafetensorsError } from "safetensors.js";
import { type Finding, type ScanReport, scan, toSarif, type Verdict } from "safetensors.js/scan";
import { INPUTS, reportTraffic } from "../inputs.ts";
import { EXIT, fail } from "../output/failure.ts";
import { plural } from "../output/numbers.ts";
import { table } from "../output/table.ts";
import { type Colors, outColors, printLines } from "../output/terminal.ts";
import { nameText, printable, toJson } from "../output/text.ts";
import { type ScanTarget, targetsOf } from "../scan-targets.ts";
import { ownVersion } from "../version.ts";

interface ScanCommandOptions {
  readonly json?: true;
  readonly sarif?: true;
  readonly globals?: true;
  readonly quiet?: true;
  readonly verbose?: true;
}

const HELP = `
What is scanned: everything in a file that could run code when somebody loads it: pickles in
PyTorch files of all kinds, joblib, NumPy and Keras files, and in archives and packed data, by
content and not by name. Nothing is run, and tensor data is not read.

Verdicts:
  clean       all was understood, and nothing in it can do harm
  dangerous   something in it names what no model needs and what can do harm
  incomplete  something was not understood: an unknown class, a damaged or ambiguous archive,
              another format, a limit. Do not load it if you do not trust where it comes from.

Examples:
  safetensors scan pytorch_model.bin
  safetensors scan downloads/ --quiet
  safetensors scan hf://org/model --sarif > scan.sarif
  safetensors scan 'models/*.pt' https://example.org/model.ckpt --json

Exit codes:
  0  all files are clean
  1  one or more are dangerous
  2  none is dangerous, but one or more could not be understood or read; or wrong usage`;

/** Adds `scan` to the program. */
export function addScan(program: Command): void {
  program
    .command("scan")
    .summary("find out whether loading files could run code")
    .description("Looks for code in files of models, without running any of it.")
    .argument(
      "<input...>",
      `${INPUTS}; of a folder, all files in it and below, through links too, but for .git`,
    )
    .option("--json", "print the reports as JSON")
    .option("--sarif", "print the findings as a SARIF 2.1.0 log")
    .option("--globals", "list the Python names that each file asks for, also of clean ones")
    .option("--quiet", "print only files that are not clean")
    .option("--verbose", "say on standard error how many bytes were read, in how many requests")
    .addHelpText("after", HELP)
    .action(async (inputs: string[], options: ScanCommandOptions) => {
      const asJson = options.json ?? options.sarif ?? false;
      process.exitCode = await scanAll(inputs, options).catch((error) => fail(error, asJson));
    });
}

async function scanAll(inputs: readonly string[], options: ScanCommandOptions): Promise<number> {
  const { json = false, sarif = false, quiet = false } = options;
  const isText = !json && !sarif;
  const reports: ScanReport[] = [];
  const counts: Record<Verdict, number> = { clean: 0, dangerous: 0, incomplete: 0 };
  const traffic = { requests: 0, bytes: 0 };
  for (const input of inputs) {
    for await (const target of targetsOf(input, traffic)) {
      const report = await scanTarget(target);
      counts[report.verdict]++;
      // Reports are only kept where they are printed together.
      if (!isText) reports.push(report);
      else if (!quiet || report.verdict !== "clean") await printLines(describe(report, options));
    }
  }
  if (sarif) await printLines([toJson(toSarif(reports, { version: ownVersion() }), 2)]);
  else if (json) await printLines([toJson({ results: reports, summary: counts }, 2)]);
  else if (!quiet && counts.clean + counts.dangerous + counts.incomplete > 1)
    await printLines(["", summary(counts)]);
  if (options.verbose) reportTraffic(traffic);
  if (counts.dangerous > 0) return EXIT.invalid;
  return counts.incomplete > 0 || counts.clean === 0 ? EXIT.failed : EXIT.ok;
}

/** The report of a file; of one that cannot be opened too. */
async function scanTarget({ file, open }: ScanTarget): Promise<ScanReport> {
  try {
    const source = await open();
    try {
      return await scan(source, { file });
    } finally {
      await source.close?.();
    }
  } catch (error) {
    if (!(error instanceof SafetensorsError)) throw error;
    const message = `cannot be read: ${error.reason}`;
    return {
      file,
      verdict: "incomplete",
      findings: [{ code: "unreadable", severity: "incomplete", message, file, member: [] }],
      findingCount: 1,
      globals: [],
      scanned: [],
      traffic: { requests: 0, bytes: 0 },
    };
  }
}

const VERDICT_STYLES: Readonly<Record<Verdict, (text: string) => string>> = {
  clean: outColors.green,
  dangerous: (text) => outColors.red(outColors.bold(text)),
  incomplete: outColors.yellow,
};

const SEVERITY_STYLES: Readonly<Record<Finding["severity"], keyof Colors & ("red" | "yellow" | "dim")>> = {
  dangerous: "red",
  incomplete: "yellow",
  note: "dim",
};

/** Names that are listed of a file unless all are asked for: the dangerous and unknown ones come first. */
const MOST_NAMES = 20;
const ROLE_ORDER = ["forbidden", "unknown", "inert", "interpreted"];

function* describe(report: ScanReport, options: ScanCommandOptions): Iterable<string> {
  const { file, verdict, findings, findingCount, globals } = report;
  const names =
    globals.length > 0 ? outColors.dim(`  ${plural(globals.length, "Python name")} asked for`) : "";
  yield `${outColors.bold(nameText(file))}: ${VERDICT_STYLES[verdict](verdict)}${names}`;
  for (const finding of findings) yield* describeFinding(finding);
  if (findingCount > findings.length) yield `  and ${plural(findingCount - findings.length, "more finding")}`;
  const isListed = options.globals || globals.some(({ role }) => role === "forbidden" || role === "unknown");
  if (!isListed) return;
  const rows = [...globals]
    .sort((a, b) => ROLE_ORDER.indexOf(a.role) - ROLE_ORDER.indexOf(b.role))
    .map(({ name, role, called, members }) => [
      role,
      called ? "called" : "",
      nameText(name),
      printable(members[0] === "" ? "" : `in ${members[0]}${members.length > 1 ? ", …" : ""}`),
    ]);
  const shown = options.globals ? rows : rows.slice(0, MOST_NAMES);
  const columns = [{ title: "role" }, { title: "use" }, { title: "name" }, { title: "place" }];
  yield* table(columns, shown, outColors.dim);
  if (shown.length < rows.length)
    yield outColors.dim(`  and ${plural(rows.length - shown.length, "more name")}`);
}

function* describeFinding({ code, severity, message, member, at, opcode }: Finding): Iterable<string> {
  const places = [...member.map(nameText), ...(at === undefined ? [] : [`byte ${at}`])].join(", ");
  const where =
    places === "" ? "" : ` ${outColors.dim(`(${places}${opcode === undefined ? "" : `: ${opcode}`})`)}`;
  yield `  ${outColors[SEVERITY_STYLES[severity]](code)}: ${printable(message)}${where}`;
}

function summary(counts: Readonly<Record<Verdict, number>>): string {
  const parts = (["clean", "dangerous", "incomplete"] as const)
    .filter((verdict) => counts[verdict] > 0 || verdict === "clean")
    .map((verdict) => VERDICT_STYLES[verdict](`${counts[verdict]} ${verdict}`));
  return parts.join(", ");
}
