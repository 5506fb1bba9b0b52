import { SafetensorsError } from "safetensors.js";
import { openFiles } from "./open-files.ts";
import type { Place } from "./output/failure.ts";

/**
 * What is in each of the places that an error offers, where tensors are in several places of a PyTorch file. Counted by the
 * names that tensors have from the top; nothing if these cannot be had.
 */
export async function placesIn(input: string, error: unknown): Promise<readonly Place[] | undefined> {
  const keys = error instanceof SafetensorsError ? error.details.keys : undefined;
  if (keys === undefined) return undefined;
  const prefixes = keys.map((key) => (key === "" ? "" : `${key}.`));
  try {
    await using opened = await openFiles(input, {
      mode: "lenient",
      key: "",
      traffic: { requests: 0, bytes: 0 },
    });
    const tensors = Array.from(opened.whole, ({ name, byteLength }) => ({ name, byteLength }));
    return keys.map((key, index) => {
      const inside = tensors.filter(({ name }) => name.startsWith(prefixes[index]!));
      return {
        key,
        tensors: inside.length,
        bytes: inside.reduce((sum, { byteLength }) => sum + byteLength, 0),
      };
    });
  } catch {
    return undefined;
  }
}
