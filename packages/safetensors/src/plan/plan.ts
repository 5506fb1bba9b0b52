import { DTYPES, elementCount } from "../dtype/dtype.ts";
import type { ByteSource } from "../source/source.ts";
import { type Piece, piecesOf, type TensorView } from "../view/tiling.ts";
import { byteLength } from "../view/view.ts";
import { bridgeableGap } from "./cost.ts";
import { transferOf } from "./transfer.ts";
import { UnitList } from "./unit-list.ts";
import { cutIntoUnits } from "./units.ts";

/** Options of `planReads`. */
export interface PlanOptions {
  /** Most bytes of one read. */
  readonly maxRead?: number | undefined;
}

/** Large enough to make the cost of an operation small, small enough to stay in cache and to run side by side. */
const DEFAULT_MAX_READ = 4 << 20;

/** One read: a range of a source, and the units (by place in the list's order) that it serves. */
export interface PlannedRead {
  readonly units: UnitList;
  readonly firstUnit: number;
  readonly endUnit: number;
  /** Bytes. */
  readonly offset: number;
  readonly length: number;
}

/** What a plan will do to one source. */
export interface SourceSummary {
  readonly source: string;
  readonly requests: number;
  readonly bytesRead: number;
}

/** What a plan will do. All figures are known before anything is read. */
export interface PlanSummary {
  readonly requests: number;
  readonly bytesRead: number;
  /** Bytes of the tensors that are asked for. */
  readonly usefulBytes: number;
  readonly sources: readonly SourceSummary[];
}

/** The reads that together bring what a list of tensors needs. */
export class ReadPlan {
  /** The tensors, by number. */
  readonly views: readonly TensorView[];
  /** How many units each tensor waits for. */
  readonly unitsOf: Uint32Array;
  readonly #lists: readonly UnitList[];
  readonly #maxRead: number;

  constructor(
    views: readonly TensorView[],
    unitsOf: Uint32Array,
    lists: readonly UnitList[],
    maxRead: number,
  ) {
    this.views = views;
    this.unitsOf = unitsOf;
    this.#lists = lists;
    this.#maxRead = maxRead;
  }

  /** The reads, source by source, each in the order of its bytes. */
  *reads(): Generator<PlannedRead, void, undefined> {
    for (const list of this.#lists) yield* mergeIntoReads(list, this.#maxRead);
  }

  /** What the plan will do. */
  get summary(): PlanSummary {
    const sources = this.#lists.map((list) => {
      let requests = 0;
      let bytesRead = 0;
      for (const { length } of mergeIntoReads(list, this.#maxRead)) {
        requests++;
        bytesRead += length;
      }
      return { source: list.source.name ?? "", requests, bytesRead };
    });
    return {
      requests: sources.reduce((sum, { requests }) => sum + requests, 0),
      bytesRead: sources.reduce((sum, { bytesRead }) => sum + bytesRead, 0),
      usefulBytes: this.views.reduce((sum, view) => sum + byteLength(view), 0),
      sources,
    };
  }
}

/** Plans how to read tensors, each into packed memory of its own. Pure: nothing is read. */
export function planReads(
  views: readonly TensorView[],
  { maxRead = DEFAULT_MAX_READ }: PlanOptions = {},
): ReadPlan {
  const lists = new Map<ByteSource, UnitList>();
  const unitsOf = new Uint32Array(views.length);
  views.forEach((view, tensor) => {
    if (elementCount(view.shape) === 0) return;
    for (const piece of piecesOf(view)) {
      const { source } = piece.view;
      const list = lists.get(source) ?? new UnitList(source);
      lists.set(source, list);
      const before = list.length;
      addPiece(list, tensor, piece, view, maxRead);
      unitsOf[tensor]! += list.length - before;
    }
  });
  for (const list of lists.values()) list.sort();
  return new ReadPlan(views, unitsOf, [...lists.values()], maxRead);
}

function addPiece(list: UnitList, tensor: number, piece: Piece, whole: TensorView, maxRead: number): void {
  const { bits } = DTYPES[whole.dtype];
  const { transfer, target } = transferOf(tensor, piece, whole.shape, bits);
  const gap = bridgeableGap(list.source) * 8;
  cutIntoUnits(transfer, piece.view.bitOffset, target, gap, maxRead * 8, (unit, from, to) =>
    list.add(unit, from, to),
  );
}

/** Reads that each serve as many neighbouring units as the cost of the gaps and the largest read allow. */
function* mergeIntoReads(units: UnitList, maxRead: number): Generator<PlannedRead, void, undefined> {
  const gap = bridgeableGap(units.source);
  let firstUnit = 0;
  let offset = 0;
  let end = 0;
  for (let place = 0; place < units.length; place++) {
    const start = Math.floor(units.start(place) / 8);
    const stop = Math.ceil((units.start(place) + units.span(place)) / 8);
    const joins = place > 0 && start - end <= gap && Math.max(stop, end) - offset <= maxRead;
    if (!joins) {
      if (place > 0) yield { units, firstUnit, endUnit: place, offset, length: end - offset };
      firstUnit = place;
      offset = start;
      end = start;
    }
    end = Math.max(end, stop);
  }
  if (units.length > 0) yield { units, firstUnit, endUnit: units.length, offset, length: end - offset };
}
