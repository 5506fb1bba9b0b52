import type { RankOf } from "./axis.ts";
import { checkRank, problem } from "./problem.ts";

/** The ways in which ranks divide the work: tensor, pipeline, expert and data parallelism. */
export type MeshAxis = "tp" | "pp" | "ep" | "dp";

/** How many ranks there are along each of them; one, if not given. */
export type WorldSizes = Readonly<Partial<Record<MeshAxis, number>>>;

/** The place of a rank: its number along each of them. */
export type Coordinates = Readonly<Record<MeshAxis, number>>;

/**
 * From the one whose neighbours are furthest apart to the one with neighbouring ranks: Megatron's and transformers'
 * order.
 */
export const DEFAULT_ORDER: readonly MeshAxis[] = ["pp", "dp", "ep", "tp"];

/** Most ranks in a world. */
const MAX_RANKS = 65_536;

/** All ranks as a grid. */
export class Mesh {
  readonly sizes: Coordinates;
  readonly order: readonly MeshAxis[];

  /**
   * Throws `INVALID_SLICE` for sizes that are no counts, too many ranks, and an order that does not name each axis
   * once.
   */
  constructor(sizes: WorldSizes, order: readonly MeshAxis[] = DEFAULT_ORDER) {
    const { tp = 1, pp = 1, ep = 1, dp = 1 } = sizes;
    this.sizes = { tp, pp, ep, dp };
    this.order = order;
    if ([...order].sort().join() !== [...DEFAULT_ORDER].sort().join())
      throw problem(`the order ${order.join(", ")} does not name each of ${DEFAULT_ORDER.join(", ")} once`);
    for (const axis of order) {
      const size = this.sizes[axis];
      if (!(Number.isSafeInteger(size) && size > 0)) throw problem(`${size} is no number of ${axis} ranks`);
    }
    if (this.size > MAX_RANKS) throw problem(`${this.size} ranks are more than ${MAX_RANKS}`);
  }

  /** Number of ranks. */
  get size(): number {
    return this.order.reduce((product, axis) => product * this.sizes[axis], 1);
  }

  /** Where a rank is. `INVALID_SLICE` if there is none such. */
  coordinatesOf(rank: number): Coordinates {
    checkRank(rank, this.size);
    const coordinates = { tp: 0, pp: 0, ep: 0, dp: 0 };
    let rest = rank;
    for (const axis of this.order.toReversed()) {
      coordinates[axis] = rest % this.sizes[axis];
      rest = Math.floor(rest / this.sizes[axis]);
    }
    return coordinates;
  }

  /** Which one a place is of all that differ along these axes only, the last of which has neighbours. */
  among(axes: readonly MeshAxis[], at: Coordinates): RankOf {
    let [rank, world] = [0, 1];
    for (const axis of axes) {
      rank = rank * this.sizes[axis] + at[axis];
      world *= this.sizes[axis];
    }
    return { rank, world };
  }
}
