import { PieceTaker } from "../checkpoint/piece-taker.ts";
import { sameBytes } from "../checkpoint/same-bytes.ts";
import type { TensorHandle } from "../checkpoint/tensor.ts";
import { DTYPES } from "../dtype/dtype.ts";
import { SafetensorsError } from "../errors.ts";
import type { ReadOptions } from "../source/source.ts";
import { piecesOf, type TensorView } from "../view/tiling.ts";
import { commonKind, complexOf, integersOf, numbersOf } from "./numbers.ts";

import { Tally, type ValueDifferences } from "./tally.ts";

/** Bytes of each side read at once. From a source far away fewer, larger reads are worth their memory. */
const NEAR_BYTES = 1 << 20;
const FAR_BYTES = 8 << 20;

/** Seconds from which on a read is one from far away. */
const FAR_SECONDS = 1e-3;

/** Options of comparing values. */
export interface ValueOptions extends ReadOptions {
  /** Absolute tolerance: values a and b are close if |a - b| <= atol + rtol * |b|, as in numpy.allclose. */
  readonly atol?: number | undefined;
  /** Relative tolerance. */
  readonly rtol?: number | undefined;
  /** Whether NaNs with different bits are equal, as NaNs of two dtypes always are different in bits. */
  readonly equalNan?: boolean | undefined;
  /** Compare the values of tensors with different dtypes too: as doubles, integers exactly. */
  readonly cast?: boolean | undefined;
  /** Tell how far apart the values are as a whole too: see `ValueDifferences.relativeError`. */
  readonly norms?: boolean | undefined;
  /** A faster test than the portable one for memory with the same bytes; the two have the same length. */
  readonly sameBytes?: ((a: Uint8Array, b: Uint8Array) => boolean) | undefined;
}

/**
 * - `identical`: the same bytes
 * - `equal`: the same values in other bits: 0 and -0, NaNs with `equalNan`, another dtype
 * - `close`: all differences are within the tolerance
 * - `different`: one or more are not
 * - `incompatible`: another shape, or another dtype and no `cast`, so that values were not compared
 * - `unread`: the same dtype and shape, values were not to be compared
 */
export type TensorStatus = "identical" | "equal" | "close" | "different" | "incompatible" | "unread";

/** What `compareTensors` finds. */
export interface ComparedTensors {
  readonly status: TensorStatus;
  /** Unless the status is `identical`, `incompatible` or `unread`. */
  readonly values?: ValueDifferences;
}

/**
 * Compares two tensors piece by piece: memory stays the same however large they are.
 *
 * @param onBytes called after each piece with its number of bytes, of both sides together.
 * @throws `OUT_OF_RANGE` for a tolerance below zero; what reading throws
 */
export async function compareTensors(
  a: TensorHandle,
  b: TensorHandle,
  options: ValueOptions = {},
  onBytes?: (count: number) => void,
): Promise<ComparedTensors> {
  const { atol = 0, rtol = 0, equalNan = false, norms = false, signal } = options;
  if (!(atol >= 0 && rtol >= 0)) {
    throw new SafetensorsError("OUT_OF_RANGE", `tolerances of ${atol} and ${rtol}: both must be 0 or more`);
  }
  const sameDtype = a.dtype === b.dtype;
  if (!hasSameShape(a, b) || !(sameDtype || options.cast)) return { status: "incompatible" };

  const isSame = (sameDtype && options.sameBytes) || sameBytes;
  const tally = new Tally({ atol, rtol, equalNan, norms });
  const sizes = [a, b].map(({ dtype }) => DTYPES[dtype].bits / 8) as [number, number];
  const step = elementsAtOnce(a, b);
  const [left, right] = [a, b].map((tensor, side) => {
    return new PieceTaker(tensor, new Uint8Array(Math.min(step * sizes[side]!, tensor.byteLength)), {
      signal,
    });
  }) as [PieceTaker, PieceTaker];
  let identical = sameDtype;
  try {
    for (let done = 0; done < a.length; done += step) {
      signal?.throwIfAborted();
      const count = Math.min(step, a.length - done);
      // Both at once, so that two sources far away answer at the same time.
      const [x, y] = await Promise.all([
        left.take(Math.ceil(count * sizes[0])),
        right.take(Math.ceil(count * sizes[1])),
      ]);
      if (sameDtype && !norms && isSame(x, y)) tally.addSame(count);
      else {
        identical &&= isSame(x, y);
        addPieces(tally, a, b, x, y, count);
      }
      onBytes?.(x.length + y.length);
    }
  } finally {
    await Promise.all([left.close(), right.close()]);
  }
  if (identical) return { status: "identical" };
  const values = tally.differences;
  const status = values.different === 0 ? "equal" : values.beyond === 0 ? "close" : "different";
  return { status, values };
}

/** Whether two tensors have the same shape. */
export function hasSameShape(a: TensorHandle, b: TensorHandle): boolean {
  return a.shape.length === b.shape.length && a.shape.every((size, axis) => size === b.shape[axis]);
}

function addPieces(
  tally: Tally,
  { dtype: from }: TensorHandle,
  { dtype: to }: TensorHandle,
  x: Uint8Array,
  y: Uint8Array,
  count: number,
): void {
  const kind = commonKind(from, to);
  if (kind === "integer") return tally.addIntegers(integersOf(from, x, count), integersOf(to, y, count));
  const size = DTYPES[from].bits / 8;
  const sameBits = (index: number): boolean => {
    const [begin, end] = [index * size, (index + 1) * size];
    return from === to && sameBytes(x.subarray(begin, end), y.subarray(begin, end));
  };
  if (kind === "complex") tally.addComplex(complexOf(from, x, count), complexOf(to, y, count), sameBits);
  else tally.addReals(numbersOf(from, x, count), numbersOf(to, y, count), sameBits);
}

/** Elements of a piece: a multiple of 8, so that those of 4 and 6 bits end on a whole byte. */
function elementsAtOnce(a: TensorHandle, b: TensorHandle): number {
  const bytes = isFar(a.view) || isFar(b.view) ? FAR_BYTES : NEAR_BYTES;
  const bits = Math.max(DTYPES[a.dtype].bits, DTYPES[b.dtype].bits);
  return Math.floor(bytes / bits) * 8;
}

function isFar(view: TensorView): boolean {
  const [first] = piecesOf(view);
  return (first?.view.source.cost?.operation ?? 0) >= FAR_SECONDS;
}
