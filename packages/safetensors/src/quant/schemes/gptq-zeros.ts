import type { Finder } from "../scheme.ts";
import type { GptqShape } from "./gptq-shape.ts";
import { joinPlanes, unpackRows, wordsOf } from "./gptq-words.ts";

/** Layers that are looked at, and what of each: enough to tell, and little to read. */
const SAMPLES = 8;
const ROWS = 4;
const BLOCKS = 32;
/** Fields that are the same by accident are fewer. */
const LEAST = 32;

/** What the zeros of a layer look like. */
export interface ZerosSeen {
  /** Whether they are stored less one, which shows if all are that of symmetric codes. */
  readonly lessOne: boolean | undefined;
  /** Whether some field has only ones: stored less one, that is a zero that wraps. */
  readonly wraps: boolean;
  /** Whether some whole word has only ones. */
  readonly ones: boolean;
}

/** Some of these, over the whole list. */
export function samplesOf<T>(all: readonly T[]): T[] {
  if (all.length <= SAMPLES) return [...all];
  return Array.from({ length: SAMPLES }, (_, i) => all[Math.floor((i * (all.length - 1)) / (SAMPLES - 1))]!);
}

/**
 * Looks at the first zeros of a layer. Symmetric codes have the zero `2^(bits-1)` everywhere, which is one less where
 * zeros are stored less one.
 */
export async function lookAtZeros(
  finder: Finder,
  { bits, rows, groups, zeros, isPlanar }: GptqShape,
): Promise<ZerosSeen> {
  const height = Math.min(groups, ROWS);
  const width = Math.min(zeros.shape[1]!, BLOCKS * bits);
  const stored = wordsOf(await finder.small(zeros.slice({ stop: height }, { stop: width })));
  const ones = stored.includes(0xffffffff);
  const words = isPlanar ? joinPlanes(stored, bits, 1) : stored;
  const fields = unpackRows(words, height, Math.min(rows, BLOCKS * 32), bits);
  const half = 2 ** (bits - 1);
  const [first] = fields;
  const isConstant = fields.length >= LEAST && fields.every((field) => field === first);
  const lessOne = !isConstant ? undefined : first === half - 1 ? true : first === half ? false : undefined;
  return { lessOne, wraps: fields.includes(2 ** bits - 1), ones };
}
