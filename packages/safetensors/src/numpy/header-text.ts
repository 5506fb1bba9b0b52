import { DTYPES, type Dtype } from "../dtype/dtype.ts";
import { SafetensorsError } from "../errors.ts";
import { MAX_NPY_DIMENSIONS } from "../limits.ts";
import { NUMPY_NAMES } from "./descr.ts";
import { MAGIC } from "./header.ts";

/** Options of writing NumPy arrays. */
export interface NpyOptions {
  /** Write BF16 and the 8-bit floats, which NumPy does not have, as the unsigned integers that hold their bits. */
  readonly bits?: boolean | undefined;
}

/** Signature, version, and the length of the text. */
const PRELUDE_BYTES = 10;

/** The elements begin at a multiple of so many bytes. */
const ALIGNMENT = 64;

/** NumPy leaves room for the first dimension to grow to as many digits. */
const GROWTH_DIGITS = 21;

/**
 * The header of a `.npy` file, version 1.0, byte for byte as numpy.save writes it; the packed little-endian elements in
 * row-major order follow.
 *
 * @throws `UNSUPPORTED` for what NumPy has not: dtypes (see `bits`), elements below a byte, more than 64 dimensions
 */
export function npyHeader(
  dtype: Dtype,
  shape: readonly number[],
  options: NpyOptions = {},
): Uint8Array<ArrayBuffer> {
  if (shape.length > MAX_NPY_DIMENSIONS) {
    throw unsupported(`a NumPy array has at most ${MAX_NPY_DIMENSIONS} dimensions, not ${shape.length}`);
  }
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`;
  let text = `{'descr': '${descrOf(dtype, options)}', 'fortran_order': False, 'shape': ${tuple}, }`;
  if (shape.length > 0) text += " ".repeat(Math.max(GROWTH_DIGITS - String(shape[0]).length, 0));
  // At least one space, where NumPy has them, then the end of the line.
  const end = (Math.floor((PRELUDE_BYTES + text.length + 1) / ALIGNMENT) + 1) * ALIGNMENT;
  const header = new Uint8Array(end).fill(0x20);
  const put = (at: number, characters: string): void => {
    for (let place = 0; place < characters.length; place++) header[at + place] = characters.charCodeAt(place);
  };
  put(0, `${MAGIC}\x01\x00`);
  new DataView(header.buffer).setUint16(8, end - PRELUDE_BYTES, true);
  put(PRELUDE_BYTES, text);
  put(end - 1, "\n");
  return header;
}

function descrOf(dtype: Dtype, { bits = false }: NpyOptions): string {
  const width = DTYPES[dtype].bits;
  if (width < 8)
    throw unsupported(
      `a NumPy array cannot hold the packed elements of ${dtype}; write its bytes as they are`,
    );
  const name = NUMPY_NAMES.get(dtype) ?? (bits ? `u${width / 8}` : undefined);
  if (name === undefined) {
    throw unsupported(`NumPy has no ${dtype}; convert it, or write the integers that hold its bits (bits)`);
  }
  return (width === 8 ? "|" : "<") + name;
}

function unsupported(text: string): SafetensorsError {
  return new SafetensorsError("UNSUPPORTED", text, { kind: "npy" });
}
