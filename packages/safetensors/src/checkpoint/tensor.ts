import { type Dtype, type DtypeArrays, elementCount } from "../dtype/dtype.ts";
import { asTypedArray } from "../dtype/typed-array.ts";
import { quote, SafetensorsError } from "../errors.ts";
import { chunksOf, readView, readViewInto } from "../plan/read.ts";
import type { ReadOptions } from "../source/source.ts";
import type { IndexItem } from "../view/index-items.ts";
import { sliceView } from "../view/slice.ts";
import type { TensorView } from "../view/tiling.ts";
import { byteLength } from "../view/view.ts";

/** A tensor that is known but not read: name, dtype and shape cost nothing, the data is fetched when asked for. */
export class TensorHandle<D extends Dtype = Dtype> {
  readonly name: string;
  /** How the tensor lies in its source, or in several. */
  readonly view: TensorView & { readonly dtype: D };

  constructor(name: string, view: TensorView & { readonly dtype: D }) {
    this.name = name;
    this.view = view;
  }

  get dtype(): D {
    return this.view.dtype;
  }

  get shape(): readonly number[] {
    return this.view.shape;
  }

  /** Number of elements. */
  get length(): number {
    return elementCount(this.view.shape);
  }

  /** Bytes of the elements, packed. */
  get byteLength(): number {
    return byteLength(this.view);
  }

  /** Narrows the type of `data()`: `if (tensor.is("F32")) (await tensor.data()) satisfies Float32Array`. */
  is<E extends Dtype>(dtype: E): this is TensorHandle<E> {
    return (this.dtype as Dtype) === dtype;
  }

  /**
   * A part of the tensor, chosen as in NumPy: `slice(0, range(2, 10))`, `slice("...", [3, 1])`; see `IndexItem`. Nothing
   * is read; of the result only what belongs to it will be.
   *
   * @throws `INVALID_SLICE`, `OUT_OF_RANGE`
   */
  slice(...items: readonly IndexItem[]): TensorHandle<D> {
    return new TensorHandle(this.name, { ...sliceView(this.view, items), dtype: this.dtype });
  }

  /**
   * The packed little-endian bytes, in row-major order. A contiguous tensor of a source in memory comes as a view of
   * that memory; otherwise the bytes belong to the caller.
   */
  async bytes(options?: ReadOptions): Promise<Uint8Array> {
    try {
      return await readView(this.view, options);
    } catch (error) {
      throw readingTensor(error, this.name);
    }
  }

  /**
   * Fills memory of the caller with the packed bytes, so that none is taken: the first touch of fresh memory costs several
   * times the copy.
   *
   * @throws `SIZE_MISMATCH` unless `target` has exactly `byteLength` bytes
   */
  async readInto(target: ArrayBufferView, options?: ReadOptions): Promise<void> {
    try {
      const { buffer, byteOffset, byteLength } = target;
      await readViewInto(this.view, new Uint8Array(buffer, byteOffset, byteLength), options);
    } catch (error) {
      throw readingTensor(error, this.name);
    }
  }

  /**
   * The elements as the typed array of the dtype (see `DtypeArrays`): a view of `bytes()` where these are aligned, a
   * copy where not. For dtypes that JavaScript has no array for (F16, BF16, F8, F6, F4) it holds the raw bits.
   */
  async data(options?: ReadOptions): Promise<DtypeArrays[D]> {
    return asTypedArray(this.dtype, await this.bytes(options), this.length);
  }

  /** The elements as 32-bit floats, rounded to nearest even where F32 cannot hold them; C64 gives two an element. */
  async toFloat32(options?: ReadOptions): Promise<Float32Array> {
    const bytes = await this.bytes(options);
    const { toFloat32 } = await import("../dtype/decode.ts");
    return toFloat32(this.dtype, bytes, this.length);
  }

  /**
   * The bytes in order, in pieces that fit `buffer` and are only valid until the next one is asked for. Memory stays
   * at one buffer, whatever the tensor's size.
   */
  async *chunks(buffer: Uint8Array, options?: ReadOptions): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      yield* chunksOf(this.view, buffer, options);
    } catch (error) {
      throw readingTensor(error, this.name);
    }
  }
}

/** An error of reading with the name of the tensor. */
export function readingTensor(error: unknown, tensor: string): unknown {
  if (!(error instanceof SafetensorsError) || error.details.tensor !== undefined) return error;
  const details = { ...error.details, tensor, cause: error.cause ?? error };
  return new SafetensorsError(error.code, `${error.reason} (reading tensor ${quote(tensor)})`, details);
}
