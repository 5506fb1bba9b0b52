import { join } from "node:path";
import type { Command } from "commander";
import { SafetensorsError } from "safetensors.js";
import { convertPath, convertToTorch, locateCheckpoint, openFile } from "safetensors.js/node";
import { type TorchReport, torchReader } from "safetensors.js/torch";
import { interruptible } from "../interrupt.ts";
import { EXIT, fail } from "../output/failure.ts";
import { formatBytes, formatSeconds, plural } from "../output/numbers.ts";
import { startProgress } from "../output/progress.ts";
import { type Fact, listed, pickleFacts } from "../output/summary.ts";
import { table } from "../output/table.ts";
import { outColors, printLines } from "../output/terminal.ts";
import { nameText, toJson } from "../output/text.ts";
import { summarise } from "../pickle-report.ts";

/** Tied tensors and left-out values that are listed; the rest is counted. */
const LISTED = 10;

/** Names of PyTorch files that can be written. */
const TORCH_NAME = /\.(pt|pth|bin)$/i;

/** Bytes at the begin of a file that tell whether it is a PyTorch file. */
const HEAD_BYTES = 4096;

/** Bytes from which on a speed says something. */
const SPEED_FROM = 10_000_000;

interface ConvertOptions {
  readonly key?: string;
  readonly allowExpansion?: true;
  readonly json?: true;
  readonly quiet?: true;
}

/** What a conversion did, in either direction. */
interface Converted {
  readonly files: readonly {
    readonly input: string;
    readonly inputLength: number;
    readonly output: string;
    readonly byteLength: number;
    readonly tensors: number;
    readonly dataLength: number;
    readonly aliases: ReadonlyMap<string, string>;
    readonly report?: TorchReport;
  }[];
  readonly index?: string;
}

const HELP = `
Without an output, the new files go beside the input: pytorch_model.bin becomes
model.safetensors, other.bin becomes other.safetensors, and a checkpoint of several files
keeps its split and gets an index. Files that are there already are replaced.

Safetensors become one PyTorch file if the output is named so: .pt, .pth or .bin.

Examples:
  safetensors convert pytorch_model.bin
  safetensors convert checkpoint.pt weights.safetensors --key state_dict
  safetensors convert models/llama converted/
  safetensors convert model.safetensors model.pt

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
      "Converts a PyTorch checkpoint to safetensors, or back. No code in it is run, and Python is not needed.",
    )
    .argument("<input>", "a PyTorch file (.bin, .pt, .pth, .ckpt) or safetensors, an index, or a folder")
    .argument("[output]", "a file to write; a folder for a checkpoint of several files")
    .option("--key <path>", "where the tensors are, if the file has several sets: model, state_dict, a.b …")
    .option("--allow-expansion", "write it even if it gets more than 4 times as large as the input")
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
    const { key, allowExpansion } = options;
    const running = { signal, onProgress: progress.update };
    const result: Converted =
      output !== undefined && TORCH_NAME.test(output) && !(await isTorch(input))
        ? await toTorch(input, output, options, running)
        : await convertPath(input, output, { key, allowExpansion, ...running });
    progress.stop();
    const seconds = (performance.now() - start) / 1000;
    if (options.json) await printLines([toJson(resultJson(result, seconds), 2)]);
    else if (!options.quiet) await printLines(resultLines(result, seconds));
    return EXIT.ok;
  } catch (error) {
    progress.stop();
    if (signal.aborted) throw error;
    return fail(error, options.json ?? false);
  }
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

async function toTorch(
  input: string,
  output: string,
  options: ConvertOptions,
  running: NonNullable<Parameters<typeof convertToTorch>[2]>,
): Promise<Converted> {
  if (options.key !== undefined) {
    throw new SafetensorsError("UNSUPPORTED", "--key is for PyTorch files, the input is none");
  }
  const { inputs, ...result } = await convertToTorch(input, output, running);
  const inputLength = inputs.reduce((sum, { byteLength }) => sum + byteLength, 0);
  return { files: [{ input, inputLength, ...result }] };
}

function resultJson({ files, index }: Converted, seconds: number): unknown {
  return {
    files: files.map(({ input, inputLength, output, byteLength, tensors, dataLength }) => {
      return { input, inputBytes: inputLength, output, outputBytes: byteLength, tensors, bytes: dataLength };
    }),
    ...(index !== undefined && { index }),
    aliases: Object.fromEntries(files.flatMap((file) => [...file.aliases])),
    pickle: summarise(reportsIn(files)),
    seconds,
  };
}

function reportsIn(files: Converted["files"]): TorchReport[] {
  return files.flatMap(({ report }) => report ?? []);
}

function* resultLines(result: Converted, seconds: number): Iterable<string> {
  const size = result.files.reduce((sum, file) => sum + file.byteLength, 0);
  const tensors = result.files.reduce((sum, file) => sum + file.tensors, 0);
  const speed = size < SPEED_FROM ? "" : ` (${formatBytes(size / seconds)}/s)`;
  const amount = `${plural(tensors, "tensor")}, ${formatBytes(size)} in ${formatSeconds(seconds)}${speed}`;
  yield `${outColors.green("converted")} ${amount}`;
  yield* table([{ style: outColors.dim }, {}], [...facts(result)]);
}

function* facts({ files, index }: Converted): Iterable<Fact> {
  yield* listed("written", files, LISTED, ({ output, byteLength }) => {
    return `${nameText(output)}  ${outColors.dim(formatBytes(byteLength))}`;
  });
  if (index !== undefined) yield ["", nameText(index)];
  const aliases = files.flatMap((file) => [...file.aliases]);
  yield* listed("tied", aliases, LISTED, ([name, kept]) => {
    return `${nameText(name)} is ${nameText(kept)}, stored once`;
  });
  const pickle = summarise(reportsIn(files));
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
