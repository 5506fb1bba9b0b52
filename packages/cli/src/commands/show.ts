import type { Command } from "commander";
import { type Checkpoint, parseIndex, SafetensorsError, type TensorHandle } from "safetensors.js";
import { DTYPES, type Dtype, decodeElement } from "safetensors.js/dtype";
import { npyHeader } from "safetensors.js/numpy";
import { expandInputs, reportTraffic } from "../inputs.ts";
import { openFiles } from "../open-files.ts";
import { EXIT, fail } from "../output/failure.ts";
import { outColors, printLines, writeBytes } from "../output/terminal.ts";
import { nameText, toJson } from "../output/text.ts";
import { formatArray, formatValue } from "../output/values.ts";
import { placesIn } from "../places.ts";

interface ShowOptions {
  readonly key?: string;
  readonly all?: true;
  readonly json?: true;
  readonly npy?: true;
  readonly raw?: true;
  readonly verbose?: true;
}

/** More elements than this are shown by their ends only. */
const MOST_SHOWN = 1000;

/** Most bytes of values that are held to be printed. */
const MOST_BYTES = 64 << 20;

/** Bytes read at once for --npy and --raw. */
const CHUNK_BYTES = 3 << 20;

const HELP = `
The part of the tensor is chosen by an index as in Python, of which only the bytes that are
needed are read: integers, ranges with steps (also backwards), "...", None, and lists.

Examples:
  safetensors show model.safetensors lm_head.weight
  safetensors show model.safetensors 'wte.weight[0, :10]'
  safetensors show model/ 'h.0.attn.weight[..., ::-1]' --npy > part.npy

Output:
  text    values in brackets; of more than ${MOST_SHOWN} only the ends, unless --all is given
  --json  { name, dtype, shape, values }: a flat array in row-major order; NaN and infinite
          values and integers beyond 2^53 are strings, complex values are pairs
  --npy   a NumPy file; bfloat16, 4-, 6- and 8-bit floats as the integers that hold their bits
  --raw   the packed little-endian bytes

Exit codes:
  0  shown
  1  the input is invalid, or the index does not fit the tensor
  2  there is no such file or tensor, it cannot be read, or the command was used wrongly`;

/** Adds `show` to the program. */
export function addShow(program: Command): void {
  program
    .command("show")
    .summary("print the values of a tensor or of a part of it")
    .description("Prints the values of a tensor, or of the part of it that an index chooses.")
    .argument(
      "<input>",
      "a file, a folder, an index, a pattern for one, or an address: https://, hf://, s3://",
    )
    .argument("<tensor>", "a name, with or without an index: 'wte.weight[0, :10]'")
    .option("--key <path>", "PyTorch: where the tensors are, if the file has several sets of them")
    .option("--all", "print every value, however many there are")
    .option("--json", "print the values as JSON")
    .option("--npy", "write a NumPy file to standard output")
    .option("--raw", "write the bytes to standard output")
    .option("--verbose", "say on standard error how many bytes were read, in how many requests")
    .addHelpText("after", HELP)
    .action(async (path: string, tensor: string, options: ShowOptions) => {
      process.exitCode = await show(path, tensor, options).catch(async (error) =>
        fail(error, options.json ?? false, { places: await placesIn(path, error) }),
      );
    });
}

async function show(pattern: string, wanted: string, options: ShowOptions): Promise<number> {
  const [input, ...others] = await expandInputs([pattern]);
  if (others.length > 0) {
    const text = `${others.length + 1} files match ${nameText(pattern)}; name the one to show`;
    throw new SafetensorsError("AMBIGUOUS", text);
  }
  const traffic = { requests: 0, bytes: 0 };
  // Names may hold brackets themselves, so what could be meant is only known when the names are.
  const names = (name: string): boolean => wanted === name || wanted.startsWith(`${name}[`);
  await using opened = await openFiles(input!, { mode: "strict", key: options.key, names, traffic });
  try {
    return await showTensor(findTensor(opened.whole, wanted), wanted, options);
  } finally {
    if (options.verbose) reportTraffic(traffic);
  }
}

async function showTensor(tensor: TensorHandle, wanted: string, options: ShowOptions): Promise<number> {
  if (options.npy || options.raw) {
    if (options.npy) await writeBytes(npyHeader(tensor.dtype, tensor.shape, { bits: true }));
    for await (const chunk of tensor.chunks(new Uint8Array(CHUNK_BYTES))) await writeBytes(chunk);
    return EXIT.ok;
  }
  if (tensor.byteLength > MOST_BYTES) {
    const text = `${tensor.byteLength} bytes are too many to print; choose a part with an index, or use --npy or --raw`;
    throw new SafetensorsError("LIMIT_EXCEEDED", text, { tensor: tensor.name, limit: "MOST_BYTES" });
  }
  const bytes = await tensor.bytes();
  const { name, dtype, shape } = tensor;
  if (options.json) {
    const values = Array.from({ length: tensor.length }, (_, place) => jsonValue(dtype, bytes, place));
    await printLines([toJson({ name, dtype, shape, values })]);
    return EXIT.ok;
  }
  const most = options.all ? Number.POSITIVE_INFINITY : MOST_SHOWN;
  await printLines([outColors.bold(`${nameText(wanted)}  ${dtype}  [${shape.join(", ")}]`)]);
  await printLines(formatArray(shape, (place) => cellText(dtype, bytes, place), most));
  return EXIT.ok;
}

/** The tensor of that name, or the part of one that the index behind its name chooses. */
function findTensor(checkpoint: Checkpoint, wanted: string): TensorHandle {
  // Names may hold brackets themselves, so the longest name that fits is meant.
  for (let end = wanted.length; end > 0; end = wanted.lastIndexOf("[", end - 1)) {
    const name = wanted.slice(0, end);
    if (!checkpoint.has(name)) continue;
    const tensor = checkpoint.get(name);
    return end === wanted.length ? tensor : tensor.slice(...parseIndex(wanted.slice(end)));
  }
  return checkpoint.get(wanted.replace(/\[.*$/s, ""));
}

function cellText(dtype: Dtype, bytes: Uint8Array, place: number): string {
  const value = decodeElement(dtype, bytes, place);
  if (typeof value === "bigint") return String(value);
  if (DTYPES[dtype].kind === "bool") return value === 0 ? "false" : "true";
  if (typeof value === "number") return formatValue(value);
  const [real, imaginary] = value;
  return `${formatValue(real)}${imaginary < 0 || Object.is(imaginary, -0) ? "" : "+"}${formatValue(imaginary)}j`;
}

function jsonValue(dtype: Dtype, bytes: Uint8Array, place: number): unknown {
  const value = decodeElement(dtype, bytes, place);
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (DTYPES[dtype].kind === "bool") return value !== 0;
  if (typeof value === "number") return jsonNumber(value);
  return value.map(jsonNumber);
}

function jsonNumber(value: number): number | string {
  return Number.isFinite(value) ? value : formatValue(value);
}
