import { type Command, Option } from "commander";
import { type ReadMode, SafetensorsError, type Traffic } from "safetensors.js";
import { checkDigests, checkManifest } from "../check-data.ts";
import { collectGlobs } from "../glob.ts";
import { expandInputs, INPUTS, reportTraffic } from "../inputs.ts";
import { openFiles } from "../open-files.ts";
import { EXIT, errorJson, exitCodeOf, fail, problemText } from "../output/failure.ts";
import { formatBytes, plural } from "../output/numbers.ts";
import { outColors, printLines } from "../output/terminal.ts";
import { nameText, printable, toJson } from "../output/text.ts";
import { quantizationOf, quantProblemsIn } from "../quantization.ts";
import { schemesOf } from "../scheme-table.ts";

interface CheckOptions {
  readonly mode: "strict" | "compat";
  readonly manifest?: string;
  readonly digests?: true;
  readonly names?: readonly string[];
  readonly json?: true;
  readonly quiet?: true;
  readonly verbose?: true;
}

const HELP = `
Modes:
  strict   what the format's specification and its reference implementation allow; all that
           is wrong is listed
  compat   what the reference implementation accepts and refuses; it stops at the first error

What is checked: of safetensors, the header, the place of every tensor, and the size of the
file; of an index, that its files are there and have the tensors it says; of PyTorch files,
that the tensors can be read without running any code; of NumPy files, every header; of
quantized weights, that scales, zeros and the configuration beside them fit together. The
data itself is only read to compare it with a manifest, or with digests in the metadata, as
\`safetensors hash\` writes them with --write and --metadata.

Examples:
  safetensors check model.safetensors
  safetensors check models/*/ --quiet
  safetensors check model/ --manifest model/model.safetensors.manifest.json
  safetensors check pytorch_model.bin && safetensors convert pytorch_model.bin

Exit codes:
  0  all are valid
  1  one or more are invalid or dangerous
  2  none is invalid, but one or more could not be checked: missing, unreadable, unsupported;
     or the command was used wrongly`;

/** Adds `check` to the program. */
export function addCheck(program: Command): void {
  program
    .command("check")
    .summary("tell whether files are valid and safe to read")
    .description(
      "Checks safetensors, PyTorch and NumPy files, folders and indexes, and lists everything that is wrong.",
    )
    .argument("<input...>", `${INPUTS}; a checkpoint of several files is checked as one`)
    .addOption(
      new Option("--mode <mode>", "which rules to apply").choices(["strict", "compat"]).default("strict"),
    )
    .option("--manifest <file>", "compare files and tensors with this manifest, for one input")
    .option("--digests", "compare the tensors with the digests in the files' own metadata")
    .option(
      "--names <glob>",
      "compare only tensors whose name matches: * is any text, ? is one character; may be repeated",
      collectGlobs,
    )
    .option("--json", "print the results as JSON")
    .option("--quiet", "print only what is wrong")
    .option("--verbose", "say on standard error how many bytes were read, in how many requests")
    .addHelpText("after", HELP)
    .action(async (paths: string[], options: CheckOptions) => {
      process.exitCode = await check(paths, options).catch((error) => fail(error, options.json ?? false));
    });
}

/** What was found out about one path. */
interface Result {
  readonly path: string;
  readonly status: "valid" | "invalid" | "unchecked";
  readonly format?: string;
  readonly files?: readonly string[];
  readonly tensors?: number;
  readonly bytes?: number;
  /** The ways in which weights are quantised, and how many are. */
  readonly quantized?: readonly string[];
  /** Whether the data was compared with digests, and is right. */
  readonly digestsMatch?: true;
  readonly problems: readonly unknown[];
}

