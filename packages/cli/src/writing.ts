import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import { SafetensorsError } from "safetensors.js";
import { type SaveCheckpointOptions, type SavedCheckpoint, saveCheckpoint } from "safetensors.js/node";
import { parseSize } from "safetensors.js/save";
import { interruptible } from "./interrupt.ts";
import { EXIT, fail } from "./output/failure.ts";
import { formatBytes, formatSeconds, plural } from "./output/numbers.ts";
import { startProgress } from "./output/progress.ts";
import { type Fact, listed } from "./output/summary.ts";
import { table } from "./output/table.ts";
import { outColors, printLines } from "./output/terminal.ts";
import { nameText, toJson } from "./output/text.ts";
import { checkOutput, isOneFile } from "./output-path.ts";
import {
  copyBeside,
  type FileBeside,
  filesBeside,
  isSameFolder,
  type TextBeside,
  textsBeside,
  WITH_FILES,
  writeText,
} from "./with-files.ts";

/** Files and ties that are listed; the rest is counted. */
const LISTED = 10;

/** Bytes from which on a speed says something. */
const SPEED_FROM = 10_000_000;

/** Options of every command that writes a checkpoint. */
export interface WritingOptions {
  readonly replace?: true;
  readonly withFiles?: true;
  readonly verify?: true;
  readonly resume?: true;
  readonly dryRun?: true;
  readonly json?: true;
  readonly quiet?: true;
}

/** What the help of such a command says of its output. */
export const OUTPUT =
  "a file that ends in .safetensors; or a folder, in which the files get their usual names";

/** What the help says of files that are there, and of exit codes. */
export const WRITING_HELP = `
Files that are there already are replaced when the new ones are complete; an error, Ctrl-C or a
full disk leaves everything as it was. In a folder, what is left of an older checkpoint with the
same begin of its names is removed then. The input is never touched, unless --replace is given.`;

export const WRITING_EXITS = `
Exit codes:
  0    written
  1    the input is invalid, or was refused; nothing was written
  2    it could not be done: no such file, no permission, no room, not supported, or the
       command was used wrongly
  130  stopped by Ctrl-C (143: by SIGTERM); nothing is left of it`;

/** Adds the options that every such command has. */
export function addWritingOptions(command: Command): Command {
  return command
    .option("--replace", "write over the input itself, or remove it, if that is where the output is")
    .option("--with-files", WITH_FILES)
    .option("--verify", "read the new files again, and compare, before they take their places")
    .option("--resume", "keep complete files when it is stopped or killed, and take those of such a run")
    .option("--dry-run", "say what would be written, and write nothing")
    .option("--json", "print the result as JSON")
    .option("--quiet", "print nothing but errors");
}

/** A size given to an option. */
export function parseSizeOption(text: string): number {
  try {
    return parseSize(text);
  } catch (error) {
    throw new InvalidArgumentError((error as SafetensorsError).reason);
  }
}

/** Told of bytes that are done, and of all. */
export type Progress = ReturnType<typeof startProgress>["update"];

/** What to write. */
export interface Writing extends Pick<SaveCheckpointOptions, "maxShardSize" | "split" | "metadata" | "stem"> {
  readonly tensors: Parameters<typeof saveCheckpoint>[1];
  /** What writes it, where `saveCheckpoint` would not write it as it should be. */
  readonly save?: typeof saveCheckpoint;
  /**
   * Slow work that makes the tensors, of which `tensors` only tell what they will be. It is done when all else is known to
   * be in order, and not in a dry run.
   */
  readonly make?: () => Promise<Made>;
  /** Paths that the tensors come from. */
  readonly inputs: readonly string[];
  /** Paths of what else the output depends on. */
  readonly alsoRead?: readonly string[];
  /**
   * Files of text to write into an output that is a folder, by name, whether or not others are copied: a configuration that
   * has changed. Nothing for one that is not to be copied either.
   */
  readonly texts?: ReadonlyMap<string, string | undefined>;
  /** Further facts for the report, and for its JSON. */
  readonly facts?: readonly Fact[];
  readonly json?: Readonly<Record<string, unknown>>;
}

/** What was made in order to be written. */
export interface Made extends Pick<Writing, "tensors" | "facts" | "json"> {
  close(isSaved: boolean): Promise<void>;
}

/**
 * Runs a command that writes a checkpoint: progress on standard error, a report or JSON on standard output, the exit
 * code as the result.
 *
 * @param verb what was done, as the report says it: "split".
 * @param output a path that ends in .safetensors is a file; any other is a folder.
 * @param prepare opens the input, and says what to write; `close` is called at the end. It may report progress of its own.
 */
