import { readFile } from "node:fs/promises";
import { type Command, InvalidArgumentError } from "commander";
import { SafetensorsError } from "safetensors.js";
import { editCheckpoint } from "safetensors.js/node";
import { newNames, type RenameRules } from "safetensors.js/save";
import { interruptible } from "../interrupt.ts";
import { EXIT, fail } from "../output/failure.ts";
import { plural } from "../output/numbers.ts";
import { type Fact, listed } from "../output/summary.ts";
import { table } from "../output/table.ts";
import { outColors, printLines } from "../output/terminal.ts";
import { nameText, toJson } from "../output/text.ts";
import { openWeightsInput } from "../weights-input.ts";
import { addWritingOptions, OUTPUT, runWriting, WRITING_EXITS, type WritingOptions } from "../writing.ts";
import { asGiven, editedJson } from "./edit.ts";

/** New names that are listed; the rest is counted. */
const LISTED = 20;

interface RenameOptions extends WritingOptions {
  readonly map?: string;
  readonly sub?: RenameRules["patterns"];
}

const HELP = `
A map is a JSON object of old names and new ones. Each --sub takes what the one before made of a
name: s/expression/replacement/, with $1 for what the first group matched, and flags g and i;
any other character than / may part the three. Two tensors that would get the same name are an
error, and nothing is written then.

Without an output the names are changed in place: where they fit into the room of the header,
nothing else is written, whatever the size of the file; see \`safetensors edit --help\`. The
options --with-files, --replace, --verify and --resume are for an output.

Examples:
  safetensors rename model.safetensors --sub 's/^model\\.//' --dry-run
  safetensors rename model/ renamed/ --map names.json
  safetensors rename model/ --sub 's/\\.gamma$/.weight/' --sub 's/\\.beta$/.bias/'
${WRITING_EXITS}`;

/** Adds `rename` to the program. */
export function addRename(program: Command): void {
  const command = program
    .command("rename")
    .summary("change names of tensors")
    .description("Changes names of tensors, by a list or by patterns, in place or into a new checkpoint.")
    .argument("<input>", "a safetensors file, an index, a folder with either, or an address")
    .argument("[output]", OUTPUT)
    .option("--map <file>", "a JSON file with old and new names")
    .option("--sub <expression...>", "replace in names, as sed does", collectSubstitutions);
  addWritingOptions(command)
    .addHelpText("after", HELP)
    .action(async (input: string, output: string | undefined, options: RenameOptions) => {
      process.exitCode =
        output === undefined ? await renameInPlace(input, options) : await renameInto(input, output, options);
    });
}

async function renameInto(input: string, output: string, options: RenameOptions): Promise<number> {
  return runWriting("renamed", output, options, async (signal) => {
    const weights = await openWeightsInput(input, signal);
    const close = (): Promise<void> => weights.whole.close();
    try {
      const names = newNames(weights.whole.keys(), await rulesOf(options));
      const tensors = Array.from(weights.whole, (tensor) => {
        return [names.get(tensor.name) ?? tensor.name, tensor] as const;
      });
      const json = { renamed: Object.fromEntries(names) };
      const { metadata } = weights.whole;
      return { tensors, metadata, inputs: weights.paths, facts: factsOf(names), json, close };
    } catch (error) {
      await close();
      throw error;
    }
  });
}

async function renameInPlace(input: string, options: RenameOptions): Promise<number> {
  return interruptible(async (signal) => {
    try {
      if (options.withFiles ?? options.replace ?? options.verify ?? options.resume) {
        const text =
          "--with-files, --replace, --verify and --resume are for an output; without one only headers change";
        throw new SafetensorsError("UNSUPPORTED", text);
      }
      const names = await namesIn(input, options, signal);
      const { dryRun = false } = options;
      const edited = await asGiven(await editCheckpoint(input, { rename: names }, { dryRun, signal }), input);
      if (options.json) {
        const renamed = Object.fromEntries(names);
        await printLines([toJson({ ...editedJson(edited), renamed, dryRun }, 2)]);
      } else if (!options.quiet) {
        const verb = dryRun ? "would rename" : "renamed";
        const where = edited.files.every(({ how }) => how !== "rewritten") ? "in place" : "written anew";
        await printLines([`${outColors.green(verb)} ${plural(names.size, "tensor")}, ${where}`]);
        await printLines(table([{ style: outColors.dim }, {}], factsOf(names)));
      }
      return EXIT.ok;
    } catch (error) {
      if (signal.aborted) throw error;
      return fail(error, options.json ?? false);
    }
  });
}

async function namesIn(
  input: string,
  options: RenameOptions,
  signal: AbortSignal,
): Promise<Map<string, string>> {
  await using weights = await openWeightsInput(input, signal);
  if (weights.paths.length > 0) return newNames(weights.whole.keys(), await rulesOf(options));
  throw new SafetensorsError(
    "UNSUPPORTED",
    `${nameText(input)} cannot be changed where it is; name an output`,
  );
}

function factsOf(names: ReadonlyMap<string, string>): Fact[] {
  return [...listed("names", [...names], LISTED, ([from, to]) => `${nameText(from)} → ${nameText(to)}`)];
}

async function rulesOf({ map, sub }: RenameOptions): Promise<RenameRules> {
  if (map === undefined && sub === undefined) {
    throw new SafetensorsError("TENSOR_NOT_FOUND", "nothing says which names to change; add --map or --sub");
  }
  return { patterns: sub, ...(map !== undefined && { names: await readMap(map) }) };
}

async function readMap(path: string): Promise<Map<string, string>> {
  const wrong = (text: string): SafetensorsError =>
    new SafetensorsError("INVALID_JSON", `${path}: ${text}`, { file: path });
  let value: unknown;
  try {
    value = JSON.parse(await readFile(path, "utf8"));
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT")
      throw new SafetensorsError("NOT_FOUND", `there is no file ${path}`, { file: path });
    if (code !== undefined)
      throw new SafetensorsError("IO", `${path} cannot be read: ${code}`, { file: path, cause });
    throw wrong("it is not JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw wrong("it is no object of names");
  return new Map(
    Object.entries(value).map(([from, to]) => {
      if (typeof to !== "string") throw wrong(`the new name of ${nameText(from)} is no text`);
      return [from, to];
    }),
  );
}

type Substitutions = NonNullable<RenameRules["patterns"]>;

function collectSubstitutions(text: string, before: Substitutions = []): Substitutions {
  const [, mark, rest = ""] = /^s([^\\\w\s])(.*)$/su.exec(text) ?? [];
  const [pattern, by, flags, ...others] = mark === undefined ? [] : rest.split(mark);
  if (!pattern || by === undefined || flags === undefined || others.length > 0 || !/^[gi]*$/.test(flags)) {
    throw new InvalidArgumentError("It is not s/expression/replacement/ with flags g and i.");
  }
  try {
    return [...before, { pattern: new RegExp(pattern, `${flags}u`), by }];
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}
