import { DTYPES, elementCount } from "../dtype/dtype.ts";
import { SafetensorsError } from "../errors.ts";
import { readView } from "../plan/read.ts";
import { checkRange } from "../source/range.ts";
import type { ByteSource, ReadOptions } from "../source/source.ts";
import { byteLength, type StridedView } from "../view/view.ts";
import { MAX_SPARSE_BYTES } from "./limits.ts";
import { findRuns, RUN_BYTES, type Runs, runCount } from "./sparse-runs.ts";
import { adderOf } from "./sum.ts";
import { limitError } from "./walk.ts";

/** The shapes of a sparse tensor and its parts, which fit together. */
export interface SparseParts {
  /** `sparse_coo`, `sparse_csr`, … */
  readonly layout: string;
  readonly shape: readonly number[];
  /** Shapes of the index tensors: one, or the compressed and the plain ones. */
  readonly indices: readonly (readonly number[])[];
  readonly values: readonly number[];
}

/** What is in memory while a sparse tensor is read: runs of elements by their place, and the elements. */
interface Loaded extends Runs {
  readonly values: Uint8Array;
}

/**
 * Bytes of the dense tensor that a sparse one stands for, zeros where it has no elements. Indices and values are read
 * and checked at the first read, and stay in memory until another sparse tensor is read.
 */
export class DenseSource implements ByteSource {
  readonly size: number;
  readonly #parts: SparseParts;
  readonly #indices: readonly StridedView[];
  readonly #values: StridedView;
  readonly #elementBytes: number;

  constructor(parts: SparseParts, indices: readonly StridedView[], values: StridedView) {
    this.#parts = parts;
    this.#indices = indices;
    this.#values = values;
    this.#elementBytes = DTYPES[values.dtype].bits / 8;
    this.size = elementCount(parts.shape) * this.#elementBytes;
  }

  get name(): string | undefined {
    return this.#values.source.name;
  }

  get cost(): ByteSource["cost"] {
    return this.#values.source.cost;
  }

  async read(offset: number, length: number, options?: ReadOptions): Promise<Uint8Array> {
    checkRange(this, offset, length);
    if (length === 0) return new Uint8Array(0);
    const loaded = await this.#loaded(options);
    const first = Math.floor(offset / this.#elementBytes);
    const end = Math.ceil((offset + length) / this.#elementBytes);
    const skip = offset - first * this.#elementBytes;
    return this.#fill(loaded, first, end).subarray(skip, skip + length);
  }

  async #loaded(options: ReadOptions | undefined): Promise<Loaded> {
    const known = latest.get(this);
    if (known) return known;
    // Indices are held as they come and as numbers, at most twice as large.
    const indexBytes = this.#indices.reduce((sum, view) => sum + 3 * byteLength(view), 0);
    const bytes = indexBytes + RUN_BYTES * runCount(this.#parts) + byteLength(this.#values);
    if (bytes > MAX_SPARSE_BYTES) {
      throw limitError("MAX_SPARSE_BYTES", `a sparse tensor needs ${bytes} bytes of memory while it is read`);
    }
    const indices: Uint8Array[] = [];
    for (const view of this.#indices) indices.push(await readView(view, options));
    const wide = this.#indices.map(({ dtype }) => dtype === "I64");
    const runs = findRuns(this.#parts, indices, wide);
    const loaded = { ...runs, values: await readView(this.#values, options) };
    latest = new WeakMap([[this, loaded]]);
    return loaded;
  }

  /** The elements from `first` to `end`. */
  #fill({ starts, order, length, values }: Loaded, first: number, end: number): Uint8Array {
    const size = this.#elementBytes;
    const output = new Uint8Array((end - first) * size);
    let add: ReturnType<typeof adderOf> | undefined;
    let run = lowerBound(starts, order, first - length + 1);
    for (let before = -1; run < order.length; run++) {
      const start = starts[order[run]!]!;
      if (start >= end) break;
      const from = Math.max(start, first);
      const to = Math.min(start + length, end);
      const at = (order[run]! * length + from - start) * size;
      const piece = values.subarray(at, at + (to - from) * size);
      const target = output.subarray((from - first) * size, (to - first) * size);
      if (start !== before) target.set(piece);
      else {
        add ??= adderOf(this.#values.dtype);
        if (!add) {
          const text = `elements that are given several times cannot be added in the dtype ${this.#values.dtype}`;
          throw new SafetensorsError("UNSUPPORTED", text);
        }
        add(target, piece);
      }
      before = start;
    }
    return output;
  }
}

/** What was loaded last: of many sparse tensors, which are read one after the other, only one is in memory. */
let latest = new WeakMap<DenseSource, Loaded>();

/** The first run, in order, that begins at `place` or later. */
function lowerBound(starts: Float64Array, order: Uint32Array, place: number): number {
  let low = 0;
  let high = order.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (starts[order[middle]!]! < place) low = middle + 1;
    else high = middle;
  }
  return low;
}
