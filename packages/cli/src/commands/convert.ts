import { join } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import { SafetensorsError } from "safetensors.js";
import {
  type ConvertResult,
  convertPath,
  convertToNumpy,
  convertToTorch,
  locateCheckpoint,
  openFile,
  type WriteOptions,
} from "safetensors.js/node";
import { parseSize } from "safetensors.js/save";
import { torchReader } from "safetensors.js/torch";
import { isAddress } from "../address.ts";
import { globsFilter } from "../glob.ts";
import { interruptible } from "../interrupt.ts";
import { EXIT, fail } from "../output/failure.ts";
import { formatBytes, formatSeconds, plural } from "../output/numbers.ts";
import { startProgress } from "../output/progress.ts";
import { type Fact, listed, pickleFacts } from "../output/summary.ts";
import { table } from "../output/table.ts";
import { outColors, printLines } from "../output/terminal.ts";
import { nameText, toJson } from "../output/text.ts";
import { summarise } from "../pickle-report.ts";
import { placesIn } from "../places.ts";

/** Tied tensors and left-out values that are listed; the rest is counted. */
const LISTED = 10;

/** Names of PyTorch files that can be written. */
const TORCH_NAME = /\.(pt|pth|bin)$/i;

/** Names of NumPy files that can be written, and of those that cannot. */
const NUMPY_NAME = /\.(npz|npy)$/i;

/** Bytes at the begin of a file that tell whether it is a PyTorch file. */
const HEAD_BYTES = 4096;

/** Bytes from which on a speed says something. */
const SPEED_FROM = 10_000_000;

interface ConvertOptions {
  readonly key?: string;
  readonly flatten?: true;
  readonly include?: string[];
  readonly exclude?: string[];
  readonly stripPrefix?: string;
  readonly dtype?: "F64" | "F32" | "F16" | "BF16";
  readonly maxShardSize?: number;
  readonly singleFile?: true;
  readonly keep?: string[];
  readonly discard?: string[];
  readonly quantized: "refuse" | "raw" | "dequantize";
  readonly sparse: "refuse" | "densify" | "parts";
  readonly splitComplex?: true;
  readonly verify?: true;
  readonly allowExpansion?: true;
  readonly json?: true;
  readonly quiet?: true;
}

/** What a conversion did, in either direction. */
type Converted = Pick<ConvertResult, "inputs" | "files" | "index">;

const HELP = `
Without an output, the new files go beside the input: pytorch_model.bin becomes
model.safetensors, other.bin becomes other.safetensors, and a checkpoint of several files
keeps its split and gets an index. Files that are there already are replaced.

An output named .pt, .pth or .bin is one PyTorch file, of safetensors or of another PyTorch file.
It has the tensors and nothing else: what an unsafe pickle might run when it is loaded is gone.
(A file that names what is plainly dangerous is refused all the same: see safetensors scan.)
An output named .npz is a NumPy archive, which numpy.load opens, with one array for each tensor.

PyTorch files since 1.6 and .npz files have a checksum of each storage or array. It is compared
while the data is copied: a tensor that is damaged ends the conversion. What is not read in order
from the first byte of a storage to the last (parts of one, transposed and big-endian tensors,
those computed from others), and what no tensor is made of, is compared with --verify only.

--keep and --discard take names as they are in the output, without the prefix that is stripped.

Examples:
  safetensors convert pytorch_model.bin
  safetensors convert checkpoint.pt weights.safetensors --key state_dict
  safetensors convert models/llama converted/
  safetensors convert model.safetensors model.pt
  safetensors convert untrusted.pt safe.pt
  safetensors convert model.safetensors arrays.npz --dtype F32
  safetensors convert big.ckpt out/ --include 'model.*' --strip-prefix model. --max-shard-size 5GB
  safetensors convert weights.bin --dtype BF16 --verify

Exit codes:
  0    converted
  1    the input is invalid, dangerous, or was refused; nothing was written
  2    it could not be done: no such file, no permission, no room, not supported, or the
       command was used wrongly
  130  stopped by Ctrl-C (143: by SIGTERM); nothing is left of it`;

