import { quote, SafetensorsError } from "../errors.ts";
import { MAX_CONFIG_BYTES } from "../limits.ts";
import type { ReadOptions } from "../source/source.ts";
import type { FileStore } from "../source/store.ts";

/**
 * Reads small files of text that lie beside weights, such as config.json.
 *
 * @param names bare names of files; what is not there is left out
 * @returns the text of each file, by its name
 * @throws `INVALID_UTF8`, `LIMIT_EXCEEDED` for a file that is too large, and errors of reading
 */
export async function readTextFiles(
  store: FileStore,
  names: readonly string[],
  options: ReadOptions = {},
): Promise<Map<string, string>> {
  const listed = await store.list?.(options);
  const wanted = listed ? names.filter((name) => listed.includes(name)) : names;
  const found = await Promise.all(
    wanted.map(async (name) => [name, await readText(store, name, options)] as const),
  );
  return new Map(found.filter((one): one is [string, string] => one[1] !== undefined));
}

/**
 * What files of JSON hold, by their names.
 *
 * @throws `INVALID_JSON` with the file for one that is no JSON
 */
export function parseJsonFiles(
  texts: Iterable<readonly [name: string, text: string]>,
): Record<string, unknown> {
  return Object.fromEntries(Array.from(texts, ([name, text]) => [name, parse(name, text)]));
}

async function readText(store: FileStore, name: string, options: ReadOptions): Promise<string | undefined> {
  try {
    const source = await store.open(name, options);
    try {
      if (source.size > MAX_CONFIG_BYTES) {
        const text = `${quote(name)} has ${source.size} bytes, more than a configuration of ${MAX_CONFIG_BYTES}`;
        throw new SafetensorsError("LIMIT_EXCEEDED", text, { file: name, limit: "MAX_CONFIG_BYTES" });
      }
      return decode(name, await source.read(0, source.size, options));
    } finally {
      await source.close?.();
    }
  } catch (error) {
    // A web server cannot list: that a file is missing shows only when it is asked for.
    if (error instanceof SafetensorsError && error.code === "NOT_FOUND") return undefined;
    throw error;
  }
}

function decode(name: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new SafetensorsError("INVALID_UTF8", `${quote(name)} is no text in UTF-8`, { file: name, cause });
  }
}

function parse(name: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const message = `${quote(name)} is no JSON: ${(cause as Error).message}`;
    throw new SafetensorsError("INVALID_JSON", message, { file: name, cause });
  }
}
