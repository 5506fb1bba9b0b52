import { type Command, InvalidArgumentError } from "commander";
import { SafetensorsError } from "safetensors.js";
import {
  applyRecipe,
  invertRecipe,
  parseRecipe,
  RECIPES,
  type Recipe,
  type TransformReport,
} from "safetensors.js/transform";
import { readSmallFile } from "../json-file.ts";
import { EXIT } from "../output/failure.ts";
import { plural } from "../output/numbers.ts";
import { type Fact, listed } from "../output/summary.ts";
import { table } from "../output/table.ts";
import { outColors, printLines } from "../output/terminal.ts";
import { nameText, printable, toJson } from "../output/text.ts";
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

/** Names of dropped tensors that are listed; the rest is counted. */
const LISTED = 10;

interface TransformOptions extends WritingOptions {
  readonly recipe?: string;
  readonly reverse?: true;
  readonly set?: ReadonlyMap<string, number>;
  readonly config?: string;
  readonly maxShardSize?: number;
  readonly list?: true;
}

const HELP = `
Nothing is computed: tensors are renamed, stacked, joined, split, transposed and permuted while
they are copied. --recipe takes the name of a recipe that --list shows, or a file with one.
Values that a recipe needs come from --config, or one by one: --set num_attention_heads=32
${WRITING_HELP}

Examples:
  safetensors transform --list
  safetensors transform mixtral/ stacked/ --recipe mixtral-experts
  safetensors transform stacked/ mixtral/ --recipe mixtral-experts --reverse
  safetensors transform consolidated.safetensors hf/ --recipe meta-llama --config params.json
  safetensors transform phi/ fused/ --recipe phi3-fused --config phi/config.json
  safetensors transform model/ out/ --recipe my-recipe.json --dry-run
${WRITING_EXITS}`;

/** Adds `transform` to the program. */
export function addTransform(program: Command): void {
  const command = program
    .command("transform")
    .summary("rearrange tensors as a recipe says: stack experts, fuse q, k and v …")
    .description(
      "Writes a checkpoint in the form of another library or family: a recipe says which tensors become which.",
    )
    .argument("[input]", "a safetensors file, an index, a folder with either, or an address")
    .argument("[output]", OUTPUT)
    .option("--recipe <name-or-file>", "what to do: the name of a recipe, or a JSON file")
    .option("--reverse", "do the opposite")
    .option("--set <name=number...>", "values of the recipe's variables", parseSetting)
    .option("--config <file>", "take values from the numbers in a config.json or params.json")
    .option("--max-shard-size <size>", "files of at most 5GB, 500MB …, in a folder", parseSizeOption)
    .option("--list", "list the recipes that come with the program");
  addWritingOptions(command)
    .addHelpText("after", HELP)
    .action(async (input: string | undefined, output: string | undefined, options: TransformOptions) => {
      const { recipe } = options;
      if (options.list) process.exitCode = await listRecipes(options.json ?? false);
      else if (input === undefined || output === undefined || recipe === undefined) {
        command.error("error: an input, an output and --recipe are needed, or --list", {
          exitCode: EXIT.failed,
        });
      } else process.exitCode = await transform(input, output, recipe, options);
    });
}

function transform(
  input: string,
  output: string,
  recipeName: string,
  options: TransformOptions,
): Promise<number> {
  return runWriting("transformed", output, options, async (signal) => {
    const found = RECIPES.get(recipeName) ?? (await readRecipe(recipeName));
    const recipe = options.reverse ? invertRecipe(found) : found;
    const variables = new Map([...(await numbersOf(options.config)), ...(options.set ?? [])]);
    const weights = await openWeightsInput(input, signal);
    const close = (): Promise<void> => weights.whole.close();
    try {
      const { tensors, report } = applyRecipe(weights.whole, recipe, { variables });
      return {
        tensors: tensors.map((tensor) => [tensor.name, tensor] as const),
        metadata: weights.whole.metadata,
        maxShardSize: options.maxShardSize,
        inputs: weights.paths,
        facts: facts(report),
        json: { ...report },
        close,
      };
    } catch (error) {
      await close();
      throw withHint(error);
    }
  });
}

async function readRecipe(path: string): Promise<Recipe> {
  try {
    return parseRecipe(await readSmallFile(path));
  } catch (error) {
    if (!(error instanceof SafetensorsError)) throw error;
    if (error.code !== "NOT_FOUND") throw error.inFile(path);
    const names = [...RECIPES.keys()].join(", ");
    throw new SafetensorsError(
      "NOT_FOUND",
      `${error.reason}; the recipes with names are ${names}`,
      error.details,
    );
  }
}

function facts({ steps, kept, dropped }: TransformReport): Fact[] {
  const rearranging = steps.filter(({ made }) => made > 0);
  const used = rearranging.reduce((sum, step) => sum + step.used, 0);
  const made = rearranging.reduce((sum, step) => sum + step.made, 0);
  return [
    ["recipe", `${plural(used, "tensor")} became ${made}; ${kept} stayed as they were`],
    ...listed("left out", dropped, LISTED, nameText),
  ];
}

/** Says how a value that is missing is given. */
function withHint(error: unknown): unknown {
  if (!(error instanceof SafetensorsError) || !/needs a value for /.test(error.message)) return error;
  return new SafetensorsError(
    error.code,
    `${error.reason}; give it with --set NAME=NUMBER or --config config.json`,
    error.details,
  );
}

async function listRecipes(json: boolean): Promise<number> {
  const all = [...RECIPES.values()];
  if (json) {
    await printLines([toJson(all, 2)]);
    return EXIT.ok;
  }
  const rows = all.flatMap(({ name = "", description = "", variables = [] }): Fact[] => [
    [name, printable(description)],
    ...variables.map((variable) => ["", variableText(variable)] as const),
  ]);
  await printLines(table([{ style: outColors.bold }, {}], rows));
  return EXIT.ok;
}

function variableText({
  name,
  description,
  default: fallback,
}: NonNullable<Recipe["variables"]>[number]): string {
  const meaning = description === undefined ? "" : `: ${description}`;
  const otherwise = fallback === undefined ? "" : ` (${fallback} unless given)`;
  return outColors.dim(printable(`--set ${name}=…${meaning}${otherwise}`));
}

/** The whole numbers at the top of a JSON file. */
async function numbersOf(path: string | undefined): Promise<Map<string, number>> {
  if (path === undefined) return new Map();
  let config: unknown;
  try {
    config = JSON.parse(new TextDecoder().decode(await readSmallFile(path)));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new SafetensorsError("INVALID_JSON", `${nameText(path)} is not JSON: ${error.message}`);
  }
  if (typeof config !== "object" || config === null) return new Map();
  const isWhole = (entry: [string, unknown]): entry is [string, number] => Number.isSafeInteger(entry[1]);
  return new Map(Object.entries(config).filter(isWhole));
}

/** `name=number`, given once or several times. */
function parseSetting(
  text: string,
  before: ReadonlyMap<string, number> | undefined,
): ReadonlyMap<string, number> {
  const [, name, digits] = /^(\w+)=(\d{1,15})$/.exec(text) ?? [];
  if (name === undefined) throw new InvalidArgumentError("NAME=NUMBER is expected.");
  return new Map([...(before ?? []), [name, Number(digits)]]);
}
