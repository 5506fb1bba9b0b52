import type { TensorHandle } from "../checkpoint/tensor.ts";
import { castFloats, type FloatDtype } from "../dtype/cast.ts";
import { DTYPES, elementCount } from "../dtype/dtype.ts";
import { quote, SafetensorsError } from "../errors.ts";
import { MAX_DECODED_BYTES } from "../limits.ts";
import { readView } from "../plan/read.ts";
import { checkRange } from "../source/range.ts";
import type { ByteSource, ReadOptions } from "../source/source.ts";
import { type AxisCut, type Cut, cutShape, cutView } from "../view/cut.ts";
import { cutOfDense, cutParts, denseShape, grainOf } from "./cut-parts.ts";
import type { KernelCall } from "./kernels/call.ts";
import type { PartData, QuantizedWeight } from "./weight.ts";

/** Rows and columns of a square that stays in the cache of the processor. */
const TILE = 32;

/** What makes values of calls, here or elsewhere: `Kernels`, or a `KernelPool`. */
export interface DenseKernels {
  /** The values of a call as packed floats. */
  dense(call: KernelCall, dtype: FloatDtype): Uint8Array | Promise<Uint8Array>;
}

/** How a weight is decoded. */
export interface DecodeOptions {
  /** The fastest that there are here unless given: see `loadKernels`. */
  readonly kernels?: DenseKernels | undefined;
  /** Values that are decoded at once, unless the limits of words and blocks ask for more: 2 Mi (8 MiB) if not given. */
  readonly panel?: number | undefined;
}

/** A run of rows of the weight, as bytes of the dense tensor. */
interface Panel {
  readonly start: number;
  readonly bytes: Promise<Uint8Array>;
}

/**
 * Bytes of the dense tensor that a quantised weight stands for. What is read of it is decoded in panels of rows, cut from
 * the stored tensors; the latest one stays in memory until another weight is read.
 */
export class DequantizedSource implements ByteSource {
  readonly size: number;
  readonly #weight: QuantizedWeight;
  readonly #part: (name: string) => TensorHandle;
  readonly #dtype: FloatDtype;
  readonly #kernels: DenseKernels | undefined;
  /** Axis of the dense form along which panels follow each other, its indices, those in a panel, and the bytes of one. */
  readonly #axis: number;
  readonly #rows: number;
  readonly #panelRows: number;
  readonly #rowBytes: number;

