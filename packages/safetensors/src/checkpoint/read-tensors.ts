import { type Dtype, type DtypeArrays, elementCount } from "../dtype/dtype.ts";
import { asTypedArray } from "../dtype/typed-array.ts";
import type { Progress } from "../plan/execute.ts";
import type { PlanSummary } from "../plan/plan.ts";
import type { ReadOptions } from "../source/source.ts";
import type { IndexItem } from "../view/index-items.ts";
import type { Checkpoint } from "./checkpoint.ts";
import type { TensorHandle } from "./tensor.ts";

/** Which tensors, and which part of each. */
export interface TensorChoice {
  /** Names to read, a pattern that they match, or a test; all tensors without it. */
  readonly names?: Iterable<string> | RegExp | ((name: string) => boolean) | undefined;
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
const READ_SHARE = 8;

/** Reads tensors in the order of their data, each handed out when it is complete. See `Checkpoint.read`. */
export async function* readTensors(
  checkpoint: Checkpoint,
  options: ReadTensorsOptions,
): AsyncGenerator<LoadedTensor, void, undefined> {
  const { planReads } = await import("../plan/plan.ts");
  const { executePlan } = await import("../plan/execute.ts");
  const handles = chooseTensors(checkpoint, options);
  const plan = planReads(
    handles.map(({ view }) => view),
    { maxRead: Math.min(MAX_READ, (options.budget ?? Number.POSITIVE_INFINITY) / READ_SHARE) },
  );
  const nameOf = (tensor: number): string => handles[tensor]!.name;
  for await (const { tensor, bytes } of executePlan(plan, { ...options, nameOf })) {
    const { name, dtype, shape } = handles[tensor]!;
    yield new LoadedTensor(name, dtype, shape, bytes);
  }
}

/** What reading these tensors will do: bytes, requests, by source. Nothing is read. */
export async function planTensors(checkpoint: Checkpoint, choice: TensorChoice): Promise<PlanSummary> {
  const { planReads } = await import("../plan/plan.ts");
  return planReads(
    chooseTensors(checkpoint, choice).map(({ view }) => view),
    { maxRead: MAX_READ },
  ).summary;
}

function chooseTensors(checkpoint: Checkpoint, { names, slices }: TensorChoice): TensorHandle[] {
  return [...namesToRead(checkpoint, names)].map((name) => {
    const tensor = checkpoint.get(name);
    const items = slices?.get(name);
    return items ? tensor.slice(...items) : tensor;
  });
}

/** In the order of the data; names that are not there are an error, which `get` throws. */
function namesToRead(checkpoint: Checkpoint, names: TensorChoice["names"]): Iterable<string> {
  if (names === undefined) return checkpoint.keys();
  if (names instanceof RegExp) return [...checkpoint.keys()].filter((name) => name.search(names) >= 0);
  if (typeof names === "function") return [...checkpoint.keys()].filter(names);
  const wanted = new Set(names);
  for (const name of wanted) checkpoint.get(name);
  return [...checkpoint.keys()].filter((name) => wanted.has(name));
}
