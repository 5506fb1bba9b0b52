import { quote, SafetensorsError } from "../errors.ts";
import { checkNumbering, withoutNumber } from "./shard-index.ts";

/** Which of the files in a folder make the checkpoint. */
export interface FileChoice {
  /** Only files of this format; otherwise safetensors come before PyTorch files. */
  readonly format?: WeightsFormat | undefined;
  /** The variant, as in `model.fp16.safetensors`; files without one, where there are any, unless said otherwise. */
  readonly variant?: string | undefined;
}

/** What to open: an index and the files that it names, or just these files. */
export type ChosenFiles = { readonly index: string } | { readonly files: readonly string[] };

/** The formats that are looked for in a folder. */
export type WeightsFormat = "safetensors" | "torch";

/** How files of a format are named. */
interface NamedKind {
  readonly format: WeightsFormat;
  /** Endings of names, as an alternative of a pattern. */
  readonly endings: string;
  /** Names that the field's libraries give to weights, best first. */
  readonly usual: readonly (readonly [stem: string, ending: string])[];
}

const KINDS: readonly NamedKind[] = [
  {
    format: "safetensors",
    endings: "safetensors",
    usual: [
      ["model", "safetensors"],
      ["diffusion_pytorch_model", "safetensors"],
      ["adapter_model", "safetensors"],
      ["consolidated", "safetensors"],
    ],
  },
  {
    format: "torch",
    endings: "bin|pt|pth|ckpt",
    usual: [
      ["pytorch_model", "bin"],
      ["diffusion_pytorch_model", "bin"],
      ["adapter_model", "bin"],
    ],
  },
];

/** The names that `chooseFiles` prefers, best first: to be asked for where a place has no list of its files. */
export function usualNames({ format, variant }: FileChoice): string[] {
  const names = kindsOf(format).flatMap(({ usual }) =>
    usual.flatMap(([stem, ending]) => Object.values(namesOf(stem, ending, variant))),
  );
  return names.filter(isEligible);
}

/**
 * Chooses what to open from the names of files in a folder: a single file with a usual name or its index, the only index,
 * the only file, or the only numbered set.
 *
 * @param place what to call the folder in messages.
 * @throws `NOT_FOUND`; `AMBIGUOUS` when there are several candidates; `INDEX_MISMATCH` for an incomplete numbered set
 */
export function chooseFiles(names: readonly string[], place: string, choice: FileChoice = {}): ChosenFiles {
  const eligible = names.filter(isEligible).sort();
  for (const kind of kindsOf(choice.format)) {
    const chosen =
      chooseUsual(eligible, kind.usual, choice.variant) ?? chooseOnly(eligible, kind.endings, place, choice);
    if (chosen) return chosen;
  }
  const wanted =
    choice.format === undefined ? "no safetensors and no PyTorch file" : `no ${choice.format} file`;
  const variant = choice.variant === undefined ? "" : ` of the variant ${quote(choice.variant)}`;
  throw new SafetensorsError("NOT_FOUND", `${place} holds ${wanted}${variant}`, { file: place });
}

/** Hidden files are never meant, and a name with a folder in it, or in a variant, must not lead out of the place. */
const isEligible = (name: string): boolean => !/^\.|[/\\]/.test(name);

const kindsOf = (format: WeightsFormat | undefined): readonly NamedKind[] =>
  KINDS.filter((kind) => format === undefined || kind.format === format);

function namesOf(stem: string, ending: string, variant?: string): { single: string; index: string } {
  const middle = variant === undefined ? "" : `.${variant}`;
  return { single: `${stem}${middle}.${ending}`, index: `${stem}.${ending}.index${middle}.json` };
}

function chooseUsual(
  names: readonly string[],
  usual: NamedKind["usual"],
  variant: string | undefined,
): ChosenFiles | undefined {
  for (const [stem, ending] of usual) {
    const { single, index } = namesOf(stem, ending, variant);
    if (names.includes(single)) return { files: [single] };
    if (names.includes(index)) return { index };
  }
  return undefined;
}

const NUMBER = "-\\d{5,6}-of-\\d{5,6}";

function chooseOnly(
  names: readonly string[],
  endings: string,
  place: string,
  { variant }: FileChoice,
): ChosenFiles | undefined {
  const matching = (pattern: string): string[] => {
    const ending = new RegExp(`${pattern}$`);
    return names.filter((name) => ending.test(name));
  };
  const index = `\\.(${endings})\\.index`;
  if (variant !== undefined) {
    const exact = `\\.${variant.replace(/[^A-Za-z0-9_]/g, "\\$&")}`;
    return (
      onlyIndex(matching(`${index}${exact}\\.json`), place) ??
      onlySet(matching(`(${NUMBER})?${exact}(${NUMBER})?\\.(${endings})`), place)
    );
  }
  const files = matching(`\\.(${endings})`);
  const stems = new Set(files.map(stemOf));
  const variants = matching(`${index}\\.[^.]+\\.json`).filter(
    (name) => !stems.has(name.replace(/\.index\.[^.]+\.json$/, "")),
  );
  return (
    onlyIndex(matching(`${index}\\.json`), place) ??
    onlyIndex(variants, place) ??
    onlySet(withoutVariants(files, stems), place)
  );
}

function onlyIndex(indexes: readonly string[], place: string): ChosenFiles | undefined {
  if (indexes.length > 1) throw ambiguous(indexes, place);
  return indexes[0] === undefined ? undefined : { index: indexes[0] };
}

function onlySet(files: readonly string[], place: string): ChosenFiles | undefined {
  if (files.length === 0) return undefined;
  if (new Set(files.map(withoutNumber)).size > 1) throw ambiguous(files, place);
  checkNumbering(files);
  return { files };
}

/** A file's name without its number in a set: `model.fp16.safetensors` for `model.fp16-00001-of-00002.safetensors`. */
const stemOf = (file: string): string => file.replace(new RegExp(NUMBER), "");

/** Leaves out `model.fp16.safetensors` where there is `model.safetensors`, numbered or not. */
function withoutVariants(files: readonly string[], stems: ReadonlySet<string>): string[] {
  return files.filter((file) => {
    const plain = stemOf(file).replace(/\.[^.]+(?=\.[^.]+$)/, "");
    return plain === stemOf(file) || !stems.has(plain);
  });
}

function ambiguous(candidates: readonly string[], place: string): SafetensorsError {
  const list = candidates.slice(0, 8).map(quote).join(", ");
  const more = candidates.length > 8 ? ` and ${candidates.length - 8} more` : "";
  return new SafetensorsError("AMBIGUOUS", `${place} holds ${list}${more}; name the one to open`, {
    file: place,
  });
}
