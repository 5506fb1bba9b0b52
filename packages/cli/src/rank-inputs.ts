import { stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { type FileStore, readTextFiles, SafetensorsError } from "safetensors.js";
import {
  type MergeReport,
  mergeRanks,
  openRankFiles,
  type RankFile,
  rankNumbers,
  SHARE_NOTE,
  type WorldOptions,
} from "safetensors.js/parallel";
import { isAddress, placeOf } from "./address.ts";
import { expandInputs, ofInput } from "./inputs.ts";
import { plural } from "./output/numbers.ts";
import { startProgress } from "./output/progress.ts";
import type { Fact } from "./output/summary.ts";
import { nameText } from "./output/text.ts";
import { sizesOf, type WorldFlags, worldOptionsOf } from "./world-options.ts";
import type { Writing, WritingOptions } from "./writing.ts";

/** How the files of ranks are read. */
interface RanksOptions extends WorldFlags, WritingOptions {
  readonly trust?: true;
  readonly maxShardSize?: number;
}

/** What one input leads to. */
interface OpenedInput {
  readonly input: string;
  readonly store: FileStore;
  readonly files: readonly RankFile[];
  readonly paths: readonly string[];
}

/** Opens the files of ranks as one checkpoint that is to be written. */
export async function prepareRanks(
  patterns: readonly string[],
  options: RanksOptions,
  signal: AbortSignal,
): Promise<Writing & { close(): Promise<void> }> {
  const opened: OpenedInput[] = [];
  const close = async (): Promise<void> => {
    for (const { files } of opened) for (const { checkpoint } of files) await checkpoint.close();
  };
  const progress = startProgress(!options.quiet);
  try {
    for (const input of await expandInputs(patterns))
      opened.push(await ofInput(input, () => openInput(input, signal)));
    const files = numbered(opened);
    const division = await divisionOf(opened, files, options, signal);
    const onProgress = (done: number, total: number): void => progress.update(done, total, "comparing");
    const { checkpoint, report } = await mergeRanks(files, {
      division,
      trust: options.trust,
      signal,
      onProgress,
    });
    return {
      tensors: checkpoint,
      inputs: opened.flatMap(({ paths }) => paths),
      maxShardSize: options.maxShardSize,
      facts: [...facts(report, files.length, division !== undefined)],
      json: { ...report },
      close,
    };
  } catch (error) {
    await close();
    throw withAdvice(error);
  } finally {
    progress.stop();
  }
}

async function openInput(input: string, signal: AbortSignal): Promise<OpenedInput> {
  const { store, file } = await placeOf(input, { requests: 0, bytes: 0 });
  const files = await openRankFiles(store, { file, signal });
  return { input, store, files, paths: await pathsOf(input, files) };
}

/** Paths that must stay; none for an address. */
async function pathsOf(input: string, files: readonly RankFile[]): Promise<string[]> {
  if (isAddress(input)) return [];
  if (!(await stat(input)).isDirectory()) return [input];
  const paths = files.map(({ file }) => join(input, file));
  const there = await Promise.all(paths.map((path) => stat(path).catch(() => undefined)));
  // A rank that is a checkpoint of its own has files of other names.
  return there.every((one) => one?.isFile()) ? paths : [join(input, "model.safetensors")];
}

/** The files with the numbers of their ranks: those of their own names, or those in the names of the inputs. */
function numbered(opened: readonly OpenedInput[]): RankFile[] {
  const numbers = rankNumbers(opened.map(({ input }) => basename(input)));
  const isOne = opened.length === 1;
  return opened.flatMap(({ input, files }, place) =>
    files.map((one) => {
      const file = isOne ? one.file : files.length === 1 ? input : `${input}: ${one.file}`;
      return {
        ...one,
        file,
        rank: one.rank ?? (files.length === 1 && !isOne ? numbers?.[place] : undefined),
      };
    }),
  );
}

/** How the ranks were made, where they do not say it: as the options say, or as it is usual for the model. */
async function divisionOf(
  opened: readonly OpenedInput[],
  files: readonly RankFile[],
  options: RanksOptions,
  signal: AbortSignal,
): Promise<WorldOptions | undefined> {
  const [first] = opened;
  if (!first || files.every(({ checkpoint }) => checkpoint.metadata.has(SHARE_NOTE))) return undefined;
  const sizes = sizesOf(options);
  const hasSizes = Object.keys(sizes).length > 0;
  const ranks = new Set(files.map(({ rank }, place) => rank ?? place)).size;
  const isTold = hasSizes || options.config !== undefined || options.plan !== "auto";
  if (!isTold && (ranks === 1 || !(await hasConfig(first.store, signal)))) return undefined;
  return worldOptionsOf(options, hasSizes ? sizes : { tp: ranks }, first.store, undefined, signal);
}

async function hasConfig(store: FileStore, signal: AbortSignal): Promise<boolean> {
  return (await readTextFiles(store, ["config.json"], { signal })).size > 0;
}

function* facts(
  { ranks, tensors, comparedBytes }: MergeReport,
  files: number,
  isPlanned: boolean,
): Iterable<Fact> {
  yield [
    "from",
    `${plural(ranks.length, "rank")} in ${plural(files, "file")}, cut as ${isPlanned ? "the plan says" : "they say"}`,
  ];
  const same = comparedBytes > 0 ? ", where they are the same" : "";
  yield [
    "tensors",
    `${tensors.cut} were cut, ${tensors.replicated} in several ranks${same}, ${tensors.whole} in one`,
  ];
}

/** Says what would help, in the words of the command. */
function withAdvice(error: unknown): unknown {
  if (!(error instanceof SafetensorsError)) return error;
  const { code, reason, details } = error;
  const needsPlan = code === "UNSUPPORTED" && reason.includes("a plan is needed");
  const text = `${nameText(details.file ?? "")} does not say how it was cut: give the plan that cut it, --plan FILE or --config config.json; or try safetensors consolidate`;
  return new SafetensorsError(code, needsPlan ? text : reason, { ...details, kind: details.kind ?? "ranks" });
}
