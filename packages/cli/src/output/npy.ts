import { SafetensorsError } from "safetensors.js";
import { DTYPES, type Dtype } from "safetensors.js/dtype";

/** NumPy's name for each kind of number; the bits of the floats that it does not know go as unsigned integers. */
const DESCRIPTIONS: Partial<Record<Dtype, string>> = {
  BOOL: "|b1",
  I8: "|i1",
  I16: "<i2",
  I32: "<i4",
  I64: "<i8",
  U16: "<u2",
  U32: "<u4",
  U64: "<u8",
  F16: "<f2",
  BF16: "<u2",
  F32: "<f4",
  F64: "<f8",
  C64: "<c8",
};

/** The header of a .npy file, version 1.0 (numpy.lib.format), after which the packed bytes follow. */
export function npyHeader(dtype: Dtype, shape: readonly number[]): Uint8Array {
  if (DTYPES[dtype].bits < 8) {
    throw new SafetensorsError(
      "UNSUPPORTED",
      `a NumPy file cannot hold the packed elements of ${dtype}; use --raw`,
    );
  }
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`;
  const text = `{'descr': '${DESCRIPTIONS[dtype] ?? "|u1"}', 'fortran_order': False, 'shape': ${tuple}, }`;
  // Magic, version and length take ten bytes; the data is to begin at a multiple of 64.
  const length = Math.ceil((10 + text.length + 1) / 64) * 64 - 10;
  const header = Buffer.alloc(10 + length, " ");
  header.write("\x93NUMPY\x01\x00", "latin1");
  header.writeUInt16LE(length, 8);
  header.write(text, 10, "latin1");
  header.write("\n", 10 + length - 1, "latin1");
  return header;
}
