import { SafetensorsError } from "../errors.ts";

/** Decimal units, as huggingface_hub and transformers have them. */
const UNITS: Readonly<Record<string, number>> = { "": 1, B: 1, KB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12 };

/**
 * A size as people write it: `5GB`, `500MB`, `1000`; decimal units.
 *
 * @throws `OUT_OF_RANGE`
 */
export function parseSize(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)\s*([KMGT]?B?)$/i.exec(text.trim()) ?? [];
  const size = Math.floor(Number(number) * (UNITS[(unit ?? "").toUpperCase()] ?? Number.NaN));
  if (size > 0 && Number.isSafeInteger(size)) return size;
  throw new SafetensorsError("OUT_OF_RANGE", `${JSON.stringify(text)} is no size; write it as 5GB or 500MB`);
}

/**
 * Splits tensors into files as huggingface_hub does (`split_state_dict_into_shards_factory`): in order, each file is filled
 * until the next tensor does not fit; a tensor that is larger than a file gets one of its own, before the one that is being
 * filled.
 *
 * @param sizes bytes of each tensor, by name, in order.
 * @returns the names in each file
 */
export function splitGreedily(
  sizes: Iterable<readonly [name: string, size: number]>,
  most: number,
): string[][] {
  const shards: string[][] = [];
  let current: string[] = [];
  let filled = 0;
  for (const [name, size] of sizes) {
    if (size > most) {
      shards.push([name]);
      continue;
    }
    if (filled + size > most) {
      shards.push(current);
      current = [];
      filled = 0;
    }
    current.push(name);
    filled += size;
  }
  if (current.length > 0) shards.push(current);
  return shards;
}

/** `model-00001-of-00003.safetensors`: the name of a file in a set, or the plain name if it is the only one. */
export function shardName(stem: string, ending: string, number: number, count: number): string {
  const digits = (value: number): string => String(value).padStart(5, "0");
  return count === 1 ? `${stem}.${ending}` : `${stem}-${digits(number)}-of-${digits(count)}.${ending}`;
}
