import { DTYPES, type Dtype, elementCount } from "../dtype/dtype.ts";
import type { ByteSource } from "../source/source.ts";

/**
 * A tensor as it lies in a source: where element zero is, and how far to go for the next one along each axis.
 *
 * A tensor in a safetensors file is one (contiguous). A tensor in a PyTorch file is one (its storage may be shared,
 * offset, transposed, expanded).
 */
export interface StridedView {
  readonly source: ByteSource;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Elements (not bytes) from one index to the next along each axis. Zero repeats, a negative one goes backwards. */
  readonly strides: readonly number[];
  /** Place of the element with index zero on every axis, in bits from the start of the source. */
  readonly bitOffset: number;
  /** The checksum of a range of the source in which the elements lie, if it is known. It may hold more than these. */
  readonly checksum?: RangeChecksum;
}

/** The checksum that an archive has of a range of its bytes. */
export interface RangeChecksum {
  /** Bytes from the start of the source. */
  readonly start: number;
  readonly length: number;
  /** As in ZIP. */
  readonly crc32: number;
  /** What to call the range in messages: the member of the archive that it is, or is the end of. */
  readonly member: string;
  /** What to call the archive: the name of its source. */
  readonly archive?: string | undefined;
}

/** Strides, in elements, of a row-major ("C") tensor without gaps. */
export function contiguousStrides(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = step;
    step *= Math.max(shape[axis]!, 1);
  }
  return strides;
}

/** Whether the elements lie in row-major order without gaps. Strides of axes of size 1 do not matter. */
export function isContiguous(view: Pick<StridedView, "shape" | "strides">): boolean {
  if (view.shape.includes(0)) return true;
  let step = 1;
  for (let axis = view.shape.length - 1; axis >= 0; axis--) {
    const size = view.shape[axis]!;
    if (size !== 1 && view.strides[axis] !== step) return false;
    step *= size;
  }
  return true;
}

/** Bytes of the tensor's elements when packed. */
export function byteLength(view: Pick<StridedView, "dtype" | "shape">): number {
  return Math.ceil((elementCount(view.shape) * DTYPES[view.dtype].bits) / 8);
}
