import { checkShardFileName } from "../checkpoint/shard-index.ts";
import { quote, SafetensorsError } from "../errors.ts";

/**
 * What wrote the files of the ranks:
 *
 * - `dcp`: PyTorch's distributed checkpoint in safetensors form, `shard-00001-model-00001-of-00001.safetensors`;
 *   every file says itself where its tensors belong;
 * - `deepseek`: the inference code of DeepSeek-V3 and its successors, `model0-mp8.safetensors`;
 * - `vllm`: vLLM's sharded state, `model-rank-0-part-0.safetensors`;
 * - `ranks`: anything else with the rank in its name, `rank0.safetensors`, `consolidated.00.safetensors`.
 */
export type RankKind = "dcp" | "deepseek" | "vllm" | "ranks";

/** A file of a rank. */
export interface RankFile {
  readonly file: string;
  /** As the file's name has it. */
  readonly rank: number;
  /** Number among the files of the rank. */
  readonly part: number;
}

/** The files of all ranks, by rank and part. */
export interface RankFiles {
  readonly kind: RankKind;
  readonly files: readonly RankFile[];
}

/** Which files are those of ranks. */
export interface RankChoice {
  /** Look only for files of this kind. */
  readonly kind?: RankKind | undefined;
  /**
   * Of `dcp`: let numbers of ranks be missing. A rank without tensors of its own writes no file; but what a lost file
   * held alone is lost without a word.
   */
  readonly allowGaps?: boolean | undefined;
}

/** How the files of a set are named: the groups are the rank, the part and how many ranks there are. */
interface Naming {
  readonly kind: RankKind;
  readonly pattern: RegExp;
  /** Files that a set needs to be taken for one without being told. */
  readonly fewest: number;
}

const NAMINGS: readonly Naming[] = [
  {
    kind: "dcp",
    pattern: /^shard-(?<rank>\d{5,})-model-(?<part>\d{5,})-of-\d{5,}\.safetensors$/d,
    fewest: 1,
  },
  { kind: "deepseek", pattern: /^model(?<rank>\d+)-mp(?<count>\d+)\.safetensors$/d, fewest: 1 },
  { kind: "vllm", pattern: /^model-rank-(?<rank>\d+)-part-(?<part>\d+)\.safetensors$/d, fewest: 1 },
  { kind: "ranks", pattern: /^.*rank[-_.]?(?<rank>\d+)\D*\.safetensors$/di, fewest: 1 },
  { kind: "ranks", pattern: /^\D*(?<rank>\d+)\D*\.safetensors$/d, fewest: 2 },
  // Without being told, these are the files of an ordinary checkpoint.
  {
    kind: "ranks",
    pattern: /^\D*(?<rank>\d+)-of-(?<count>\d+)\.safetensors$/d,
    fewest: Number.POSITIVE_INFINITY,
  },
];

/** Files with one kind of name: the same name but for rank and part. */
interface FileSet {
  readonly naming: Naming;
  /** The name with a star for each of the two. */
  readonly name: string;
  readonly count: number | undefined;
  readonly files: RankFile[];
}

/**
 * Finds the files of ranks by their names.
 *
 * @param names names of files in any order; others may be among them.
 * @param place what to call the place with the files in messages.
 * @returns nothing if no names are those of ranks
 * @throws `AMBIGUOUS` if there are several sets; `INDEX_MISMATCH` for a missing rank; `UNSAFE_FILE_NAME`
 */
export function findRankFiles(
  names: Iterable<string>,
  place: string,
  { kind, allowGaps = false }: RankChoice = {},
): RankFiles | undefined {
  const all = [...names];
  for (const candidates of [["dcp", "deepseek", "vllm"], ["ranks"]]) {
    const namings = NAMINGS.filter(
      (naming) => candidates.includes(naming.kind) && (kind ?? naming.kind) === naming.kind,
    );
    const [set, ...others] = firstSets(all, namings, kind !== undefined);
    if (!set) continue;
    if (others.length > 0) {
      const list = [set, ...others].slice(0, 8).map((one) => quote(one.name));
      const text = `${place} holds several sets of files: ${list.join(", ")}; keep one, or say which kind is meant`;
      throw new SafetensorsError("AMBIGUOUS", text, { file: place });
    }
    set.files.sort((a, b) => a.rank - b.rank || a.part - b.part);
    checkNumbers(set, allowGaps && set.naming.kind === "dcp");
    return { kind: set.naming.kind, files: set.files };
  }
  return undefined;
}

/** The sets of files: of plain ranks those of the first naming that fits, of the other kinds all. */
function firstSets(names: readonly string[], namings: readonly Naming[], isTold: boolean): FileSet[] {
  const found: FileSet[] = [];
  for (const naming of namings) {
    if (naming.kind === "ranks" && found.length > 0) break;
    const sets = new Map<string, FileSet>();
    for (const file of names) {
      const match = naming.pattern.exec(file);
      if (!match) continue;
      checkShardFileName(file);
      const { rank, part, count } = match.groups!;
      const name = withStars(file, match);
      const set = sets.get(name) ?? {
        naming,
        name,
        count: count === undefined ? undefined : Number(count),
        files: [],
      };
      sets.set(name, set);
      set.files.push({ file, rank: Number(rank), part: Number(part ?? 0) });
    }
    for (const set of sets.values()) if (isTold || set.files.length >= naming.fewest) found.push(set);
  }
  return found;
}

function withStars(file: string, match: RegExpExecArray): string {
  const { rank, part } = match.indices!.groups!;
  let name = file;
  for (const [begin, end] of [part, rank].filter((range) => range !== undefined)) {
    name = `${name.slice(0, begin)}*${name.slice(end)}`;
  }
  return name;
}

/** No rank may be missing, and of vLLM no part: what it held would be lost without a word. */
function checkNumbers({ naming: { kind }, name, count, files }: FileSet, allowGaps: boolean): void {
  let before: RankFile | undefined;
  for (const one of files) {
    const isSameRank = before?.rank === one.rank;
    if (isSameRank && before?.part === one.part) {
      throw mismatch(`${quote(before.file)} and ${quote(one.file)} have the same number`);
    }
    const dueRank = before ? before.rank + 1 : firstRank(kind, one);
    if (!isSameRank && one.rank !== dueRank && !allowGaps) {
      throw mismatch(`of the files ${quote(name)}, rank ${dueRank} is missing`);
    }
    const duePart = isSameRank ? before!.part + 1 : 0;
    if (kind === "vllm" && one.part !== duePart) {
      throw mismatch(`of the files ${quote(name)}, part ${duePart} of rank ${one.rank} is missing`);
    }
    before = one;
  }
  if (count !== undefined && count !== files.length) {
    throw mismatch(`there are ${files.length} files ${quote(name)}, but their names say ${count}`);
  }
}

/** PyTorch counts these files from one; people do both. */
function firstRank(kind: RankKind, { rank }: RankFile): number {
  return kind === "dcp" || (kind === "ranks" && rank === 1) ? 1 : 0;
}

function mismatch(text: string): SafetensorsError {
  return new SafetensorsError("INDEX_MISMATCH", text);
}