export async function runWriting(
  verb: string,
  output: string,
  options: WritingOptions,
  prepare: (signal: AbortSignal, onProgress: Progress) => Promise<Writing & { close(): Promise<void> }>,
): Promise<number> {
  return interruptible(async (signal) => {
    const progress = startProgress(!options.quiet);
    const start = performance.now();
    try {
      await checkOutput(output);
      const {
        save = saveCheckpoint,
        make,
        inputs,
        alsoRead = [],
        texts = new Map(),
        close,
        ...writing
      } = await prepare(signal, progress.update);
      let made: Made | undefined;
      let isSaved = false;
      try {
        const { tensors, facts, json, ...layout } = writing;
        if (isOneFile(output) && (layout.maxShardSize ?? layout.split) !== undefined) {
          const text = `${nameText(output)} is one file, which cannot be split; name a folder as the output`;
          throw new SafetensorsError("UNSUPPORTED", text, { file: output });
        }
        const saving = {
          ...layout,
          verify: options.verify,
          resume: options.resume ? await identityOf(inputs, alsoRead) : undefined,
          keep: [...(options.replace ? [] : inputs), ...alsoRead],
          signal,
          onProgress: progress.update,
        };
        // What stands in the way is told before any slow work, and before what follows from it.
        if (make || texts.size > 0) await save(output, tensors, { ...saving, dryRun: true });
        const beside = options.withFiles ? await filesBeside(inputs, output, new Set(texts.keys())) : [];
        const isInPlace =
          options.replace && inputs[0] !== undefined && (await isSameFolder(dirname(inputs[0]), output));
        const written = isOneFile(output) ? [] : await textsBeside(texts, output, isInPlace ?? false);
        if (make && !options.dryRun) made = await make();
        const saved = await save(output, made?.tensors ?? tensors, { ...saving, dryRun: options.dryRun });
        isSaved = true;
        progress.stop();
        if (!options.dryRun) {
          for (const file of beside) await copyBeside(file);
          for (const file of written) await writeText(file);
        }
        const seconds = (performance.now() - start) / 1000;
        if (options.json) {
          await printLines([
            toJson(
              {
                ...savedJson(saved, beside, written),
                ...(made?.json ?? json),
                dryRun: options.dryRun ?? false,
                seconds,
              },
              2,
            ),
          ]);
        } else if (!options.quiet) {
          const said = options.dryRun ? `would have ${verb}` : verb;
          await printLines(
            reportLines(
              said,
              saved,
              { beside, written },
              made?.facts ?? facts ?? [],
              options.dryRun ? undefined : seconds,
            ),
          );
        }
        return EXIT.ok;
      } finally {
        await made?.close(isSaved);
        await close();
      }
    } catch (error) {
      progress.stop();
      if (signal.aborted) throw error;
      return fail(error, options.json ?? false, { advice: adviceOn(error) });
    }
  }, options.resume && "the same command takes up the files that are complete");
}

/** What a run has in common with one that was stopped: what it was told to do, and with which files. */
export async function identityOf(
  inputs: readonly string[],
  alsoRead: readonly string[] = [],
): Promise<string> {
  if (inputs.length === 0) {
    throw new SafetensorsError(
      "UNSUPPORTED",
      "only what is read from files can be resumed, not from an address",
    );
  }
  const files = await Promise.all(
    [...inputs, ...alsoRead].map(async (path) => {
      const { dev, ino, size, mtimeNs } = await stat(path, { bigint: true });
      return [path, dev, ino, size, mtimeNs].map(String);
    }),
  );
  return JSON.stringify([process.argv.slice(2), files]);
}

function adviceOn(error: unknown): string | undefined {
  const isInput = error instanceof SafetensorsError && /is the input itself/.test(error.message);
  return isInput ? "To write over the input, add --replace." : undefined;
}

/** What was saved as JSON has it. */
export function savedJson(
  { files, index, aliases, removed, reused }: SavedCheckpoint,
  beside: readonly FileBeside[] = [],
  written: readonly TextBeside[] = [],
): Readonly<Record<string, unknown>> {
  const texts = written.filter(({ text }) => text !== undefined).map(({ to }) => to);
  return {
    files: files.map(({ path, byteLength, tensors, dataLength }) => {
      return { output: path, outputBytes: byteLength, tensors, bytes: dataLength };
    }),
    ...(index !== undefined && { index }),
    aliases: Object.fromEntries(aliases),
    removed: [...removed, ...withoutText(written)],
    reused,
    copied: beside.map(({ to }) => to),
    ...(texts.length > 0 && { written: texts }),
  };
}

const withoutText = (written: readonly TextBeside[]): string[] =>
  written.filter(({ text }) => text === undefined).map(({ to }) => to);

function* reportLines(
  verb: string,
  saved: SavedCheckpoint,
  { beside, written }: { readonly beside: readonly FileBeside[]; readonly written: readonly TextBeside[] },
  facts: readonly Fact[],
  seconds: number | undefined,
): Iterable<string> {
  const { files, index, aliases, removed, reused } = saved;
  const gone = [...removed, ...withoutText(written)];
  const size = files.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const tensors = files.reduce((sum, file) => sum + file.tensors, 0);
  const time = seconds === undefined ? "" : ` in ${formatSeconds(seconds)}`;
  const speed = seconds === undefined || size < SPEED_FROM ? "" : ` (${formatBytes(size / seconds)}/s)`;
  yield `${outColors.green(verb)} ${plural(tensors, "tensor")}, ${formatBytes(size)}${time}${speed}`;
  const rows: Fact[] = [
    ...listed(seconds === undefined ? "to write" : "written", files, LISTED, ({ path, byteLength }) => {
      return `${nameText(path)}  ${outColors.dim(formatBytes(byteLength))}`;
    }),
    ...(index === undefined ? [] : [["", nameText(index)] as const]),
    ...written.filter(({ text }) => text !== undefined).map(({ to }) => ["", nameText(to)] as const),
    ...listed(
      "tied",
      [...aliases],
      LISTED,
      ([name, kept]) => `${nameText(name)} is ${nameText(kept)}, stored once`,
    ),
    ...listed(seconds === undefined ? "to copy" : "copied", beside, LISTED, ({ to }) => nameText(to)),
    ...listed(seconds === undefined ? "to remove" : "removed", gone, LISTED, (path) => nameText(path)),
    ...listed("complete already", reused, LISTED, (path) => nameText(path)),
    ...facts,
  ];
  yield* table([{ style: outColors.dim }, {}], rows);
}
