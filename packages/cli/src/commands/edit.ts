import { realpath, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import { SafetensorsError } from "safetensors.js";
import {
  type CheckpointEditResult,
  type EditOptions,
  type EditResult,
  editCheckpoint,
  editFile,
  finishEdits,
  rewriteFile,
} from "safetensors.js/node";
import { isAddress } from "../address.ts";
import { globsFilter } from "../glob.ts";
import { interruptible } from "../interrupt.ts";
import { EXIT, fail } from "../output/failure.ts";
import { formatBytes, formatCount, plural } from "../output/numbers.ts";
import { startProgress } from "../output/progress.ts";
import { type Fact, listed } from "../output/summary.ts";
import { table } from "../output/table.ts";
import { outColors, printLines } from "../output/terminal.ts";
import { nameText, toJson } from "../output/text.ts";
import { checkOutput, isOneFile } from "../output-path.ts";
import { parseSizeOption } from "../writing.ts";

/** Files that are listed; the rest is counted. */
const LISTED = 10;

interface EditCommandOptions {
  readonly set?: ReadonlyMap<string, string>;
  readonly unset?: string[];
  readonly rename?: ReadonlyMap<string, string>;
  readonly drop?: string[];
  readonly reserve?: number;
  readonly finish?: true;
  readonly dryRun?: true;
  readonly json?: true;
  readonly quiet?: true;
}

const HELP = `
Where the new header fits into the room of the old one, only the header is written, whatever the
size of the file. Where it does not, or tensors are dropped, the file is written anew and takes
the place of the old one when it is complete. Files of a checkpoint and its index change as one.

An edit that is interrupted is finished when the file is opened the next time, or by this command
without any changes. With --finish also if the file was copied meanwhile, or its process seems to
be running still.

Examples:
  safetensors edit model.safetensors --set format=pt --set license=apache-2.0
  safetensors edit model.safetensors --unset author --dry-run
  safetensors edit model.safetensors --rename lm_head.weight=output.weight
  safetensors edit model.safetensors smaller.safetensors --drop 'optimizer.*'
  safetensors edit model/ --set revision=7 --reserve 4KB

Exit codes:
  0    edited, or there was nothing to change
  1    the input is invalid, or the edit was refused; nothing was written
  2    it could not be done: no such file, no permission, no room, not supported, or the
       command was used wrongly
  130  stopped by Ctrl-C (143: by SIGTERM); nothing was written`;

/** Adds `edit` to the program. */
export function addEdit(program: Command): void {
  program
    .command("edit")
    .summary("change metadata and names, in place where that is possible")
    .description("Changes the metadata of safetensors files and the names of tensors, or leaves tensors out.")
    .argument("<input>", "a safetensors file, an index, or a folder")
    .argument("[output]", "a file to write instead of changing the input, which must be a file then")
    .option("--set <key=value...>", "set metadata", pairParser("a key"))
    .option("--unset <key...>", "remove metadata")
    .option("--rename <old=new...>", "rename tensors", pairParser("a name"))
    .option("--drop <glob...>", "leave out tensors whose names match: * is any text, ? is one character")
    .option(
      "--reserve <size>",
      "room for later edits in a header that is written anew: 4KB …",
      parseSizeOption,
    )
    .option("--finish", "first finish an interrupted edit, whatever speaks against it")
    .option("--dry-run", "say what would be done, and write nothing")
    .option("--json", "print the result as JSON")
    .option("--quiet", "print nothing but errors")
    .addHelpText("after", HELP)
    .action(async (input: string, output: string | undefined, options: EditCommandOptions) => {
      process.exitCode = await interruptible((signal) => edit(input, output, options, signal));
    });
}

/** Collects `old=new`; the first `=` parts them. */
function pairParser(what: string): (text: string, before?: Map<string, string>) => Map<string, string> {
  return (text, before = new Map()) => {
    const at = text.indexOf("=");
    if (at < 0) throw new InvalidArgumentError(`It has no "=".`);
    const key = text.slice(0, at);
    if (before.has(key)) throw new InvalidArgumentError(`It gives ${what} a second time.`);
    return before.set(key, text.slice(at + 1));
  };
}

async function edit(
  input: string,
  output: string | undefined,
  options: EditCommandOptions,
  signal: AbortSignal,
): Promise<number> {
  const progress = startProgress(!options.quiet);
  try {
    await checkPaths(input, output, options);
    if (options.finish) await finishEdits(input, { force: true });
    const edited = await run(input, output, options, {
      reserve: options.reserve,
      dryRun: options.dryRun,
      signal,
      onProgress: (done, total) => progress.update(done, total, basename(output ?? input)),
    });
    progress.stop();
    const shown = output === undefined ? await asGiven(edited, input) : edited;
    if (options.json)
      await printLines([toJson({ ...editedJson(shown), dryRun: options.dryRun ?? false }, 2)]);
    else if (!options.quiet) await printLines(editedLines(shown, options));
    return EXIT.ok;
  } catch (error) {
    progress.stop();
    if (signal.aborted) throw error;
    return fail(error, options.json ?? false);
  }
}

/** Refuses what cannot be edited so, and says what can. */
async function checkPaths(
  input: string,
  output: string | undefined,
  { drop }: EditCommandOptions,
): Promise<void> {
  const refused = (text: string): SafetensorsError =>
    new SafetensorsError("UNSUPPORTED", text, { file: input });
  if (isAddress(input)) throw refused(`${input} is an address; only files on this machine can be edited`);
  if (output !== undefined) await checkOutput(output);
  if (output !== undefined && !isOneFile(output)) {
    throw refused(`the output ${nameText(output)} does not end in .safetensors`);
  }
  if (output === undefined && !drop) return;
  const isFolder = (await stat(input).catch(() => undefined))?.isDirectory() ?? false;
  if (isFolder || /\.json$/.test(input)) {
    const [what, how] = drop
      ? ["tensors are dropped of one file", `safetensors extract ${nameText(input)} OUTPUT --exclude GLOB`]
      : ["one file is written anew", `safetensors merge ${nameText(input)} --output OUTPUT, and edit that`];
    throw refused(`${what}, and ${nameText(input)} is a whole checkpoint; use ${how}`);
  }
  if (output === undefined && /-\d{5,6}-of-\d{5,6}\./.test(basename(input))) {
    throw refused(
      `${input} is one file of a checkpoint, whose index would no longer be right; name an output`,
    );
  }
}

async function run(
  input: string,
  output: string | undefined,
  { set, unset, rename, drop }: EditCommandOptions,
  options: EditOptions,
): Promise<CheckpointEditResult> {
  const changes = { setMetadata: set, removeMetadata: unset, rename };
  if (drop) {
    return {
      files: [await rewriteFile(input, { ...changes, drop: globsFilter(drop) }, { ...options, output })],
    };
  }
  if (output !== undefined) return { files: [await editFile(input, changes, { ...options, output })] };
  return editCheckpoint(input, changes, options);
}

/** The same with paths as the user gave them: edits name the real ones. */
export async function asGiven(edited: CheckpointEditResult, given: string): Promise<CheckpointEditResult> {
  const isFolder = (await stat(given)).isDirectory();
  if (!isFolder && !given.endsWith(".json")) {
    return { files: edited.files.map((file) => ({ ...file, path: given })) };
  }
  const folder = isFolder ? given : dirname(given);
  const real = await realpath(folder);
  const shown = (path: string): string => (dirname(path) === real ? join(folder, basename(path)) : path);
  const files = edited.files.map((file) => ({ ...file, path: shown(file.path) }));
  return { files, ...(edited.index !== undefined && { index: shown(edited.index) }) };
}

/** What was edited as JSON has it. */
export function editedJson({ files, index }: CheckpointEditResult): object {
  return {
    files: files.map(({ path, how, byteLength, room }) => ({
      output: path,
      how,
      outputBytes: byteLength,
      room,
    })),
    ...(index !== undefined && { index }),
  };
}

function* editedLines(
  { files, index }: CheckpointEditResult,
  { dryRun }: EditCommandOptions,
): Iterable<string> {
  const changed = files.filter(({ how }) => how !== "unchanged");
  const all = plural(files.length, "file");
  const count = changed.length === files.length ? all : `${formatCount(changed.length)} of ${all}`;
  const verb = dryRun ? "would edit" : "edited";
  yield changed.length === 0 ? "nothing to change" : `${outColors.green(verb)} ${count}`;
  const facts: Fact[] = [
    ...listed("file", files, LISTED, (file) => `${nameText(file.path)}  ${outColors.dim(describe(file))}`),
    ...(index === undefined ? [] : [["", nameText(index)] as const]),
  ];
  yield* table([{ style: outColors.dim }, {}], facts);
}

const HOW = {
  unchanged: "as it was",
  "in-place": "in place",
  copied: "header anew, data copied",
  rewritten: "written anew",
} as const;

function describe({ how, byteLength, room }: EditResult): string {
  const size = how === "copied" || how === "rewritten" ? `, ${formatBytes(byteLength)}` : "";
  return `${HOW[how]}${size}; ${plural(room, "byte")} of room left in the header`;
}
