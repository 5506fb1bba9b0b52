import { quote, SafetensorsError } from "../errors.ts";
import type { QuantizedWeight } from "../quant/weight.ts";
import { Division, type TensorInfo, type WorldOptions } from "./division.ts";
import { genericName } from "./names.ts";
import { problem } from "./problem.ts";

/** A tensor that forbids a size of the world, and how many others do for the same reason. */
export interface Obstacle {
  readonly tensor: string;
  readonly reason: string;
  readonly others: number;
}

/** Whether a model can be divided among so many ranks of tensor parallelism. */
export interface WorldSizeVerdict {
  readonly tp: number;
  /** None: it can. */
  readonly obstacles: readonly Obstacle[];
}

/** Most sizes that are tried at once. */
const MOST = 1024;

/** For `legalWorldSizes`: a world whose number of ranks of tensor parallelism is what is asked. */
export interface LegalSizesOptions extends Omit<WorldOptions, "world"> {
  readonly world?: Omit<WorldOptions["world"], "tp">;
  /** The largest size to try; 64 if not given. */
  readonly upTo?: number;
}

/**
 * Which numbers of ranks a model can be divided among by tensor parallelism; for those it cannot, which tensors forbid it and
 * why: heads that do not divide, groups and words of quantised weights. Sizes have to divide evenly, unless `uneven` is
 * `chunk`. Nothing is read.
 *
 * @throws `INVALID_SLICE` and `UNSUPPORTED` for what does not depend on the size: a plan or a field that is missing
 */
export function legalWorldSizes(
  options: LegalSizesOptions,
  tensors: Iterable<TensorInfo>,
): WorldSizeVerdict[] {
  const { upTo = 64, world, ...rest } = options;
  if (!(Number.isSafeInteger(upTo) && upTo >= 1 && upTo <= MOST))
    throw problem(`the largest size to try is a whole number from 1 to ${MOST}, not ${upTo}`);
  const infos = Array.from(tensors, ({ name, dtype, shape }) => ({ name, dtype, shape }));
  const kinds = new Map<string, TensorInfo[]>();
  for (const info of infos) {
    const kind = kindOf(info, options.quantized?.weightOf.get(info.name));
    const same = kinds.get(kind);
    if (same) same.push(info);
    else kinds.set(kind, [info]);
  }
  return Array.from({ length: upTo }, (_, index) => {
    const tp = index + 1;
    const division = new Division({ uneven: "strict", ...rest, world: { ...world, tp } }, infos);
    const obstacles = new Map<string, Obstacle>();
    for (const same of kinds.values()) {
      const found = obstacleIn(division, same);
      if (!found) continue;
      const known = obstacles.get(found.reason);
      const others = same.length - 1;
      obstacles.set(
        found.reason,
        known ? { ...known, others: known.others + 1 + others } : { ...found, others },
      );
    }
    return { tp, obstacles: [...obstacles.values()] };
  });
}

/** Tensors of one kind can be cut where one of them can: layers and experts differ in the numbers between dots only. */
function kindOf({ name, dtype, shape }: TensorInfo, weight: QuantizedWeight | undefined): string {
  const layout = weight && [
    weight.scheme,
    weight.shape,
    weight.parts.map(({ shape, links }) => [shape, links]),
    weight.transposed,
    weight.indivisible,
    weight.stated,
  ];
  return JSON.stringify([genericName(name), dtype, shape, layout]);
}

/** A tensor of a kind that cannot be divided so, and why; nothing, if it can. Those that no rank has tell nothing of the others. */
function obstacleIn(
  division: Division,
  same: readonly TensorInfo[],
): Pick<Obstacle, "tensor" | "reason"> | undefined {
  for (const info of same) {
    try {
      if (isInAnyRank(division, info)) return undefined;
    } catch (error) {
      if (!(error instanceof SafetensorsError)) throw error;
      const reason = error.reason.replace(`tensor ${quote(info.name)} of `, "");
      return { tensor: info.name, reason };
    }
  }
  return undefined;
}

/** Divides a tensor among all ranks. Throws if that is not possible. */
function isInAnyRank(division: Division, info: TensorInfo): boolean {
  const { mesh } = division;
  const places = new Set<string>();
  let isIn = false;
  for (let rank = 0; rank < mesh.size; rank++) {
    const at = mesh.coordinatesOf(rank);
    const place = division.placeOf(at);
    if (places.has(place)) continue;
    places.add(place);
    if (division.shareOf(info, at)) isIn = true;
  }
  return isIn;
}
