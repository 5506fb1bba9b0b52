import { DTYPES, elementCount } from "../dtype/dtype.ts";
import { SafetensorsError } from "../errors.ts";
import type { ByteSource } from "../source/source.ts";
import { piecesOf, type TensorView } from "../view/tiling.ts";
import { byteLength, contiguousStrides } from "../view/view.ts";
import { Cutter } from "./cutter.ts";
import { interleave } from "./interleave.ts";
import { mergeIntoReads, type PlannedRead } from "./merge.ts";
import { UnitList } from "./unit-list.ts";
import { unitCount } from "./units.ts";

/** Options of `planReads`. */
export interface PlanOptions {
  /** Most bytes of one read. */
  readonly maxRead?: number | undefined;
  /** Most bytes of one read of a file straight into a tensor's memory, which takes no other; `maxRead` unless given. */
  readonly maxInPlace?: number | undefined;
}

/** Large enough to make the cost of an operation small, small enough to stay in cache and to run side by side. */
const DEFAULT_MAX_READ = 4 << 20;

/** Places to read from in one plan, about 50 bytes of memory each: views that overlap make little data into any number. */
export const MAX_UNITS: number = 2 ** 24;

/** Buffers for reads come in whole pages, so that those of similar plans are alike and can be used again. */
const PAGE = 4096;

/** What a plan will do to one source. */
export interface SourceSummary {
  readonly source: string;
  readonly requests: number;
  readonly bytesRead: number;
}

/** What a plan will do, known before anything is read. */
export interface PlanSummary {
  readonly requests: number;
  /** Bytes that will be read, those between the elements included. */
  readonly bytesRead: number;
  /** Bytes of the tensors that are asked for. */
  readonly usefulBytes: number;
  /** Bytes held at once when the reads run one after the other: a budget of so many will do, and less may. */
  readonly peakMemory: number;
  /** Bytes of the buffer that a read needs unless it is made straight into a tensor's memory. */
  readonly bufferBytes: number;
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
  #summary: PlanSummary | undefined;

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

  /** The sources that are read from. */
  get sources(): readonly ByteSource[] {
    return this.#lists.map(({ source }) => source);
  }

  /** The reads: of each source in the order of its bytes, sources in turn as the order of the tensors wants. */
  *reads(): Generator<PlannedRead, void, undefined> {
    const hasBegun = new Uint8Array(this.views.length);
    for (const read of interleave(this.#lists.map((list) => mergeIntoReads(list, this.#maxRead)))) {
      for (let place = read.firstUnit; place < read.endUnit; place++) {
        const tensor = read.units.tensor(place);
        if (hasBegun[tensor]) continue;
        hasBegun[tensor] = 1;
        read.begins.push(tensor);
      }
      yield read;
    }
  }

  /** What the plan will do. */
  get summary(): PlanSummary {
    this.#summary ??= this.#summarize();
    return this.#summary;
  }

  #summarize(): PlanSummary {
    const sources = new Map(this.#lists.map((list) => [list, { requests: 0, bytesRead: 0 }]));
    const waiting = this.unitsOf.slice();
    let [open, peak, peakWithBuffer, longest] = [0, 0, 0, 0];
    for (const read of this.reads()) {
      const own = sources.get(read.units)!;
      own.requests++;
      own.bytesRead += read.length;
      for (const tensor of read.begins) open += byteLength(this.views[tensor]!);
      if (needsBuffer(read)) {
        longest = Math.max(longest, read.length);
        peakWithBuffer = Math.max(peakWithBuffer, open);
      }
      peak = Math.max(peak, open);
      for (let place = read.firstUnit; place < read.endUnit; place++) {
        const tensor = read.units.tensor(place);
        if (--waiting[tensor]! === 0) open -= byteLength(this.views[tensor]!);
      }
    }
    // Seven bytes more let a read lie as it does in the source, see `placeInBuffer`.
    const bufferBytes = longest === 0 ? 0 : Math.ceil((longest + 7) / PAGE) * PAGE;
    const figures = [...sources.values()];
    return {
      requests: figures.reduce((sum, { requests }) => sum + requests, 0),
      bytesRead: figures.reduce((sum, { bytesRead }) => sum + bytesRead, 0),
      usefulBytes: this.views.reduce((sum, view) => sum + byteLength(view), 0),
      peakMemory: Math.max(peak, peakWithBuffer + bufferBytes),
      bufferBytes,
      sources: Array.from(sources, ([{ source }, own]) => ({ source: source.name ?? "", ...own })),
    };
  }
}

/** Whether a read needs memory beside that of the tensors; a source may show its own or return new memory. */
export function needsBuffer({ units: { source }, inPlace }: PlannedRead): boolean {
  return !source.view && !(inPlace && source.readInto);
}

/**
 * Plans how to read tensors, each into packed memory of its own. Pure: nothing is read.
 *
 * @throws `LIMIT_EXCEEDED` for more than `MAX_UNITS` places to read from; `SIZE_MISMATCH` for a tiling with holes
 */
export function planReads(
  views: readonly TensorView[],
  { maxRead = DEFAULT_MAX_READ, maxInPlace = maxRead }: PlanOptions = {},
): ReadPlan {
  const lists = new Map<ByteSource, UnitList>();
  const unitsOf = new Uint32Array(views.length);
  const cutter = new Cutter(maxRead, maxInPlace);
  let total = 0;
  for (const [tensor, view] of views.entries()) {
    const { bits } = DTYPES[view.dtype];
    const strides = contiguousStrides(view.shape);
    let covered = 0;
    for (const piece of piecesOf(view)) {
      const count = elementCount(piece.view.shape);
      if (count === 0) continue;
      covered += count;
      const { source, bitOffset } = piece.view;
      const list = lists.get(source) ?? new UnitList(source);
      lists.set(source, list);
      const target = piece.at.reduce((sum, index, axis) => sum + index * strides[axis]!, 0) * bits;
      const steps = piece.steps;
      const targetStrides = steps ? strides.map((stride, axis) => stride * steps[axis]!) : strides;
      for (const group of cutter.cut(piece.view, targetStrides, bits)) {
        const units = unitCount(group);
        total += units;
        if (total > MAX_UNITS) throw tooManyUnits();
        unitsOf[tensor]! += units;
        list.add(tensor, group, bitOffset, target);
      }
    }
    if (covered !== elementCount(view.shape)) throw hasHoles(tensor, view.shape, covered);
  }
  for (const list of lists.values()) list.sort();
  return new ReadPlan(views, unitsOf, [...lists.values()], maxRead);
}

function tooManyUnits(): SafetensorsError {
  const text = `the tensors lie in more than ${MAX_UNITS} places apart; read fewer of them, or parts, at once`;
  return new SafetensorsError("LIMIT_EXCEEDED", text, { limit: "MAX_UNITS" });
}

function hasHoles(tensor: number, shape: readonly number[], covered: number): SafetensorsError {
  const text = `the pieces of tensor ${tensor}, of shape [${shape}], have ${covered} elements`;
  return new SafetensorsError("SIZE_MISMATCH", text);
}