/** Adds `convert` to the program. */
export function addConvert(program: Command): void {
  program
    .command("convert")
    .summary("convert PyTorch files to safetensors, and back")
    .description(
      "Converts a PyTorch checkpoint to safetensors, or back, or to a PyTorch file that is safe to load. " +
        "No code in it is run, and Python is not needed.",
    )
    .argument(
      "<input>",
      "a PyTorch (.bin, .pt, .pth, .ckpt), NumPy (.npz, .npy) or safetensors file, an index, or a folder",
    )
    .argument("[output]", "a file to write; a folder for a checkpoint of several files")
    .option("--key <path>", "where the tensors are, if the file has several sets: model, state_dict, a.b …")
    .option("--flatten", "all tensors of the file, under their paths from the top")
    .option("--include <glob...>", "only tensors whose names match: * is any text, ? is one character")
    .option("--exclude <glob...>", "no tensors whose names match")
    .option("--strip-prefix <text>", "take this off the begin of names, such as module.")
    .addOption(
      new Option("--dtype <dtype>", "cast floats, rounding to nearest even").choices([
        "F64",
        "F32",
        "F16",
        "BF16",
      ]),
    )
    .option("--max-shard-size <size>", "split anew into files of at most 5GB, 500MB …", parseShardSize)
    .option("--single-file", "put all tensors into one file")
    .option("--keep <name...>", "of tensors that share their data, store them under these names")
    .option("--discard <name...>", "of tensors that share their data, store them not under these names")
    .addOption(
      new Option("--quantized <how>", "torch's quantized tensors")
        .choices(["refuse", "raw", "dequantize"])
        .default("refuse"),
    )
    .addOption(
      new Option("--sparse <how>", "sparse tensors")
        .choices(["refuse", "densify", "parts"])
        .default("refuse"),
    )
    .option("--split-complex", "write complex128 and complex32 as two tensors, .real and .imag")
    .option("--verify", "compare all checksums of the input, see below; read the new files again and compare")
    .option(
      "--allow-expansion",
      "write it even if it gets larger than 1 GiB and more than 4 times as large as the input",
    )
    .option("--json", "print the result as JSON")
    .option("--quiet", "print nothing but errors")
    .addHelpText("after", HELP)
    .action(async (input: string, output: string | undefined, options: ConvertOptions) => {
      process.exitCode = await interruptible((signal) => convert(input, output, options, signal));
    });
}

async function convert(
  input: string,
  output: string | undefined,
  options: ConvertOptions,
  signal: AbortSignal,
): Promise<number> {
  const progress = startProgress(!options.quiet);
  const start = performance.now();
  try {
    if (isAddress(input)) {
      const text = `${input} is an address; download it, and convert the copy`;
      throw new SafetensorsError("UNSUPPORTED", text, { file: input });
    }
    const running = { signal, onProgress: progress.update };
    const result = await converted(input, output, options, running);
    progress.stop();
    const seconds = (performance.now() - start) / 1000;
    if (options.json) await printLines([toJson(resultJson(result, seconds), 2)]);
    else if (!options.quiet) await printLines(resultLines(result, seconds));
    return EXIT.ok;
  } catch (error) {
    progress.stop();
    if (signal.aborted) throw error;
    const places = await placesIn(input, error);
    return fail(error, options.json ?? false, { places, advice: adviceOn(error, input, output) });
  }
}

/** Both limits of what an input may become have one option here; other commands have none. */
function adviceOn(error: unknown, input: string, output = ""): string | undefined {
  const { limit, kind } = error instanceof SafetensorsError ? error.details : {};
  // NumPy's own files may be the reason as well: what they hold, and safetensors do not.
  if (kind === "npy" && NUMPY_NAME.test(output) && !NUMPY_NAME.test(input))
    return "NumPy has no BF16 and no 8-bit floats: --dtype F32 casts the former, --exclude leaves tensors out.";
  return limit === "MAX_EXPANSION" || limit === "MAX_INFLATE_RATIO"
    ? "If that is what you want, add --allow-expansion."
    : undefined;
}

function parseShardSize(text: string): number {
  try {
    return parseSize(text);
  } catch (error) {
    throw new InvalidArgumentError((error as SafetensorsError).reason);
  }
}

/** The options as the library has them. */
function rulesOf(options: ConvertOptions): NonNullable<Parameters<typeof convertPath>[2]> {
  const { include, exclude, singleFile, splitComplex, maxShardSize, ...same } = options;
  return {
    ...same,
    ...(include && { include: globsFilter(include) }),
    ...(exclude && { exclude: globsFilter(exclude) }),
    maxShardSize: singleFile ? Number.POSITIVE_INFINITY : maxShardSize,
    complex128: splitComplex ? "split" : "refuse",
  };
}

/** Whether the input is a PyTorch checkpoint, by the content of its first file. */
async function isTorch(input: string): Promise<boolean> {
  const { folder, files } = await locateCheckpoint(input);
  const source = await openFile(join(folder, files[0]!));
  try {
    return torchReader.recognises(await source.read(0, Math.min(source.size, HEAD_BYTES)));
  } finally {
    await source.close();
  }
}

