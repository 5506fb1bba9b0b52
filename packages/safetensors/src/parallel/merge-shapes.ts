import { ConfigReader, EXPERT_COUNTS } from "./config.ts";
import type { WorldOptions } from "./division.ts";
import { expertPartOf } from "./experts.ts";
import type { Holder } from "./merge-files.ts";
import type { Style } from "./style.ts";

/**
 * Shapes of the tensors that parts of these shapes may have been cut from, the likeliest first: that of the parts; along one
 * axis all of them together; less, where several ranks have the same heads; what the configuration says of vocabularies
 * that were padded, and of stacked experts.
 */
export function* likelyShapes(
  name: string,
  parts: readonly Holder[],
  options: WorldOptions,
): Generator<readonly number[], void, undefined> {
  const [first] = parts;
  const { shape } = first!.view;
  const { tp = 1 } = options.world;
  const style = options.plan?.styleOf(name);
  const bases = [shape, ...stackedShapes(name, shape, options)];
  // The ranks that differ in tensor parallelism only have different parts, if any.
  const together = parts.filter(({ at }) => {
    return at.pp === first!.at.pp && at.ep === first!.at.ep && at.dp === first!.at.dp;
  });
  for (const base of bases) {
    yield base;
    for (const axis of base.keys()) {
      if (axis === 0 && base !== shape) continue;
      const sum = together.reduce((sum, { view }) => sum + (view.shape[axis] ?? 0), 0);
      for (const size of sizesFrom(sum, shape[axis]!, tp, style, options)) yield base.with(axis, size);
    }
  }
}

/** Sizes that an axis may have had, if the parts have `sum` together, and the first one `own`. */
function* sizesFrom(
  sum: number,
  own: number,
  tp: number,
  style: Style | undefined,
  { config }: WorldOptions,
): Generator<number, void, undefined> {
  const kind = typeof style === "object" ? style : undefined;
  const vocabulary =
    kind?.kind === "vocabulary" && config ? new ConfigReader(config).optional("vocab_size") : undefined;
  if (vocabulary !== undefined) yield vocabulary;
  yield sum;
  for (let copies = 2; copies <= tp; copies++)
    if (tp % copies === 0 && sum % copies === 0) yield sum / copies;
  if (kind?.kind !== "fused_heads") return;
  const { heads, keyValueHeads } = kind;
  const ownHeads = heads / tp + 2 * Math.max(1, keyValueHeads / tp);
  if (Number.isInteger(own / ownHeads)) yield (own / ownHeads) * (heads + 2 * keyValueHeads);
}

/** The shape with all experts along the first axis, if it has some of them. */
function stackedShapes(
  name: string,
  shape: readonly number[],
  { config, experts }: WorldOptions,
): (readonly number[])[] {
  if (expertPartOf(name)?.kind !== "all" || shape.length === 0) return [];
  const count = experts?.count ?? (config && new ConfigReader(config).optional(...EXPERT_COUNTS));
  return count === undefined || count === shape[0] ? [] : [shape.with(0, count)];
}
