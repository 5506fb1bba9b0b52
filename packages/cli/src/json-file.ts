import { readFile, stat } from "node:fs/promises";
import { SafetensorsError } from "safetensors.js";
import { nameText } from "./output/text.ts";

/** Bytes of a configuration or a plan: the largest published ones have some ten thousands. */
const MAX_JSON_BYTES = 16 << 20;

/**
 * The object in a JSON file.
 *
 * @throws as `readSmallFile`; `INVALID_JSON`
 */
export async function readJsonFile(path: string): Promise<Readonly<Record<string, unknown>>> {
  return parsed(path, await readSmallFile(path));
}

/**
 * A small file as a whole.
 *
 * @throws `NOT_FOUND`, `UNSUPPORTED` for a folder, `LIMIT_EXCEEDED`, `IO`
 */
export async function readSmallFile(path: string): Promise<Uint8Array> {
  try {
    if ((await stat(path)).size <= MAX_JSON_BYTES) return await readFile(path);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "EISDIR")
      throw failure("UNSUPPORTED", `${nameText(path)} is a folder, not a JSON file`, path);
    if (code !== "ENOENT") throw failure("IO", message, path);
    throw failure("NOT_FOUND", `there is no file ${nameText(path)}`, path);
  }
  throw failure("LIMIT_EXCEEDED", `${nameText(path)} has more than ${MAX_JSON_BYTES} bytes`, path);
}

function parsed(file: string, bytes: Uint8Array): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes));
    if (typeof value === "object" && value !== null && !Array.isArray(value))
      return value as Readonly<Record<string, unknown>>;
  } catch (error) {
    throw failure("INVALID_JSON", `${nameText(file)} is not JSON: ${(error as Error).message}`, file);
  }
  throw failure("INVALID_JSON", `${nameText(file)} is no JSON object`, file);
}

function failure(
  code: ConstructorParameters<typeof SafetensorsError>[0],
  text: string,
  file: string,
): SafetensorsError {
  return new SafetensorsError(code, text, { file });
}
