import { MAX_STATED_BYTES } from "../../limits.ts";
import type { Finder } from "../scheme.ts";
import type { GptqShape } from "./gptq-shape.ts";
import { wordsOf } from "./gptq-words.ts";

/** Whether `g_idx` says something else than `k // group`. One that is not small is not looked at: nothing. */
export async function isOutOfOrder(
  finder: Finder,
  { groupIndex, group }: GptqShape,
): Promise<boolean | undefined> {
  if (!groupIndex || groupIndex.byteLength > MAX_STATED_BYTES) return undefined;
  return wordsOf(await finder.small(groupIndex)).some((at, k) => at !== Math.floor(k / group));
}
