/**
 * Work that gives the dense values of a piece of a weight: plain data, so that it can be done here, in WebAssembly or by a
 * worker. Each gives 32-bit floats, `rows` times `columns` of them, row by row, with each operation rounded to float32.
 * Arrays are in memory of their own, aligned.
 */
export type KernelCall = KMajorCall | AwqCall | PackedRowsCall | ScaledBytesCall | ScaledNibblesCall;

/** Rows are outputs, columns are inputs. `out[n, k] = (q[k, n] - z[G(k), n]) * scales[G(k), n]`: GPTQ. */
export interface KMajorCall {
  readonly kernel: "k-major";
  readonly rows: number;
  readonly columns: number;
  readonly bits: number;
  /** `[ceil(columns * bits / 32), rows]`: for each output a stream of codes along the inputs, lowest bits first. */
  readonly words: Uint32Array;
  /** `[groups, rows]` */
  readonly scales: Float32Array;
  /** `[groups, rows]`, unpacked, as they are subtracted. */
  readonly zeros: Uint8Array;
  /** The group of each column, or how many neighbours share one. */
  readonly groups: Int32Array | number;
}

/** The same for AWQ (GEMM): eight outputs in a word, in the order 0 2 4 6 1 3 5 7 from the lowest bits. */
export interface AwqCall {
  readonly kernel: "awq";
  readonly rows: number;
  readonly columns: number;
  /** `[columns, rows / 8]` */
  readonly words: Uint32Array;
  /** `[groups, rows]` */
  readonly scales: Float32Array;
  /** `[groups, rows]`, unpacked. */
  readonly zeros: Uint8Array;
  readonly group: number;
}

/**
 * Each row a stream of codes, lowest bits first: `out = (q - z) * scale` or, with `biases`, `out = q * scale + bias`. The
 * groups run along a row; `zeros` may have fractions.
 */
export interface PackedRowsCall {
  readonly kernel: "packed-rows";
  readonly rows: number;
  readonly columns: number;
  readonly bits: number;
  /** `[rows, words per row]` */
  readonly words: Uint32Array;
  /** Codes of a word where none goes over into the next; if not given, the stream is dense. */
  readonly perWord?: number;
  /** `[rows, groups]` */
  readonly scales: Float32Array;
  /** `[rows, groups]`, or one number for all. */
  readonly zeros: Float32Array | number;
  /** `[rows, groups]` */
  readonly biases?: Float32Array;
  readonly groups: Int32Array | number;
}

/** `out[r, c] = (table[codes[r, c]] - z) * scales[r / blockRows, c / blockColumns]`: F8 and I8 in every granularity. */
export interface ScaledBytesCall {
  readonly kernel: "scaled-bytes";
  readonly rows: number;
  readonly columns: number;
  /** `[rows, columns]` */
  readonly codes: Uint8Array;
  /** What each of the 256 codes is. */
  readonly table: Float32Array;
  /** `[ceil(rows / blockRows), ceil(columns / blockColumns)]` */
  readonly scales: Float32Array;
  readonly blockRows: number;
  readonly blockColumns: number;
  /** As `scales`; taken off before scaling. */
  readonly zeros?: Float32Array;
}

/** `out[r, c] = table[code] * scales[r, c / block]`: two codes a byte, for MXFP4, NVFP4, NF4 and FP4. */
export interface ScaledNibblesCall {
  readonly kernel: "scaled-nibbles";
  readonly rows: number;
  /** Even. */
  readonly columns: number;
  /** `[rows, columns / 2]` */
  readonly codes: Uint8Array;
  /** Whether the first of two lies in the upper half of the byte. */
  readonly highFirst: boolean;
  /** What each of the 16 codes is. */
  readonly table: Float32Array;
  /** `[rows, ceil(columns / block)]` */
  readonly scales: Float32Array;
  readonly block: number;
}
