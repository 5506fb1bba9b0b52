import { existsSync } from "node:fs";
import { SafetensorsError, type Traffic } from "safetensors.js";
import { glob } from "tinyglobby";
import { EXIT, fail } from "./output/failure.ts";
import { formatCount, plural } from "./output/numbers.ts";
import { errorColors, outColors, printLines } from "./output/terminal.ts";
import { nameText } from "./output/text.ts";
import { placesIn } from "./places.ts";

/** What the help of a command says of its inputs. */
export const INPUTS =
  "files, folders, indexes, patterns such as 'models/*.safetensors', or addresses: https://, hf://org/model, s3://bucket/key";

/** Options of every command that reads inputs. */
export interface InputsOptions {
  readonly json?: true;
  readonly verbose?: true;
}

/**
 * The inputs that are meant: a pattern with `*`, `?` or braces, unless there is a file of that very name, stands for the
 * files that match it, in order. The shell does the same unless it is quoted; on Windows it never does.
 */
export async function expandInputs(inputs: readonly string[]): Promise<string[]> {
  const expanded: string[] = [];
  for (const input of inputs) {
    if (!/[*?{[]/.test(input) || /^[a-z0-9]+:\/\//i.test(input) || existsSync(input)) {
      expanded.push(input);
      continue;
    }
    const found = await glob(input, { onlyFiles: false, expandDirectories: false });
    if (found.length === 0) throw new SafetensorsError("NOT_FOUND", `nothing matches ${nameText(input)}`);
    for (const path of found.sort()) expanded.push(path);
  }
  return expanded;
}

/**
 * Runs a command for each input; one that fails does not stop the others. Of several inputs, each gets a heading, and
 * their JSON comes as a list. The exit code is the highest.
 *
 * @param one gives the lines to print, and the exit code.
 */
export async function forEachInput(
  inputs: readonly string[],
  options: InputsOptions,
  one: (input: string, traffic: Traffic) => Promise<number>,
): Promise<number> {
  const { json = false } = options;
  let code: number = EXIT.ok;
  const failed = (input: string) => async (error: unknown) =>
    fail(error, json, { places: await placesIn(input, error) });
  try {
    const expanded = await expandInputs(inputs);
    const several = expanded.length > 1;
    if (json && several) await printLines(["["]);
    for (const [position, input] of expanded.entries()) {
      if (several && json && position > 0) await printLines([","]);
      if (several && !json)
        await printLines([...(position > 0 ? [""] : []), outColors.bold(nameText(input))]);
      const traffic = { requests: 0, bytes: 0 };
      code = Math.max(code, await one(input, traffic).catch(failed(input)));
      if (options.verbose) reportTraffic(traffic);
    }
    if (json && several) await printLines(["]"]);
  } catch (error) {
    code = Math.max(code, await fail(error, json));
  }
  return code;
}

/** Opens one of several inputs: an error that does not name a file gets the input's name. */
export async function ofInput<T>(input: string, open: () => Promise<T>): Promise<T> {
  try {
    return await open();
  } catch (error) {
    throw error instanceof SafetensorsError ? error.inFile(input) : error;
  }
}

/** Says on standard error what was read. */
export function reportTraffic({ requests, bytes }: Traffic): void {
  const text = `read ${formatCount(bytes)} bytes in ${plural(requests, "request")}`;
  process.stderr.write(`${errorColors.dim(text)}\n`);
}
