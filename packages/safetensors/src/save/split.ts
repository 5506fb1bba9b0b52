import { quote, SafetensorsError } from "../errors.ts";

/** A tensor and the bytes of its data. */
type Sized = readonly [name: string, size: number];
type Sizes = Iterable<Sized>;

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
  throw new SafetensorsError("OUT_OF_RANGE", `${quote(text)} is no size; write it as 5GB or 500MB`);
}

function sizeOf([, size]: Sized): number {
  return size;
}

function checkMost(most: number): void {
  if (most > 0) return;
  throw new SafetensorsError("OUT_OF_RANGE", `files of at most ${most} bytes hold nothing`);
}

/**
 * Splits tensors into files as huggingface_hub does (`split_state_dict_into_shards_factory`): in order, each file is filled
 * until the next tensor does not fit; a tensor that is larger than a file gets one of its own, before the one that is being
 * filled.
 *
 * @param sizes bytes of each tensor, by name, in order.
 * @param most bytes of a file; may be `Infinity`.
 * @returns the names in each file
 * @throws `OUT_OF_RANGE`
 */
export function splitGreedily(sizes: Sizes, most: number): string[][] {
  checkMost(most);
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

/**
 * Runs of tensors, in order, of at most `most` bytes of whatever is measured; one that is larger is a run by itself.
 */
export function runsOf<T>(all: readonly T[], bytesOf: (one: T) => number, most: number): T[][] {
  const runs: T[][] = [];
  let room = -1;
  for (const one of all) {
    const bytes = bytesOf(one);
    if (bytes > room) {
      runs.push([]);
      room = most;
    }
    runs.at(-1)!.push(one);
    room -= bytes;
  }
  return runs;
}

/**
 * Splits tensors into as few files as first-fit decreasing needs (at most 11/9 of the fewest possible): the largest tensor
 * first, each into the first file that has room. A tensor that is larger than a file gets one of its own. Names keep
 * their order in each file, files that of their first names.
 *
 * @throws `OUT_OF_RANGE`
 */
export function splitTightly(sizes: Sizes, most: number): string[][] {
  checkMost(most);
  const all = [...sizes];
  const shards: { room: number; places: number[] }[] = [];
  const places = all.map((_, place) => place).sort((a, b) => all[b]![1] - all[a]![1] || a - b);
  for (const place of places) {
    const size = all[place]![1];
    const shard = shards.find(({ room }) => size <= room);
    if (shard) {
      shard.places.push(place);
      shard.room -= size;
    } else shards.push({ room: most - size, places: [place] });
  }
  const sorted = shards.map(({ places }) => places.sort((a, b) => a - b));
  return sorted.sort(([a], [b]) => a! - b!).map((places) => places.map((place) => all[place]![0]));
}

/**
 * Splits tensors, in order, into at most `count` files of which the largest is as small as it can be; fewer files if
 * there are not so many tensors.
 */
export function splitEvenly(sizes: Sizes, count: number): string[][] {
  if (!Number.isSafeInteger(count) || count < 1) {
    throw new SafetensorsError("OUT_OF_RANGE", `${count} is no number of files`);
  }
  const all = [...sizes];
  // Between these, the smallest size of a file with which `count` files hold all.
  let [low, high] = [0, 0];
  for (const [, size] of all) [low, high] = [Math.max(low, size), high + size];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (runsOf(all, sizeOf, middle).length <= count) high = middle;
    else low = middle + 1;
  }
  const runs = runsOf(all, sizeOf, low);
  // Many small files would fit into fewer: those that were asked for are made of the longest runs.
  while (runs.length < Math.min(count, all.length)) halve(runs);
  return runs.map((run) => run.map(([name]) => name));
}

/** Cuts the run with the most tensors in two. */
function halve(runs: Sized[][]): void {
  let longest = 0;
  for (const [place, run] of runs.entries()) if (run.length > runs[longest]!.length) longest = place;
  const run = runs[longest]!;
  const middle = Math.ceil(run.length / 2);
  runs.splice(longest, 1, run.slice(0, middle), run.slice(middle));
}

/**
 * One file for each layer: tensors whose names agree up to their first number, such as `model.layers.12.`. Those without
 * a number come first, in a file of their own; then the layers, by name and number.
 */
export function splitByLayer(sizes: Sizes): string[][] {
  const layers = new Map<string, string[]>();
  for (const [name] of sizes) {
    const layer = /^(?:[^.]*\.)*?\d+(?=\.|$)/.exec(name)?.[0] ?? "";
    const names = layers.get(layer);
    if (names) names.push(name);
    else layers.set(layer, [name]);
  }
  const order = (layer: string): readonly [string, number] => {
    const stem = layer.replace(/\d+$/, "");
    return [stem, Number(layer.slice(stem.length))];
  };
  return [...layers]
    .map(([layer, names]) => ({ order: order(layer), names }))
    .sort(({ order: [a, i] }, { order: [b, j] }) => (a === b ? i - j : a < b ? -1 : 1))
    .map(({ names }) => names);
}

/** `model-00001-of-00003.safetensors`: the name of a file in a set, or the plain name if it is the only one. */
export function shardName(stem: string, ending: string, number: number, count: number): string {
  const digits = (value: number): string => String(value).padStart(5, "0");
  return count === 1 ? `${stem}.${ending}` : `${stem}-${digits(number)}-of-${digits(count)}.${ending}`;
}
