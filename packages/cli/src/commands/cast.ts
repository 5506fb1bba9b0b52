import { type Command, InvalidArgumentError, Option } from "commander";
import { DTYPES, type FloatDtype } from "safetensors.js/dtype";
import { castTensor, type TensorStream } from "safetensors.js/save";
import { checkChoice, globsFilter } from "../glob.ts";
import { formatCount, plural } from "../output/numbers.ts";
import { openWeightsInput } from "../weights-input.ts";
import {
  addWritingOptions,
  OUTPUT,
  parseSizeOption,
  runWriting,
  WRITING_EXITS,
  WRITING_HELP,
  type WritingOptions,
} from "../writing.ts";

interface CastCommandOptions extends WritingOptions {
  readonly dtype: FloatDtype;
  readonly names?: string[];
  readonly exclude?: string[];
  readonly overflow?: "saturate" | "nonsaturate";
  readonly stochastic?: number;
  readonly maxShardSize?: number;
}

/** The dtypes of floats, the widest first. */
const DTYPE_NAMES = [
  "F64",
  "F32",
  "F16",
  "BF16",
  "F8_E4M3",
  "F8_E5M2",
  "F8_E4M3FNUZ",
  "F8_E5M2FNUZ",
  "F8_E8M0",
  "F6_E2M3",
  "F6_E3M2",
  "F4",
] as const satisfies readonly FloatDtype[];

const HELP = `
Only tensors of floats change; integers, booleans and complex numbers stay. Floats of 8 bits and
less are mostly quantized, and mean nothing without their scales: they change only if --names
chooses them. Values are rounded to nearest, ties to even. No scales are made: what is too
large for a dtype of 8 bits or less is lost, see --overflow. A config.json that --with-files copies
stays as it is, and may still name the old dtype.

Overflow:
  saturate     too large values and infinities become the largest finite value
  nonsaturate  they become infinity, or NaN where the dtype has none
  Without it, F8_E4M3, F6 and F4 saturate, as in PyTorch, and the rest does not.
${WRITING_HELP}

Examples:
  safetensors cast model.safetensors half.safetensors --dtype BF16
  safetensors cast model/ small/ --dtype F16 --exclude '*norm*' '*.bias'
  safetensors cast model/ f8/ --dtype F8_E4M3 --names '*_proj.weight' --overflow saturate
${WRITING_EXITS}`;

/** Adds `cast` to the program. */
export function addCast(program: Command): void {
  const command = program
    .command("cast")
    .summary("change the dtype of the floats in a checkpoint")
    .description("Writes a checkpoint with its floats in another dtype.")
    .argument("<input>", "a safetensors file, an index, a folder with either, or an address")
    .argument("<output>", OUTPUT)
    .addOption(new Option("--dtype <dtype>", "the new dtype").choices(DTYPE_NAMES).makeOptionMandatory())
    .option("--names <glob...>", "cast only tensors whose names match: * is any text, ? is one character")
    .option("--exclude <glob...>", "leave tensors whose names match as they are")
    .addOption(
      new Option("--overflow <how>", "what becomes of values that are too large").choices([
        "saturate",
        "nonsaturate",
      ]),
    )
    .option("--stochastic <seed>", "round up or down by chance, the nearer the likelier", parseSeed)
    .option("--max-shard-size <size>", "files of at most 5GB, 500MB …, in a folder", parseSizeOption);
  addWritingOptions(command)
    .addHelpText("after", HELP)
    .action(async (input: string, output: string, options: CastCommandOptions) => {
      process.exitCode = await runWriting("cast", output, options, async (signal) => {
        const weights = await openWeightsInput(input, signal);
        const close = (): Promise<void> => weights.whole.close();
        try {
          const tensors = castAll(weights.whole, options);
          const changed = [...tensors].filter(([name, { dtype }]) => weights.whole.get(name).dtype !== dtype);
          return {
            tensors,
            metadata: weights.whole.metadata,
            maxShardSize: options.maxShardSize,
            inputs: weights.paths,
            facts: [
              [options.dtype, `${formatCount(changed.length)} of ${plural(tensors.size, "tensor")} cast`],
            ],
            json: { cast: changed.map(([name]) => name) },
            close,
          };
        } catch (error) {
          await close();
          throw error;
        }
      });
    });
}

type Weights = Awaited<ReturnType<typeof openWeightsInput>>["whole"];

function castAll(whole: Weights, options: CastCommandOptions): Map<string, TensorStream> {
  const { dtype, names, exclude, overflow, stochastic } = options;
  const isNamed = globsFilter(names ?? []);
  const isExcluded = globsFilter(exclude ?? []);
  checkChoice(whole.keys(), names);
  const tensors = new Map<string, TensorStream>();
  for (const tensor of whole) {
    const { name } = tensor;
    const isChosen = names ? isNamed(name) : DTYPES[tensor.dtype].bits > 8;
    const stays = !isChosen || isExcluded(name);
    tensors.set(name, stays ? tensor : castTensor(tensor, dtype, { overflow, stochastic }));
  }
  return tensors;
}

function parseSeed(text: string): number {
  const seed = Number(text);
  if (Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32) return seed;
  throw new InvalidArgumentError("It is a whole number from 0 to 4294967295.");
}
