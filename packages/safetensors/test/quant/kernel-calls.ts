import fc from "fast-check";
import { toFloat32 } from "../../src/dtype/decode.ts";
import type {
  AwqCall,
  KernelCall,
  KMajorCall,
  PackedRowsCall,
  ScaledBytesCall,
  ScaledNibblesCall,
} from "../../src/quant/kernels/call.ts";

/** Random numbers from a seed: mulberry32. Fast enough to fill arrays with. */
export function numbersOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

/** Of 16 floats 15 are as scales are; the rest any: NaN, infinities, zeros of both signs, subnormals. */
function floats(next: () => number, length: number): Float32Array {
  const all = new Float32Array(length);
  const bits = new Uint32Array(all.buffer);
  const odd = [0, 0x80000000, 0x7f800000, 0xff800000, 0x7fc00000, 1, 0x807fffff, 0x7f7fffff, 0x00800001];
  for (let i = 0; i < length; i++) {
    if (next() % 16 > 0) all[i] = ((next() - 2 ** 31) / 2 ** 31) * 2 ** ((next() % 8) - 8);
    else bits[i] = next() % 2 === 0 ? odd[next() % odd.length]! : next();
  }
  return all;
}

const ALL_CODES = Uint8Array.from({ length: 256 }, (_, code) => code);

const words = (next: () => number, length: number): Uint32Array => Uint32Array.from({ length }, next);
const bytes = (next: () => number, length: number): Uint8Array => Uint8Array.from({ length }, next);

const seed = fc.integer();
const bits = fc.oneof(fc.constant(4), fc.constant(8), fc.integer({ min: 1, max: 8 }));
/** Most sizes are ragged; some are those that fast ways are made for. */
const size = fc.oneof(fc.integer({ min: 0, max: 70 }), fc.constantFrom(32, 64, 128, 160));
const group = fc.oneof(fc.constantFrom(8, 16, 32, 64, 128), fc.integer({ min: 1, max: 80 }));
/** One for so many columns, or one listed for each: the same, or any. */
const groups = fc.record({ group, listed: fc.boolean() });

function groupsFor(
  next: () => number,
  columns: number,
  { group, listed }: { group: number; listed: boolean },
): { groups: Int32Array | number; count: number } {
  const count = Math.ceil(columns / group);
  if (!listed) return { groups: group, count };
  const isAny = next() % 2 === 0;
  const of = (column: number): number => (isAny ? next() % count : Math.floor(column / group));
  return { groups: Int32Array.from({ length: columns }, (_, column) => of(column)), count };
}

const kMajor: fc.Arbitrary<KMajorCall> = fc
  .record({ seed, rows: size, columns: size, bits, groups })
  .map(({ seed, rows, columns, bits, groups }) => {
    const next = numbersOf(seed);
    const made = groupsFor(next, columns, groups);
    return {
      kernel: "k-major",
      rows,
      columns,
      bits,
      words: words(next, Math.ceil((columns * bits) / 32) * rows),
      scales: floats(next, made.count * rows),
      zeros: bytes(next, made.count * rows),
      groups: made.groups,
    };
  });

const awq: fc.Arbitrary<AwqCall> = fc
  .record({ seed, words: fc.integer({ min: 0, max: 20 }), columns: size, group })
  .map(({ seed, words: rowWords, columns, group }) => {
    const next = numbersOf(seed);
    const count = Math.ceil(columns / group) * rowWords * 8;
    return {
      kernel: "awq",
      rows: rowWords * 8,
      columns,
      words: words(next, columns * rowWords),
      scales: floats(next, count),
      zeros: bytes(next, count),
      group,
    };
  });

const packedRows: fc.Arbitrary<PackedRowsCall> = fc
  .record({
    seed,
    rows: size,
    columns: size,
    bits,
    dense: fc.boolean(),
    groups,
    zeros: fc.constantFrom("one", "each", "biases"),
  })
  .map(({ seed, rows, columns, bits, dense, groups, zeros }) => {
    const next = numbersOf(seed);
    const made = groupsFor(next, columns, groups);
    const perWord = Math.floor(32 / bits);
    const scales = floats(next, made.count * rows);
    return {
      kernel: "packed-rows",
      rows,
      columns,
      bits,
      words: words(next, rows * Math.ceil(dense ? (columns * bits) / 32 : columns / perWord)),
      ...(dense ? {} : { perWord }),
      scales,
      zeros: zeros === "each" ? floats(next, scales.length) : next() % 2 ? 8 : Math.fround(next() / 2 ** 29),
      ...(zeros === "biases" ? { biases: floats(next, scales.length) } : {}),
      groups: made.groups,
    };
  });

const scaledBytes: fc.Arbitrary<ScaledBytesCall> = fc
  .record({
    seed,
    rows: size,
    columns: size,
    blockRows: group,
    blockColumns: group,
    zeros: fc.boolean(),
    dtype: fc.constantFrom("F8_E4M3", "F8_E5M2", "I8", undefined),
  })
  .map(({ seed, rows, columns, blockRows, blockColumns, zeros, dtype }) => {
    const next = numbersOf(seed);
    const blocks = Math.ceil(rows / blockRows) * Math.ceil(columns / blockColumns);
    return {
      kernel: "scaled-bytes",
      rows,
      columns,
      codes: bytes(next, rows * columns),
      table: dtype ? toFloat32(dtype, ALL_CODES, 256) : floats(next, 256),
      scales: floats(next, blocks),
      blockRows,
      blockColumns,
      ...(zeros ? { zeros: floats(next, blocks) } : {}),
    };
  });

const scaledNibbles: fc.Arbitrary<ScaledNibblesCall> = fc
  .record({ seed, rows: size, pairs: size, block: group, highFirst: fc.boolean() })
  .map(({ seed, rows, pairs, block, highFirst }) => {
    const next = numbersOf(seed);
    return {
      kernel: "scaled-nibbles",
      rows,
      columns: pairs * 2,
      codes: bytes(next, rows * pairs),
      highFirst,
      table: floats(next, 16),
      scales: floats(next, rows * Math.ceil((pairs * 2) / block)),
      block,
    };
  });

/** Calls of each kernel, of all shapes, with floats of every kind. */
export const CALLS: {
  readonly [K in KernelCall["kernel"]]: fc.Arbitrary<Extract<KernelCall, { kernel: K }>>;
} = {
  "k-major": kMajor,
  awq,
  "packed-rows": packedRows,
  "scaled-bytes": scaledBytes,
  "scaled-nibbles": scaledNibbles,
};

/** Whether two arrays have the same bits, where every NaN is like the others. */
export function sameFloats(a: Float32Array, b: Float32Array): boolean {
  const [bitsA, bitsB] = [
    new Uint32Array(a.buffer, a.byteOffset, a.length),
    new Uint32Array(b.buffer, b.byteOffset, b.length),
  ];
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) {
    if (bitsA[i] !== bitsB[i] && !(Number.isNaN(a[i]) && Number.isNaN(b[i]))) return false;
  }
  return true;
}
