import { type Command, InvalidArgumentError } from "commander";
import { type Checkpoint, SafetensorsError, type Traffic } from "safetensors.js";
import { type Comparison, compareCheckpoints } from "safetensors.js/compare";
import { dequantized } from "safetensors.js/quant";
import { comparisonJson, comparisonLines } from "../comparison.ts";
import { collectGlobs, globFilter } from "../glob.ts";
import { INPUTS, ofInput, reportTraffic } from "../inputs.ts";
import { type OpenedInput, openFiles } from "../open-files.ts";
import { EXIT, fail } from "../output/failure.ts";
import { startProgress } from "../output/progress.ts";
import { printLines } from "../output/terminal.ts";
import { toJson } from "../output/text.ts";
import { checkUnderstood, quantizationOf } from "../quantization.ts";

interface DiffOptions {
  readonly structureOnly?: true;
  readonly atol?: number;
  readonly rtol?: number;
  readonly equalNan?: true;
  readonly cast?: true;
  readonly dequantize?: true;
  readonly names?: readonly string[];
  readonly metadata: boolean;
  readonly key?: string;
  readonly json?: true;
  readonly quiet?: true;
  readonly verbose?: true;
}

const HELP = `
Tensors are compared by name, whatever the formats and however they are split into files. Without
a tolerance they are the same only if their bytes are. With --atol or --rtol, values a and b are
close if |a - b| <= atol + rtol * |b|, as in numpy.allclose. The relative difference is of |b|.
With --dequantize, quantized weights count as the dense ones that they stand for, floats of
different dtypes are compared, and the relative error is the norm of a - b by that of b.
Values are streamed: memory stays the same however large the files are.

Examples:
  safetensors diff old.safetensors new.safetensors
  safetensors diff pytorch_model.bin model.safetensors --no-metadata
  safetensors diff base/ finetuned/ --names '*.mlp.*' --rtol 1e-3
  safetensors diff model-f32/ model-bf16/ --cast --rtol 0.01
  safetensors diff model-fp8/ model/ --dequantize --rtol 0.07
  safetensors diff hf://org/model ./model --structure-only

JSON:
  { same, a, b, onlyInA, onlyInB, metadata, tensors: [{ name, a, b, status, values }], counts }
  tensors that are identical are only counted

Exit codes:
  0  the same
  1  different
  2  they could not be compared: missing, invalid, unreadable; or the command was used wrongly`;

/** Adds `diff` to the program. */
export function addDiff(program: Command): void {
  program
    .command("diff")
    .summary("compare two checkpoints: names, dtypes, shapes, metadata and values")
    .description("Tells what is different between two checkpoints.")
    .argument("<a>", INPUTS)
    .argument("<b>", "the same")
    .option("--structure-only", "compare what the headers say; read no values")
    .option("--atol <number>", "absolute tolerance", parseTolerance)
    .option("--rtol <number>", "relative tolerance", parseTolerance)
    .option("--equal-nan", "a NaN is equal to any other NaN")
    .option("--cast", "compare the values of tensors with different dtypes too")
    .option("--dequantize", "compare the dense values of quantized weights; tells the relative error of each")
    .option(
      "--names <glob>",
      "only tensors whose name matches: * is any text, ? is one character; may be repeated",
      collectGlobs,
    )
    .option("--no-metadata", "do not compare the metadata")
    .option("--key <path>", "PyTorch: where the tensors are, if a file has several sets of them")
    .option("--json", "print the result as JSON")
    .option("--quiet", "print nothing: the exit code tells")
    .option("--verbose", "say on standard error how many bytes were read, in how many requests")
    .addHelpText("after", HELP)
    .action(async (a: string, b: string, options: DiffOptions) => {
      process.exitCode = await diff(a, b, options).catch(async (error) => {
        await fail(error, options.json ?? false);
        return EXIT.failed;
      });
    });
}

function parseTolerance(text: string): number {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (value >= 0 && Number.isFinite(value)) return value;
  throw new InvalidArgumentError("It is a number from 0 on, such as 1e-5.");
}

async function diff(a: string, b: string, options: DiffOptions): Promise<number> {
  const traffic = { requests: 0, bytes: 0 };
  const comparison = await compare(a, b, options, traffic);
  if (options.json) await printLines([toJson({ a, b, ...comparisonJson(comparison) }, 2)]);
  else if (!options.quiet) await printLines(comparisonLines(comparison, a, b));
  if (options.verbose) reportTraffic(traffic);
  return comparison.same ? EXIT.ok : EXIT.invalid;
}

async function compare(
  a: string,
  b: string,
  { key, quiet, metadata, dequantize, ...options }: DiffOptions,
  traffic: Traffic,
): Promise<Comparison> {
  const names = globFilter(options.names);
  await using left = await ofInput(a, () => openFiles(a, { mode: "strict", key, names, traffic }));
  await using right = await ofInput(b, () => openFiles(b, { mode: "strict", key, names, traffic }));
  if (options.names !== undefined && left.whole.size + right.whole.size === 0) {
    throw new SafetensorsError(
      "TENSOR_NOT_FOUND",
      `no tensor of either has a name like ${options.names.join(" or ")}`,
    );
  }
  const [x, y] = dequantize ? [await denseOf(left), await denseOf(right)] : [left.whole, right.whole];
  const progress = startProgress(!quiet);
  try {
    return await compareCheckpoints(x, y, {
      ...options,
      ...(dequantize && { cast: true as const, norms: true }),
      names,
      ignoreMetadata: !metadata,
      // Node's own comparison runs ten times as fast as the portable one.
      sameBytes: (x, y) => Buffer.compare(x, y) === 0,
      onProgress: progress.update,
    });
  } finally {
    progress.stop();
  }
}

/** A checkpoint as it would be without quantisation. */
async function denseOf({ whole, store }: OpenedInput): Promise<Checkpoint> {
  const { quantization } = await quantizationOf(whole, store);
  checkUnderstood(quantization);
  return dequantized(whole, quantization, { dtype: "F32" });
}
