import { type ErrorCode, SafetensorsError } from "safetensors.js";
import { formatBytes, plural } from "./numbers.ts";
import { table } from "./table.ts";
import { errorColors, printLines } from "./terminal.ts";
import { nameText, printable, toJson } from "./text.ts";

/** What the commands exit with. */
export const EXIT = {
  /** Done; all that was checked is valid. */
  ok: 0,
  /** The input is invalid, dangerous, or was refused. */
  invalid: 1,
  /** It could not be done or checked: missing, unreadable, unsupported, no room, wrong usage. */
  failed: 2,
} as const;

/** Errors that say nothing against the input. */
const FAILURES: ReadonlySet<ErrorCode> = new Set([
  "NOT_FOUND",
  "AMBIGUOUS",
  "IO",
  "SHORT_READ",
  "CLOSED",
  "UNSUPPORTED",
  "TENSOR_NOT_FOUND",
]);

/** The exit code that belongs to an error. */
export function exitCodeOf(error: unknown): number {
  return error instanceof SafetensorsError && !FAILURES.has(error.code) ? EXIT.invalid : EXIT.failed;
}

/** A place in a PyTorch file where tensors are, and what is in it as far as that is known. */
export interface Place {
  /** What the option --key takes for it; "" is the top. */
  readonly key: string;
  readonly tensors?: number;
  readonly bytes?: number;
}

/** The form of an error in JSON output. */
export interface ErrorJson {
  readonly code: string;
  readonly message: string;
  readonly advice?: string;
  readonly file?: string;
  readonly tensor?: string;
  readonly at?: number;
  readonly limit?: string;
  readonly kind?: string;
  readonly global?: string;
  /** Where the tensors may be; the last one is the place that holds all others. */
  readonly places?: readonly Place[];
}

/** An error as JSON has it. */
export function errorJson(error: unknown): ErrorJson {
  if (!(error instanceof SafetensorsError)) {
    return { code: "INTERNAL", message: error instanceof Error ? error.message : String(error) };
  }
  const { cause: _cause, keys, ...details } = error.details;
  const advice = adviceFor(error);
  return {
    code: error.code,
    message: error.reason,
    ...(advice === undefined ? {} : { advice }),
    ...details,
    ...(keys && { places: keys.map((key) => ({ key })) }),
  };
}

/** What a command knows better of an error than the error itself. */
export interface FailureKnowledge {
  /** What to do next. */
  readonly advice?: string | undefined;
  /** What is in the places that the error offers. */
  readonly places?: readonly Place[] | undefined;
}

/** Reports an error that ended a command, and gives the exit code. With `json` it goes to standard output as JSON. */
export async function fail(error: unknown, json: boolean, known: FailureKnowledge = {}): Promise<number> {
  const { advice, places } = known;
  const shown = { ...errorJson(error), ...(advice !== undefined && { advice }), ...(places && { places }) };
  if (json) {
    await printLines([toJson({ error: shown }, 2)]);
    return exitCodeOf(error);
  }
  const { code, message } = shown;
  const head = `${errorColors.red(errorColors.bold(`error ${code}`))}: `;
  const limit = shown.limit === undefined ? "" : ` (limit ${nameText(shown.limit)})`;
  const lines = shown.places
    ? [`${head}${placesText(shown)}`, ...placeLines(shown.places)]
    : [`${head}${printable(message)}${limit}`];
  if (shown.advice !== undefined) lines.push(`  ${printable(shown.advice)}`);
  if (!(error instanceof SafetensorsError)) {
    lines.push("  This is a defect of the program; please report it with the lines below.");
    if (error instanceof Error && error.stack) lines.push(...error.stack.split("\n").map(printable));
  }
  process.stderr.write(`${lines.join("\n")}\n`);
  return exitCodeOf(error);
}

/** The message without the list of places, which lines of their own have. */
function placesText({ file }: ErrorJson): string {
  const where = file === undefined ? "" : `${nameText(file)}: `;
  return `${where}tensors are in several places; choose one with --key:`;
}

function* placeLines(places: readonly Place[]): Iterable<string> {
  const right = { align: "right" } as const;
  const rows = places.map(({ key, tensors, bytes }, index) => [
    nameText(key),
    tensors === undefined ? "" : plural(tensors, "tensor"),
    bytes === undefined ? "" : formatBytes(bytes),
    index === places.length - 1 ? "all tensors" : "",
  ]);
  yield* table([{ style: errorColors.bold }, right, right, { style: errorColors.dim }], rows);
}

/** What to do next, where the message does not say it already. */
export function adviceFor(error: SafetensorsError): string | undefined {
  const { code, details } = error;
  switch (code) {
    case "NOT_FOUND":
      return "Check the path.";
    case "IO":
      return adviceForSystemError((details.cause as NodeJS.ErrnoException | undefined)?.code);
    case "TRUNCATED":
      return "The file is incomplete: get it again. The tensors that are whole: safetensors repair --salvage";
    case "TRAILING_BYTES":
      return "If the tensors are what they should be, safetensors repair writes a file without the rest.";
    case "SHORT_READ":
    case "INVALID_HEADER_LENGTH":
      return "The file is incomplete: get it again.";
    case "INVALID_INDEX":
    case "INDEX_MISMATCH":
      if (details.kind === "ranks") return "Give what all ranks of one checkpoint have, as it was written.";
      return "Index and files do not belong together: get the whole checkpoint again. A new index, if one can be made: safetensors repair";
    case "DIGEST_MISMATCH":
      return "The data is not what the manifest was made of: get it again, or make a new manifest.";
    case "UNSAFE_FILE_NAME":
      return "Do not use this checkpoint: such an index reaches for files outside its folder.";
    case "FORBIDDEN_GLOBAL":
      return "Do not load it with torch.load, which may run its code. Nothing of it was run here.";
    case "UNSUPPORTED":
      return details.kind === "safetensors"
        ? "To make a PyTorch file of it, name one: safetensors convert model.safetensors model.pt"
        : undefined;
    default:
      return undefined;
  }
}

function adviceForSystemError(code: string | undefined): string | undefined {
  if (code === "ENOSPC" || code === "EDQUOT") return "Free some space, or name an output on another disk.";
  if (code === "EACCES" || code === "EPERM") return "Check the permissions of the file and its folder.";
  if (code === "EMFILE" || code === "ENFILE") return "Allow more open files: ulimit -n.";
  if (code === "EROFS") return "Name an output on a disk that can be written.";
  return undefined;
}

/** A problem as one line of a list: code, then reason. */
export function problemText(error: unknown): string {
  const { code, message } = errorJson(error);
  return `${nameText(code)}: ${printable(message)}`;
}
