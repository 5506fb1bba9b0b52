import type { Stats } from "node:fs";
import { open, readdir, readFile, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import {
  checkNumbering,
  parseShardIndex,
  type ShardIndex,
  withoutNumber,
} from "../checkpoint/shard-index.ts";
import { inFile, quote, SafetensorsError } from "../errors.ts";
import { MAX_INDEX_BYTES } from "../limits.ts";
import { ioError } from "./io-error.ts";

/** Where the parts of a checkpoint are. */
export interface CheckpointFiles {
  readonly folder: string;
  /** Names of the files with weights, in order. */
  readonly files: readonly string[];
  /** The index, if the checkpoint has one. */
  readonly index?: ShardIndex & { readonly file: string };
}

/**
 * Finds the files of a checkpoint.
 *
 * @param path a file of weights, an index, or a folder: there, `model.safetensors` comes first, then an index of
 *   safetensors files, the only or the numbered safetensors files, and the same for PyTorch files.
 * @param format in a folder, look only for files of this format.
 * @throws `NOT_FOUND`, `AMBIGUOUS` when a folder holds several candidates, every error of reading an index
 */
export async function locateCheckpoint(path: string, format?: WeightsFormat): Promise<CheckpointFiles> {
  const status = await statOf(path);
  if (status.isDirectory()) return inFolder(path, format);
  return (await isJsonText(path))
    ? withIndex(dirname(path), basename(path))
    : one(dirname(path), basename(path));
}

const one = (folder: string, file: string): CheckpointFiles => ({ folder, files: [file] });

async function withIndex(folder: string, file: string): Promise<CheckpointFiles> {
  const path = join(folder, file);
  const { size } = await statOf(path);
  if (size > MAX_INDEX_BYTES) {
    const text = `${file} has ${size} bytes, an index at most ${MAX_INDEX_BYTES}`;
    throw new SafetensorsError("LIMIT_EXCEEDED", text, { limit: "MAX_INDEX_BYTES", file });
  }
  const index = await inFile(file, async () => parseShardIndex(await readFile(path)));
  return { folder, files: index.files, index: { ...index, file } };
}

/** What may be in a folder, best first. */
const KINDS = [
  { format: "safetensors", usual: "model.safetensors", endings: "safetensors" },
  { format: "torch", usual: "pytorch_model.bin", endings: "bin|pt|pth|ckpt" },
] as const;

/** The formats that are looked for in a folder. */
export type WeightsFormat = (typeof KINDS)[number]["format"];

async function inFolder(folder: string, format?: WeightsFormat): Promise<CheckpointFiles> {
  const names = (await readdir(folder)).filter((name) => !name.startsWith(".")).sort();
  for (const kind of KINDS) {
    if (format !== undefined && format !== kind.format) continue;
    if (names.includes(kind.usual)) return one(folder, kind.usual);
    const indexes = names.filter((name) => new RegExp(`\\.(${kind.endings})\\.index\\.json$`).test(name));
    if (indexes.includes(`${kind.usual}.index.json`)) return withIndex(folder, `${kind.usual}.index.json`);
    if (indexes.length === 1) return withIndex(folder, indexes[0]!);
    if (indexes.length > 1) throw ambiguous(folder, indexes);
    const files = names.filter((name) => new RegExp(`\\.(${kind.endings})$`).test(name));
    if (files.length > 0) {
      if (new Set(files.map(withoutNumber)).size > 1) throw ambiguous(folder, files);
      checkNumbering(files);
      return { folder, files };
    }
  }
  const wanted = format === undefined ? "no safetensors and no PyTorch file" : `no ${format} file`;
  throw new SafetensorsError("NOT_FOUND", `the folder ${folder} holds ${wanted}`, { file: folder });
}

function ambiguous(folder: string, candidates: readonly string[]): SafetensorsError {
  const list = candidates.slice(0, 8).map(quote).join(", ");
  const more = candidates.length > 8 ? ` and ${candidates.length - 8} more` : "";
  return new SafetensorsError(
    "AMBIGUOUS",
    `the folder ${folder} holds ${list}${more}; name the one to open`,
    { file: folder },
  );
}

async function statOf(path: string): Promise<Stats> {
  try {
    return await stat(path);
  } catch (cause) {
    throw ioError(path, "open", cause);
  }
}

/** Whether a file is JSON text: no file of weights begins with an opening brace and seven bytes without a NUL. */
async function isJsonText(path: string): Promise<boolean> {
  const handle = await open(path, "r").catch((cause: unknown) => {
    throw ioError(path, "open", cause);
  });
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(8), 0, 8, 0);
    return /^\s*\{[^\0]*$/.test(buffer.toString("latin1", 0, bytesRead));
  } catch (cause) {
    throw ioError(path, "read", cause);
  } finally {
    await handle.close();
  }
}
