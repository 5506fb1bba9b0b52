import type { Checkpoint } from "../../checkpoint/checkpoint.ts";
import { open } from "../../checkpoint/open.ts";
import type { TensorHandle } from "../../checkpoint/tensor.ts";
import { quote, SafetensorsError } from "../../errors.ts";
import { orClose } from "../../source/or-close.ts";
import { piecesOf } from "../../view/tiling.ts";
import { openFile } from "../file-source.ts";

/** Something about a checkpoint that is not as it should be. */
export interface Defect {
  /** The file, by its name in its folder; undefined where it is about the whole. */
  readonly file?: string;
  /** A sentence without its full stop. */
  readonly text: string;
}

/** A file of a damaged checkpoint. */
export interface ExaminedFile {
  readonly file: string;
  /** Tensors whose data is all there. */
  readonly sound: readonly TensorHandle[];
  /** Names of the others, as far as they are known. */
  readonly lost: readonly string[];
  readonly metadata: ReadonlyMap<string, string>;
  /** What a new file will be without. */
  readonly repairable: readonly Defect[];
  /** What nobody can make good. */
  readonly fatal: readonly Defect[];
  close(): Promise<void>;
}

/** Errors that say nothing about the content. */
const UNREADABLE = /^(NOT_FOUND|IO|SHORT_READ|SOURCE_CHANGED)$/;

/** Finds out what of a safetensors file can be trusted. Only its header is read. */
export async function examineFile(path: string, file: string): Promise<ExaminedFile> {
  let size: number;
  let checkpoint: Checkpoint;
  try {
    const source = await openFile(path, { blocking: true });
    size = source.size;
    checkpoint = await orClose(source, () => open(source, { mode: "lenient" }));
  } catch (error) {
    if (!(error instanceof SafetensorsError) || UNREADABLE.test(error.code)) throw error;
    return {
      file,
      sound: [],
      lost: [],
      metadata: new Map(),
      repairable: [],
      fatal: [{ file, text: error.reason }],
      close: async () => {},
    };
  }
  const { metadata, problems } = checkpoint;
  const repairable = problems.filter(({ code }) => code === "TRAILING_BYTES");
  const cut = problems.filter(({ code }) => code === "TRUNCATED");
  const others = problems.length - repairable.length - cut.length;
  // Where offsets or names contradict each other, nothing tells which of them are right.
  const sound = others > 0 ? [] : Array.from(checkpoint).filter((tensor) => endOf(tensor) <= size);
  const names = new Set(sound.map(({ name }) => name));
  const lost = Array.from(checkpoint.keys()).filter((name) => !names.has(name));
  const fatal = problems.filter(({ code }) => code !== "TRAILING_BYTES");
  const asDefect = (error: SafetensorsError): Defect => ({ file, text: explain(error) });
  return {
    file,
    sound,
    lost,
    metadata,
    repairable: repairable.map(asDefect),
    fatal: fatal.map(asDefect),
    close: () => checkpoint.close(),
  };
}

/** Where the data of a tensor ends in its file. */
function endOf({ view, byteLength }: TensorHandle): number {
  return piecesOf(view)[0]!.view.bitOffset / 8 + byteLength;
}

function explain(error: SafetensorsError): string {
  switch (error.code) {
    case "TRAILING_BYTES":
      return `${error.reason}; the new file has none`;
    case "TRUNCATED":
      return `${error.reason}; get it again, or salvage the tensors that are whole`;
    case "INVALID_OFFSETS":
      return `${error.reason}; nothing tells where the data really is`;
    case "DUPLICATE_NAME":
    case "DUPLICATE_KEY":
      return `${error.reason}; nothing tells which of them is meant`;
    default:
      return error.reason;
  }
}

/** A few names of many, for a sentence. */
export function someNames(names: readonly string[]): string {
  const shown = names.slice(0, 3).map(quote).join(", ");
  return names.length > 3 ? `${shown} and ${names.length - 3} more` : shown;
}