  /** `part` gives a stored tensor by its name. */
  constructor(
    weight: QuantizedWeight,
    part: (name: string) => TensorHandle,
    dtype: FloatDtype,
    { kernels, panel = 1 << 21 }: DecodeOptions = {},
  ) {
    this.#weight = weight;
    this.#part = part;
    this.#dtype = dtype;
    this.#kernels = kernels;
    const shape = denseShape(weight);
    this.size = (elementCount(shape) * DTYPES[dtype].bits) / 8;
    // Panels are rows of the dense form, which are columns of the stored one if that lies the other way round.
    this.#axis = weight.indivisible === undefined ? Math.max(0, shape.length - 2) : 0;
    this.#rows = shape[this.#axis] ?? 1;
    const rowElements = Math.max(1, elementCount(shape.slice(this.#axis + 1)));
    const grain = weight.indivisible === undefined ? (grainOf(weight)[this.#storedAxis] ?? 1) : this.#rows;
    this.#rowBytes = (rowElements * DTYPES[dtype].bits) / 8;
    this.#panelRows = Math.max(1, grain, Math.floor(panel / rowElements / grain) * grain);
    if (this.#panelRows * rowElements * 4 > MAX_DECODED_BYTES) {
      const text = `${quote(weight.name)} of shape [${shape}] is decoded in pieces of ${this.#panelRows} rows, which need too much memory`;
      throw new SafetensorsError("LIMIT_EXCEEDED", text, { tensor: weight.name, limit: "MAX_DECODED_BYTES" });
    }
  }

  get name(): string {
    return this.#weight.name;
  }

  /** A panel is decoded for each read in another one; bytes cost about what their arithmetic does. */
  get cost(): ByteSource["cost"] {
    return { operation: 1e-3, byte: 1e-9 };
  }

  async read(offset: number, length: number, options?: ReadOptions): Promise<Uint8Array> {
    checkRange(this, offset, length);
    const result = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const start = this.#startOfPanel(offset + done);
      const bytes = await this.#panel(start, options);
      const from = offset + done - start;
      const piece = bytes.subarray(from, from + length - done);
      result.set(piece, done);
      done += piece.length;
    }
    return result;
  }

  /** The byte at which the panel begins that holds this one. Panels do not go over from one matrix into the next. */
  #startOfPanel(offset: number): number {
    const matrixBytes = Math.max(1, this.#rows * this.#rowBytes);
    const matrix = Math.floor(offset / matrixBytes) * matrixBytes;
    const panelBytes = this.#panelRows * this.#rowBytes;
    return matrix + Math.floor((offset - matrix) / panelBytes) * panelBytes;
  }

  /** The panel that begins at this byte of the dense tensor. */
  #panel(start: number, options: ReadOptions | undefined): Promise<Uint8Array> {
    const known = latest.get(this);
    if (known?.start === start) return known.bytes;
    const bytes = this.#decode(start, options);
    const panel = { start, bytes };
    latest = new WeakMap([[this, panel]]);
    // What failed, or was aborted by one reader, is tried anew by the next.
    bytes.catch(() => {
      if (latest.get(this) === panel) latest.delete(this);
    });
    return bytes;
  }

  async #decode(start: number, options: ReadOptions | undefined): Promise<Uint8Array> {
    const weight = this.#weight;
    const cut = cutOfDense(weight, this.#cutAt(start));
    const call = await callFor(weight, this.#part, cut, options ?? {});
    const kernels = await orFastest(this.#kernels);
    if (!weight.transposed) return kernels.dense(call, this.#dtype);
    const values = swapped(floatsOf(await kernels.dense(call, "F32")), cutShape(weight.shape, cut));
    return castFloats("F32", this.#dtype, new Uint8Array(values.buffer));
  }

  get #storedAxis(): number {
    return this.#weight.transposed ? this.#axis + 1 : this.#axis;
  }

  /** What a panel is of the dense form. Axes before the one of the panels are of one index each. */
  #cutAt(start: number): Cut {
    const shape = denseShape(this.#weight);
    const row = start / this.#rowBytes;
    const at = row % this.#rows;
    const cut: AxisCut[] = [];
    if (shape.length > 0)
      cut.push({
        axis: this.#axis,
        ranges: [{ start: at, stop: Math.min(this.#rows, at + this.#panelRows) }],
      });
    let before = Math.floor(row / this.#rows);
    for (let axis = this.#axis - 1; axis >= 0; axis--) {
      const index = before % shape[axis]!;
      cut.push({ axis, ranges: [{ start: index, stop: index + 1 }] });
      before = Math.floor(before / shape[axis]!);
    }
    return cut;
  }
}

/**
 * Reads the stored parts of a piece of a weight, and decodes them.
 *
 * @returns the values, row by row
 * @throws `INVALID_SLICE` for a piece that is no whole number of words, groups and blocks; errors of reading
 */
export async function decodePiece(
  weight: QuantizedWeight,
  part: (name: string) => TensorHandle,
  cut: Cut,
  { kernels, ...options }: ReadOptions & Pick<DecodeOptions, "kernels"> = {},
): Promise<Float32Array> {
  // Scales that are one for all have no block then: schemes need not know of it.
  if (elementCount(cutParts(weight, cut).shape) === 0) return new Float32Array(0);
  const call = await callFor(weight, part, cut, options);
  return floatsOf(await (await orFastest(kernels)).dense(call, "F32"));
}

async function callFor(
  weight: QuantizedWeight,
  part: (name: string) => TensorHandle,
  cut: Cut,
  options: ReadOptions,
): Promise<KernelCall> {
  const { shape, parts } = cutParts(weight, cut);
  const data = new Map<string, PartData>();
  for (const { part: stored, cut, restated } of parts) {
    const view = cutView(part(stored.name).view, cut);
    const bytes = restated ? restated.bytes : await readView(view, options);
    data.set(stored.role, restated ?? { dtype: view.dtype, shape: view.shape, bytes });
  }
  return weight.decode(data, shape);
}

/** Loaded when first needed: what only looks at weights does without them. */
async function orFastest(kernels: DenseKernels | undefined): Promise<DenseKernels> {
  return kernels ?? (await import("./kernels/load.ts")).loadKernels();
}

/** Packed floats in memory of their own, or that begins at a multiple of four. */
function floatsOf({ buffer, byteOffset, byteLength }: Uint8Array): Float32Array {
  return new Float32Array(buffer, byteOffset, byteLength / 4);
}

/** The panel that was read last: of many weights, which are read one after the other, only one is in memory. */
let latest = new WeakMap<DequantizedSource, Panel>();

/** Matrices with their axes the other way round, in tiles, as one of the two sides is far apart. */
function swapped(values: Float32Array, shape: readonly number[]): Float32Array {
  const [rows, columns] = [shape.at(-2)!, shape.at(-1)!];
  const result = new Float32Array(values.length);
  const size = rows * columns;
  for (let start = 0; start < values.length; start += size) {
    for (let top = 0; top < rows; top += TILE) {
      for (let left = 0; left < columns; left += TILE) {
        const [bottom, right] = [Math.min(rows, top + TILE), Math.min(columns, left + TILE)];
        for (let row = top; row < bottom; row++) {
          for (let column = left; column < right; column++)
            result[start + column * rows + row] = values[start + row * columns + column]!;
        }
      }
    }
  }
  return result;
}
