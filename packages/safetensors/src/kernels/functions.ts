/** Casts so many elements, up to the next multiple of 16, from one place to another that does not overlap with it. */
export type CastKernel = (from: number, to: number, count: number) => void;

/**
 * Functions of the module: see packages/safetensors/assembly. Addresses and strides are in bytes, counts in elements. Rows of
 * matrices of doubles lie 1,024 bytes apart.
 */
export interface KernelFunctions {
  readonly bf16ToF32: CastKernel;
  readonly f16ToF32: CastKernel;
  readonly e5m2ToF32: CastKernel;
  readonly e4m3ToBf16: CastKernel;
  readonly e5m2ToBf16: CastKernel;
  readonly f32ToBf16: CastKernel;
  readonly f32ToF16: CastKernel;
  readonly f32ToE4M3: CastKernel;
  readonly f32ToE5M2: CastKernel;
  readonly bf16ToE4M3: CastKernel;
  readonly bf16ToE5M2: CastKernel;
  scaleE4M3(codes: number, out: number, count: number, scale: number): void;
  readonly kMajor4: ColumnKernel;
  readonly awq4: ColumnKernel;
  kMajor(
    words: number,
    wordStride: number,
    bits: number,
    scales: number,
    zeros: number,
    scaleStride: number,
    groups: number,
    out: number,
    rows: number,
    columns: number,
  ): void;
  readonly packed4: PackedKernel;
  readonly packed8: PackedKernel;
  scaledBytes(
    kind: number,
    codes: number,
    table: number,
    scales: number,
    zeros: number,
    out: number,
    row: number,
    rows: number,
    columns: number,
    blockRows: number,
    blockColumns: number,
  ): void;
  scaledNibbles(
    codes: number,
    highFirst: number,
    planes: number,
    scales: number,
    out: number,
    blocks: number,
    block: number,
  ): void;
  largestOfRuns(values: number, runs: number, length: number, out: number): void;
  rangesOfRuns(values: number, runs: number, length: number, least: number, greatest: number): void;
  divideRuns(values: number, runs: number, length: number, divisors: number): void;
  multiplyRuns(values: number, runs: number, length: number, factors: number): void;
  codesOfRuns(
    values: number,
    runs: number,
    length: number,
    scales: number,
    befores: number,
    afters: number,
    top: number,
    out: number,
  ): void;
  subtractProduct(c: number, a: number, b: number, rows: number, columns: number, depth: number): void;
  divideByTriangle(x: number, rows: number, l: number, width: number): void;
  sweepColumns(
    x: number,
    rows: number,
    l: number,
    width: number,
    scales: number,
    zeros: number,
    gridStride: number,
    top: number,
    codes: number,
    codesStride: number,
  ): void;
}

type ColumnKernel = (
  words: number,
  wordStride: number,
  scales: number,
  zeros: number,
  scaleStride: number,
  out: number,
  rows: number,
  columns: number,
  group: number,
) => void;

type PackedKernel = (
  words: number,
  scales: number,
  zeros: number,
  zeroStep: number,
  biases: number,
  out: number,
  groups: number,
  group: number,
) => void;
