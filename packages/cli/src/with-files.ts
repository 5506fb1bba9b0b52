import { readdir, readFile, realpath, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { SafetensorsError } from "safetensors.js";
import { fileSink, hashFile, openFile } from "safetensors.js/node";
import { nameText } from "./output/text.ts";
import { isOneFile } from "./output-path.ts";

/** What the help says of the option. */
export const WITH_FILES =
  "copy what lies beside the input too: config.json, tokenizer, code and the like; no weights";

/** Configuration, tokenizer, templates, code, card and licence of a model. */
const BESIDE = /\.(json|jsonl|jinja|md|model|py|spm|tiktoken|toml|txt|vocab|ya?ml)$|^(licen[cs]e|notice)$/i;

/** What tells of the weights as they were: an index, digests. */
const OF_WEIGHTS = /\.index(\.[\w-]+)?\.json$|\.manifest\.json$/i;

/** Bytes that are copied at once. */
const PIECE = 4 << 20;

/** A file to copy, and where. */
export interface FileBeside {
  readonly from: string;
  readonly to: string;
}

/** A file of text to write into the output folder; without a text, one to remove. */
export interface TextBeside {
  readonly to: string;
  readonly text: string | undefined;
}

/**
 * The texts that a folder of weights needs besides what is copied, and does not have.
 *
 * @param texts by file name; nothing for a file that the output must not have
 * @param isReplaced whether files of another content may be replaced or removed, as they are those of the input
 * @throws `IO` if there is a file that may not
 */
export async function textsBeside(
  texts: ReadonlyMap<string, string | undefined>,
  output: string,
  isReplaced: boolean,
): Promise<TextBeside[]> {
  const files: TextBeside[] = [];
  for (const [name, text] of texts) {
    const to = join(output, name);
    const there = await readFile(to, "utf8").catch(() => undefined);
    if (there === text) continue;
    if (there !== undefined && !isReplaced) {
      const what =
        text === undefined ? "would not be true of the new weights" : "differs from the one to be written";
      throw new SafetensorsError("IO", `${nameText(to)} is there and ${what}; remove it`, { file: to });
    }
    files.push({ to, text });
  }
  return files;
}

/** Writes a text, which appears whole or not at all, or removes a file. */
export async function writeText({ to, text }: TextBeside): Promise<void> {
  if (text === undefined) return rm(to, { force: true });
  const sink = await fileSink(to);
  try {
    await sink.write(new TextEncoder().encode(text));
    await sink.commit();
  } catch (error) {
    await sink.abort();
    throw error;
  }
}

/**
 * The files beside the first input that make a folder of weights a model, but for some. What is in the output already is
 * left out.
 *
 * @throws `UNSUPPORTED` for an input at an address or an output that is a file; `IO` if a file of another content is in the
 *   place of one
 */
export async function filesBeside(
  inputs: readonly string[],
  output: string,
  except: ReadonlySet<string> = new Set(),
): Promise<FileBeside[]> {
  const [input] = inputs;
  if (input === undefined) {
    throw new SafetensorsError("UNSUPPORTED", "--with-files copies from a folder, not from an address");
  }
  if (isOneFile(output)) {
    throw new SafetensorsError("UNSUPPORTED", "--with-files copies into a folder; name one as the output");
  }
  const folder = dirname(input);
  if (await isSameFolder(folder, output)) return [];
  const weights = new Set(inputs.map((path) => basename(path)));
  const files: FileBeside[] = [];
  for (const name of (await namesIn(folder)).sort()) {
    if (
      name.startsWith(".") ||
      weights.has(name) ||
      except.has(name) ||
      !BESIDE.test(name) ||
      OF_WEIGHTS.test(name)
    )
      continue;
    const [from, to] = [join(folder, name), join(output, name)];
    if (!(await stat(from).catch(() => undefined))?.isFile()) continue;
    const there = await stat(to).catch(() => undefined);
    if (there === undefined) files.push({ from, to });
    else if (!there.isFile() || (await digestOf(to)) !== (await digestOf(from))) {
      const text = `${nameText(to)} is there and differs from ${nameText(from)}; remove it, or do without --with-files`;
      throw new SafetensorsError("IO", text, { file: to });
    }
  }
  return files;
}

/** Whether two paths lead to one folder, which is there. */
export async function isSameFolder(a: string, b: string): Promise<boolean> {
  const [one, other] = await Promise.all([a, b].map((path) => realpath(path).catch(() => undefined)));
  return one !== undefined && one === other;
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (cause) {
    const text = `cannot list ${nameText(folder)}: ${(cause as Error).message}`;
    throw new SafetensorsError("IO", text, { file: folder, cause });
  }
}

const digestOf = async (path: string): Promise<string> => (await hashFile(path)).sha256;

/** Copies a file, which appears whole or not at all. */
export async function copyBeside({ from, to }: FileBeside): Promise<void> {
  const source = await openFile(from);
  try {
    const sink = await fileSink(to);
    try {
      for (let at = 0; at < source.size; at += PIECE) {
        await sink.write(await source.read(at, Math.min(PIECE, source.size - at)));
      }
      await sink.commit();
    } catch (error) {
      await sink.abort();
      throw error;
    }
  } finally {
    await source.close();
  }
}
