import { TensorHandle } from "../checkpoint/tensor.ts";
import { DTYPES, type Dtype, elementCount } from "../dtype/dtype.ts";
import type { PartData } from "../quant/weight.ts";
import { fromBytes } from "../source/memory.ts";
import { type Cut, cutShape } from "../view/cut.ts";
import { contiguousStrides } from "../view/view.ts";
import { cutTensor } from "./cut-tensor.ts";
import { Division, type TensorInfo, type WorldOptions } from "./division.ts";
import type { Coordinates } from "./mesh.ts";
import type { PlanReport } from "./plan.ts";

/** A tensor of a rank. */
export interface RankTensor {
  readonly name: string;
  /** What the rank has of it. Its view reads only that. */
  readonly handle: TensorHandle;
  readonly cut: Cut;
  /** Of a tensor that states the shape of a quantised weight: it states the shape of the rank's part, and comes from memory. */
  readonly restated?: true;
}

/** What one rank has. */
export interface RankRow {
  readonly rank: number;
  readonly at: Coordinates;
  readonly tensors: number;
  readonly bytes: number;
}

/** What each rank has. */
export interface WorldTable {
  readonly ranks: readonly RankRow[];
  /** Bytes of all tensors, once. */
  readonly wholeBytes: number;
  /** What the plan of tensor parallelism did not do, if there is one. */
  readonly plan?: PlanReport;
  /** Tensors that every stage of a pipeline has, as no rule says where they belong. */
  readonly unplaced: readonly string[];
}

/**
 * The tensors of one rank, each as the view of what the rank has of it, in their order. Nothing is read.
 *
 * @throws `INVALID_SLICE` for what cannot be divided so, or is needed and neither given nor in the configuration;
 *   `UNSUPPORTED` without a plan for a model that none is known for
 */
export function rankShare(
  options: WorldOptions & { readonly rank: number },
  tensors: Iterable<TensorHandle>,
): RankTensor[] {
  const handles = [...tensors];
  const division = new Division(options, handles);
  const at = division.mesh.coordinatesOf(options.rank);
  return handles.flatMap((handle) => {
    const share = division.shareOf(handle, at);
    if (!share) return [];
    const { cut, restated } = share;
    return [
      {
        name: handle.name,
        handle: restated ? tensorOf(handle.name, restated) : cutTensor(handle, cut),
        cut,
        ...(restated && { restated: true as const }),
      },
    ];
  });
}

/** How many tensors and bytes each rank has. Throws as `rankShare`. */
export function worldTable(options: WorldOptions, tensors: Iterable<TensorInfo>): WorldTable {
  const infos = Array.from(tensors, ({ name, dtype, shape }) => ({ name, dtype, shape }));
  const division = new Division(options, infos);
  const known = new Map<string, { readonly tensors: number; readonly bytes: number }>();
  const ranks = Array.from({ length: division.mesh.size }, (_, rank) => {
    const at = division.mesh.coordinatesOf(rank);
    const place = division.placeOf(at);
    const share = known.get(place) ?? tally(division, infos, at);
    known.set(place, share);
    return { rank, at, ...share };
  });
  const wholeBytes = infos.reduce((sum, { dtype, shape }) => sum + bytesOf(dtype, shape), 0);
  return { ranks, wholeBytes, ...division.report(infos.map(({ name }) => name)) };
}

function tally(
  division: Division,
  infos: readonly TensorInfo[],
  at: Coordinates,
): { tensors: number; bytes: number } {
  let [tensors, bytes] = [0, 0];
  for (const info of infos) {
    const share = division.shareOf(info, at);
    if (!share) continue;
    tensors++;
    bytes += share.restated?.bytes.length ?? bytesOf(info.dtype, cutShape(info.shape, share.cut));
  }
  return { tensors, bytes };
}

function tensorOf(name: string, { dtype, shape, bytes }: PartData): TensorHandle {
  const source = fromBytes(bytes, name);
  return new TensorHandle(name, { source, dtype, shape, strides: contiguousStrides(shape), bitOffset: 0 });
}

function bytesOf(dtype: Dtype, shape: readonly number[]): number {
  return Math.ceil((elementCount(shape) * DTYPES[dtype].bits) / 8);
}