/** Refuses the first of these options that is given. */
function refuseAll(options: Readonly<Record<string, unknown>>, reason: string): void {
  const [given] = Object.keys(options).filter((option) => options[option] !== undefined);
  if (given === undefined) return;
  const name = given.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  throw new SafetensorsError("UNSUPPORTED", `--${name} ${reason}`);
}

/** Converts to the format that the name of the output says. */
async function converted(
  input: string,
  output: string | undefined,
  options: ConvertOptions,
  running: Pick<WriteOptions, "signal" | "onProgress">,
): Promise<Converted> {
  const rules = { ...rulesOf(options), ...running };
  const isSafetensors = output === undefined || !(TORCH_NAME.test(output) || NUMPY_NAME.test(output));
  // Of a folder, what is converted to safetensors are its PyTorch files.
  if (!isSafetensors || NUMPY_NAME.test(input)) await refuseIdle(input, options);
  if (isSafetensors) return convertPath(input, output, rules);
  if (/\.npy$/i.test(output))
    throw new SafetensorsError("UNSUPPORTED", `${output} would hold one array only; name it .npz`, {
      file: output,
    });
  const { keep, discard, maxShardSize } = options;
  const isTorchOutput = TORCH_NAME.test(output);
  const kind = isTorchOutput ? "PyTorch" : "NumPy";
  refuseAll({ keep, discard, maxShardSize }, `is for safetensors, the output is a ${kind} file`);
  const convertTo = isTorchOutput ? convertToTorch : convertToNumpy;
  const { inputs, output: path, ...result } = await convertTo(input, output, rules);
  return { inputs, files: [{ path, inputs: inputs.map((one) => one.path), ...result }] };
}

/** Refuses options that would do nothing, as the input is no PyTorch file. */
async function refuseIdle(input: string, options: ConvertOptions): Promise<void> {
  const { key, flatten, splitComplex } = options;
  const [quantized, sparse] = [options.quantized, options.sparse].map((how) => how !== "refuse" || undefined);
  const ofTorch = { key, flatten, quantized, sparse, splitComplex };
  if (Object.values(ofTorch).some((value) => value !== undefined) && !(await isTorch(input)))
    refuseAll(ofTorch, "is for PyTorch files, the input is none");
}

function resultJson({ inputs, files, index }: Converted, seconds: number): unknown {
  return {
    inputs: inputs.map(({ path, byteLength }) => ({ input: path, inputBytes: byteLength })),
    files: files.map(({ inputs: from, path, byteLength, tensors, dataLength }) => {
      return { inputs: from, output: path, outputBytes: byteLength, tensors, bytes: dataLength };
    }),
    ...(index !== undefined && { index }),
    aliases: Object.fromEntries(files.flatMap((file) => [...file.aliases])),
    pickle: summarise(reportsIn(inputs)),
    seconds,
  };
}

function reportsIn(inputs: Converted["inputs"]): (ConvertResult["inputs"][number]["report"] & {})[] {
  return inputs.flatMap(({ report }) => report ?? []);
}

function* resultLines(result: Converted, seconds: number): Iterable<string> {
  const size = result.files.reduce((sum, file) => sum + file.byteLength, 0);
  const tensors = result.files.reduce((sum, file) => sum + file.tensors, 0);
  const speed = size < SPEED_FROM ? "" : ` (${formatBytes(size / seconds)}/s)`;
  const amount = `${plural(tensors, "tensor")}, ${formatBytes(size)} in ${formatSeconds(seconds)}${speed}`;
  yield `${outColors.green("converted")} ${amount}`;
  yield* table([{ style: outColors.dim }, {}], [...facts(result)]);
}

function* facts({ inputs, files, index }: Converted): Iterable<Fact> {
  yield* listed("written", files, LISTED, ({ path, byteLength }) => {
    return `${nameText(path)}  ${outColors.dim(formatBytes(byteLength))}`;
  });
  if (index !== undefined) yield ["", nameText(index)];
  const aliases = files.flatMap((file) => [...file.aliases]);
  yield* listed("tied", aliases, LISTED, ([name, kept]) => {
    return `${nameText(name)} is ${nameText(kept)}, stored once`;
  });
  const pickle = summarise(reportsIn(inputs));
  if (!pickle) return;
  yield* pickleFacts(pickle, LISTED);
  const unknown = pickle.globals.filter((global) => global.role === "unknown");
  yield* listed(
    "",
    unknown,
    LISTED,
    ({ name }) => `unknown: ${nameText(name)}; nothing of it is in the output`,
  );
}