async function check(inputs: readonly string[], options: CheckOptions): Promise<number> {
  const results: Result[] = [];
  const traffic = { requests: 0, bytes: 0 };
  const paths = await expandInputs(inputs);
  if (options.manifest !== undefined && paths.length > 1) {
    throw new SafetensorsError("UNSUPPORTED", "--manifest is for one checkpoint, there are several inputs");
  }
  if (options.names !== undefined && options.manifest === undefined && !options.digests) {
    throw new SafetensorsError("UNSUPPORTED", "--names chooses what is compared by --manifest or --digests");
  }
  for (const path of paths) {
    const result = await checkData(await checkOne(path, options.mode, traffic), options, traffic);
    results.push(result);
    if (!options.json && !(options.quiet && result.status === "valid")) await printLines(describe(result));
  }
  const count = (status: Result["status"]): number => results.filter((one) => one.status === status).length;
  const summary = { valid: count("valid"), invalid: count("invalid"), unchecked: count("unchecked") };
  if (options.json) {
    const shown = results.map((result) => ({ ...result, problems: result.problems.map(errorJson) }));
    await printLines([toJson({ results: shown, summary }, 2)]);
  } else if (paths.length > 1 && !options.quiet) {
    const parts = [`${summary.valid} valid`, `${summary.invalid} invalid`];
    if (summary.unchecked > 0) parts.push(`${summary.unchecked} could not be checked`);
    await printLines(["", parts.join(", ")]);
  }
  if (options.verbose) reportTraffic(traffic);
  if (summary.invalid > 0) return EXIT.invalid;
  return summary.unchecked > 0 ? EXIT.failed : EXIT.ok;
}

/** @param key of PyTorch files: whatever is in them is to be readable, so that where it is does not matter. */
async function checkOne(
  path: string,
  mode: CheckOptions["mode"],
  traffic: Traffic,
  key?: string,
): Promise<Result> {
  // The lenient mode applies the strict rules and goes on after what is wrong.
  const readMode: ReadMode = mode === "strict" ? "lenient" : mode;
  try {
    await using opened = await openFiles(path, { mode: readMode, key, traffic });
    const { whole } = opened;
    const files = opened.files.map(({ file }) => file);
    const found = { path, format: whole.format, files, tensors: whole.size, problems: whole.problems };
    // Of a broken header not even the names can be relied on.
    if (whole.problems.length > 0) return { ...found, status: "invalid" };
    let bytes = 0;
    for (const tensor of whole) bytes += tensor.byteLength;
    if (mode === "compat") return { ...found, status: "valid", bytes };
    const { quantization } = await quantizationOf(whole, opened.store);
    const problems = quantProblemsIn(opened, quantization);
    const quantized = schemesOf(quantization).map(
      ({ text, weights }) => `${plural(weights, "weight")} in ${text}`,
    );
    const status = problems.length > 0 ? "invalid" : "valid";
    return { ...found, problems, status, bytes, ...(quantized.length > 0 && { quantized }) };
  } catch (error) {
    const isAmbiguous = error instanceof SafetensorsError && error.code === "AMBIGUOUS";
    if (isAmbiguous && key === undefined) return checkOne(path, mode, traffic, "");
    return { path, status: exitCodeOf(error) === EXIT.invalid ? "invalid" : "unchecked", problems: [error] };
  }
}

/** Compares the data of what is valid with digests, if that is asked for. */
async function checkData(result: Result, options: CheckOptions, traffic: Traffic): Promise<Result> {
  const { path } = result;
  if (result.status !== "valid" || !(options.manifest !== undefined || options.digests)) return result;
  try {
    const problems = [
      ...(options.manifest === undefined
        ? []
        : await checkManifest(path, options.manifest, options, traffic)),
      ...(options.digests ? await checkDigests(path, options, traffic) : []),
    ];
    return problems.length === 0
      ? { ...result, digestsMatch: true }
      : { ...result, status: "invalid", problems };
  } catch (error) {
    return {
      ...result,
      status: exitCodeOf(error) === EXIT.invalid ? "invalid" : "unchecked",
      problems: [error],
    };
  }
}

const STATUS: Readonly<Record<Result["status"], string>> = {
  valid: outColors.green("valid"),
  invalid: outColors.red("invalid"),
  unchecked: outColors.yellow("could not be checked"),
};

function* describe({
  path,
  status,
  format,
  files,
  tensors,
  bytes,
  quantized = [],
  digestsMatch,
  problems,
}: Result): Iterable<string> {
  const facts = [format];
  if (files && files.length > 1) facts.push(plural(files.length, "file"));
  if (tensors !== undefined) facts.push(plural(tensors, "tensor"));
  if (bytes !== undefined) facts.push(formatBytes(bytes));
  for (const text of quantized) facts.push(text);
  if (digestsMatch) facts.push("digests match");
  const found = status === "valid" ? outColors.dim(`  ${facts.join(", ")}`) : "";
  yield `${outColors.bold(nameText(path))}: ${STATUS[status]}${found}`;
  const advices = new Set<string>();
  for (const problem of problems) {
    yield `  ${problemText(problem)}`;
    const { advice } = errorJson(problem);
    if (advice !== undefined) advices.add(advice);
  }
  for (const advice of advices) yield `  ${outColors.dim(printable(advice))}`;
}
