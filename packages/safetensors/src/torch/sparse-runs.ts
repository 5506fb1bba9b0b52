import { SafetensorsError } from "../errors.ts";
import type { SparseParts } from "./dense-source.ts";
import { integersOf } from "./integers.ts";

/** Runs of elements that lie side by side in the dense tensor, all of the same length. */
export interface Runs {
  /** Place of each run, in elements of the dense tensor, in the order of the values. */
  readonly starts: Float64Array;
  /** The numbers of the runs in the order of their places; equal ones in the order of the values. */
  readonly order: Uint32Array;
  /** Elements of a run. */
  readonly length: number;
}

/** Bytes in `Runs` for each run. */
export const RUN_BYTES = 12;

/** How many runs a tensor has. */
export function runCount({ layout, indices, values }: SparseParts): number {
  if (layout === "sparse_coo") return indices[0]![1]!;
  const isBlock = layout === "sparse_bsr" || layout === "sparse_bsc";
  return product(values.slice(0, indices[1]!.length + (isBlock ? 1 : 0)));
}

/**
 * Finds where the values of a sparse tensor belong.
 *
 * @param indices the bytes of the index tensors; `wide` ones have 64 bits, others 32.
 * @throws `INVALID_TENSOR` for indices outside of the tensor, and compressed ones that are not in order
 */
export function findRuns(parts: SparseParts, indices: readonly Uint8Array[], wide: readonly boolean[]): Runs {
  const [first, second] = indices.map((bytes, index) =>
    wide[index] ? integersOf(bytes) : shortIntegersOf(bytes),
  );
  const { starts, length } =
    parts.layout === "sparse_coo" ? coordinateRuns(parts, first!) : compressedRuns(parts, first!, second!);
  return { starts, order: orderOf(starts), length };
}

interface Placed {
  readonly starts: Float64Array;
  readonly length: number;
}

/** One column of indices for each run. */
function coordinateRuns({ shape, indices }: SparseParts, coordinates: Float64Array): Placed {
  const [dimensions, count] = indices[0]! as [number, number];
  const starts = new Float64Array(count);
  const length = product(shape.slice(dimensions));
  let step = length;
  for (let axis = dimensions - 1; axis >= 0; axis--) {
    for (let run = 0; run < count; run++) {
      const index = coordinates[axis * count + run]!;
      if (!(index >= 0 && index < shape[axis]!)) throw outside(index, axis, shape);
      starts[run]! += index * step;
    }
    step *= shape[axis]!;
  }
  return { starts, length };
}

/** Compressed rows or columns of elements or of blocks; each row of a block is a run. */
function compressedRuns(
  { layout, shape, indices, values }: SparseParts,
  compressed: Float64Array,
  plain: Float64Array,
): Placed {
  const batch = indices[0]!.length - 1;
  const isRows = layout === "sparse_csr" || layout === "sparse_bsr";
  const isBlock = layout === "sparse_bsr" || layout === "sparse_bsc";
  const [height, width] = isBlock ? (values.slice(batch + 1) as [number, number]) : [1, 1];
  const [rows, columns] = shape.slice(batch) as [number, number];
  const inner = product(shape.slice(batch + 2));
  const lines = indices[0]!.at(-1)! - 1;
  const count = indices[1]!.at(-1)!;
  const places = isRows ? columns / width : rows / height;
  const batches = product(shape.slice(0, batch));
  const starts = new Float64Array(batches * count * height);
  for (let b = 0; b < batches; b++) {
    const bounds = compressed.subarray(b * (lines + 1), (b + 1) * (lines + 1));
    if (bounds[0] !== 0 || bounds[lines] !== count) throw unordered();
    for (let line = 0; line < lines; line++) {
      const end = bounds[line + 1]!;
      if (!(end >= bounds[line]! && end <= count)) throw unordered();
      let before = -1;
      for (let entry = bounds[line]!; entry < end; entry++) {
        const place = plain[b * count + entry]!;
        if (!(place > before && place < places)) throw outside(place, isRows ? batch + 1 : batch, shape);
        before = place;
        const [row, column] = isRows ? [line, place] : [place, line];
        for (let i = 0; i < height; i++) {
          const start = ((b * rows + row * height + i) * columns + column * width) * inner;
          starts[(b * count + entry) * height + i] = start;
        }
      }
    }
  }
  return { starts, length: width * inner };
}

function orderOf(starts: Float64Array): Uint32Array {
  const order = Uint32Array.from(starts, (_, run) => run);
  const isSorted = starts.every((start, run) => run === 0 || starts[run - 1]! <= start);
  return isSorted ? order : order.sort((a, b) => starts[a]! - starts[b]! || a - b);
}

function shortIntegersOf(bytes: Uint8Array): Float64Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Float64Array.from({ length: bytes.length / 4 }, (_, index) => view.getInt32(index * 4, true));
}

function product(sizes: readonly number[]): number {
  return sizes.reduce((total, size) => total * size, 1);
}

function outside(index: number, axis: number, shape: readonly number[]): SafetensorsError {
  const text = `a sparse tensor of the shape [${shape}] has a wrong index ${index} on axis ${axis}`;
  return new SafetensorsError("INVALID_TENSOR", text);
}

function unordered(): SafetensorsError {
  return new SafetensorsError("INVALID_TENSOR", "the compressed indices of a sparse tensor are not in order");
}
