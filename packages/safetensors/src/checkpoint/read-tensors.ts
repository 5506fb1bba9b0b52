import { type Dtype, type DtypeArrays, elementCount } from "../dtype/dtype.ts";
import { asTypedArray } from "../dtype/typed-array.ts";
import type { Progress } from "../plan/execute.ts";
import type { PlanSummary, ReadPlan } from "../plan/plan.ts";
import type { ReadOptions } from "../source/source.ts";
import type { IndexItem } from "../view/index-items.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { chooseNames, type NameChoice } from "./select.ts";
import type { TensorHandle } from "./tensor.ts";

/** Which tensors, and which part of each. */
export interface TensorChoice {
  /** The names to read; all tensors without it. */
  readonly names?: NameChoice | undefined;
  /** Indexes by name: of these tensors only that part is read. */
  readonly slices?: ReadonlyMap<string, readonly IndexItem[]> | undefined;
}

/** Options of `Checkpoint.read`. */
export interface ReadTensorsOptions extends TensorChoice, ReadOptions {
  /** Most bytes held at once, of tensors and of reads under way; 256 MiB unless said otherwise. */
  readonly budget?: number | undefined;
  /** Reads in flight, instead of what suits the source. */
  readonly concurrency?: number | undefined;
  /**
   * The data of a tensor is valid only until the next one is asked for; its memory is then used again. Fresh memory
   * for each tensor costs several times the copy into it.
   */
  readonly borrowed?: boolean | undefined;
  /** The caller's memory for a tensor's bytes, of exactly their size, instead of new memory. It is not counted. */
  readonly into?: ((tensor: TensorHandle) => Uint8Array) | undefined;
  /**
   * `file`, unless said otherwise: tensors come in the order of their data, which needs the fewest reads. `given`: in the
   * order in which `names` lists them, one after another.
   */
  readonly order?: "file" | "given" | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/** A tensor that has been read. */
export class LoadedTensor<D extends Dtype = Dtype> {
  readonly name: string;
  readonly dtype: D;
  readonly shape: readonly number[];
  /** The packed little-endian bytes, in row-major order. */
  readonly bytes: Uint8Array;

  constructor(name: string, dtype: D, shape: readonly number[], bytes: Uint8Array) {
    this.name = name;
    this.dtype = dtype;
    this.shape = shape;
    this.bytes = bytes;
  }

  /** The elements as the typed array of the dtype: see `TensorHandle.data`. */
  data(): DtypeArrays[D] {
    return asTypedArray(this.dtype, this.bytes, elementCount(this.shape));
  }

  /** The elements as 32-bit floats: see `TensorHandle.toFloat32`. */
  async toFloat32(): Promise<Float32Array> {
    const { toFloat32 } = await import("../dtype/decode.ts");
    return toFloat32(this.dtype, this.bytes, elementCount(this.shape));
  }
}

/** Largest read of a plan, and the part of the budget that one read may take. */
const MAX_READ = 4 << 20;
/** Of what is read straight into place: fewer reads take a tenth less time (measured with a file of 1 GB). */
const MAX_IN_PLACE = 16 << 20;
const READ_SHARE = 8;

/** Reads tensors, each handed out when it is complete. See `Checkpoint.read`. */
export async function* readTensors(
  checkpoint: Checkpoint,
  options: ReadTensorsOptions,
): AsyncGenerator<LoadedTensor, void, undefined> {
  const chosen = chooseTensors(checkpoint, options);
  if (options.order === "given") yield* readInGivenOrder(chosen, options);
  else yield* readHandles(chosen, options);
}

/** Reads these tensors in the order of their data. */
export async function* readHandles(
  handles: readonly TensorHandle[],
  options: ReadTensorsOptions,
): AsyncGenerator<LoadedTensor, void, undefined> {
  const { executePlan } = await import("../plan/execute.ts");
  const { into } = options;
  const plan = await planHandles(handles, options.budget);
  const run = executePlan(plan, {
    ...options,
    nameOf: (tensor) => handles[tensor]!.name,
    targetOf: into && ((tensor) => into(handles[tensor]!)),
  });
  for await (const { tensor, bytes } of run) {
    const { name, dtype, shape } = handles[tensor]!;
    yield new LoadedTensor(name, dtype, shape, bytes);
  }
}

async function* readInGivenOrder(
  handles: readonly TensorHandle[],
  options: ReadTensorsOptions,
): AsyncGenerator<LoadedTensor, void, undefined> {
  const { onProgress } = options;
  const plans = await Promise.all(handles.map((handle) => planHandles([handle], options.budget)));
  const totalBytes = plans.reduce((sum, { summary }) => sum + summary.bytesRead, 0);
  let before = 0;
  for (const [tensors, handle] of handles.entries()) {
    const ofAll = ({ bytes, tensors: done }: Progress): void =>
      onProgress?.({
        bytes: before + bytes,
        totalBytes,
        tensors: tensors + done,
        totalTensors: handles.length,
      });
    yield* readHandles([handle], { ...options, onProgress: onProgress && ofAll });
    before += plans[tensors]!.summary.bytesRead;
  }
}

/** What reading these tensors will do: bytes, requests, by source. Nothing is read. */
export async function planTensors(
  checkpoint: Checkpoint,
  { budget, ...choice }: TensorChoice & { readonly budget?: number | undefined },
): Promise<PlanSummary> {
  return (await planHandles(chooseTensors(checkpoint, choice), budget)).summary;
}

/**
 * Small budgets get small reads. Between these, tensors may be open together that one large read completes: where that is
 * too much for the budget and large reads are not, these it is, so that a budget that a plan without one names will do.
 */
async function planHandles(
  handles: readonly TensorHandle[],
  budget = Number.POSITIVE_INFINITY,
): Promise<ReadPlan> {
  const { planReads } = await import("../plan/plan.ts");
  const views = handles.map(({ view }) => view);
  const share = budget / READ_SHARE;
  const plan = planReads(views, {
    maxRead: Math.min(MAX_READ, share),
    maxInPlace: Math.min(MAX_IN_PLACE, share),
  });
  if (share >= MAX_IN_PLACE || plan.summary.peakMemory <= budget) return plan;
  const large = planReads(views, { maxRead: MAX_READ, maxInPlace: MAX_IN_PLACE });
  return large.summary.peakMemory <= budget ? large : plan;
}

/** The tensors, or parts of them, in the order of the data, or as `names` lists them if `order` says so. */
export function chooseTensors(
  checkpoint: Checkpoint,
  { names, slices, order }: TensorChoice & Pick<ReadTensorsOptions, "order">,
): TensorHandle[] {
  return [...chooseNames(checkpoint, names, order)].map((name) => {
    const tensor = checkpoint.get(name);
    const items = slices?.get(name);
    return items ? tensor.slice(...items) : tensor;
  });
}
