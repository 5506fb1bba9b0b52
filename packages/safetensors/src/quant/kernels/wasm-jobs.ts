import { toFloat32 } from "../../dtype/decode.ts";
import type { KernelModule } from "../../kernels/module.ts";
import type {
  AwqCall,
  KernelCall,
  KMajorCall,
  PackedRowsCall,
  ScaledBytesCall,
  ScaledNibblesCall,
} from "./call.ts";
import { groupOfColumns } from "./groups.ts";
import { columnInput, input, type JobSize } from "./wasm-steps.ts";

/** A call as steps for kernels in WebAssembly. */
export interface WasmJob extends JobSize {
  /** Puts the values of some units at an address. */
  fill(first: number, count: number, out: number): void;
}

/** Of fewer values the way into the memory and out of it costs more than it saves. */
const LEAST = 256;

/** Bytes of an array of a call that are copied before the first step, and of the values of a step of units that are long. */
const MOST_BYTES = 16 << 20;

/**
 * Kernels for the calls that are usual; `undefined` for others. The call is checked already, and not empty.
 *
 * @param most bytes of words that are copied before the first step
 */
export function wasmJob(
  module: KernelModule,
  call: KernelCall,
  most: number = MOST_BYTES,
): WasmJob | undefined {
  const { rows, columns } = call;
  // Rows of a step are at most eight, or what a step has room for.
  if (rows * columns < LEAST || columns * 8 * 4 > MOST_BYTES) return undefined;
  switch (call.kernel) {
    case "k-major":
      return kMajorJob(module, call, most);
    case "awq":
      return awqJob(module, call, most);
    case "packed-rows":
      return packedRowsJob(module, call);
    case "scaled-bytes":
      return scaledBytesJob(module, call);
    case "scaled-nibbles":
      return scaledNibblesJob(module, call);
  }
}

/** Four rows at a time; faster for codes of 4 bits in groups of neighbours. */
function kMajorJob(module: KernelModule, call: KMajorCall, most: number): WasmJob | undefined {
  const { rows, columns, bits, words, scales, zeros } = call;
  if (rows % 4 !== 0) return undefined;
  const size = { units: rows, values: columns, multiple: 4 };
  const input = columnInput(module, words, 1, size, most);
  const [scaleAt, zeroAt] = [module.place(scales), module.place(new Float32Array(zeros))];
  const { kMajor, kMajor4 } = module.functions;
  const group = neighbours(call.groups, columns);
  if (bits === 4 && columns % 8 === 0 && group !== undefined && group % 8 === 0) {
    return {
      ...size,
      fill: (first, count, out) => {
        const { address, stride } = input(first, count);
        const at = first * 4;
        kMajor4(address, stride, scaleAt + at, zeroAt + at, rows * 4, out, count, columns, group);
      },
    };
  }
  const groups = module.place(groupOfColumns(call.groups, columns));
  return {
    ...size,
    fill: (first, count, out) => {
      const { address, stride } = input(first, count);
      const at = first * 4;
      kMajor(address, stride, bits, scaleAt + at, zeroAt + at, rows * 4, groups, out, count, columns);
    },
  };
}

/** Groups of whole vectors. */
function awqJob(module: KernelModule, call: AwqCall, most: number): WasmJob | undefined {
  const { rows, columns, words, scales, zeros } = call;
  const group = Math.min(call.group, columns);
  if (columns % 16 !== 0 || group % 16 !== 0) return undefined;
  const size = { units: rows, values: columns, multiple: 8 };
  const input = columnInput(module, words, 8, size, most);
  const [scaleAt, zeroAt] = [module.place(scales), module.place(new Float32Array(zeros))];
  return {
    ...size,
    fill: (first, count, out) => {
      const { address, stride } = input(first, count);
      const at = first * 4;
      const { awq4 } = module.functions;
      awq4(address, stride, scaleAt + at, zeroAt + at, rows * 4, out, count, columns, group);
    },
  };
}

/** Dense codes of 4 or 8 bits, whose groups are whole vectors that fill the rows: one stream of groups. */
function packedRowsJob(module: KernelModule, call: PackedRowsCall): WasmJob | undefined {
  const { rows, columns, bits, words, perWord, scales, zeros, biases } = call;
  const group = neighbours(call.groups, columns);
  if (!group || (bits !== 4 && bits !== 8) || (perWord !== undefined && perWord * bits !== 32))
    return undefined;
  if (columns % group !== 0 || (group * bits) % 128 !== 0) return undefined;
  // There may be groups that no column is of.
  if (scales.length !== (rows * columns) / group) return undefined;
  const kernel = bits === 4 ? module.functions.packed4 : module.functions.packed8;
  const size = { units: scales.length, values: group, multiple: 1 };
  const codes = input(module, words, (group * bits) / 8, size);
  const scale = input(module, scales, 4, size);
  const bias = biases && input(module, biases, 4, size);
  const zero = typeof zeros === "number" ? undefined : input(module, zeros, 4, size);
  const oneZero = typeof zeros === "number" ? module.place(Float32Array.of(zeros)) : 0;
  return {
    ...size,
    fill: (first, count, out) => {
      const [codesAt, scaleAt] = [codes(first, count), scale(first, count)];
      const zeroAt = zero ? zero(first, count) : oneZero;
      kernel(codesAt, scaleAt, zeroAt, zero ? 4 : 0, bias?.(first, count) ?? 0, out, count, group);
    },
  };
}

/** What the kernel calls the tables that it knows. */
const KINDS = ["F8_E4M3", "F8_E5M2", "I8"] as const;
let tables: readonly Uint32Array[] | undefined;

/** Codes that are F8 or, with zeros or without, I8. */
function scaledBytesJob(module: KernelModule, call: ScaledBytesCall): WasmJob | undefined {
  const { rows, columns, codes, table, scales, blockRows, blockColumns, zeros } = call;
  const kind = kindOf(table);
  if (kind < 0 || (zeros && KINDS[kind] !== "I8")) return undefined;
  if (blockColumns < 16 || scales.byteLength > MOST_BYTES) return undefined;
  const [tableAt, scaleAt] = [module.place(table), module.place(scales)];
  const zeroAt = zeros ? module.place(zeros) : 0;
  const size = { units: rows, values: columns, multiple: 1 };
  const code = input(module, codes, columns, size);
  const [rowsOf, columnsOf] = [Math.min(blockRows, rows), Math.min(blockColumns, columns)];
  return {
    ...size,
    fill: (first, count, out) => {
      const { scaledBytes } = module.functions;
      const at = code(first, count);
      scaledBytes(kind, at, tableAt, scaleAt, zeroAt, out, first, count, columns, rowsOf, columnsOf);
    },
  };
}

function kindOf(table: Float32Array): number {
  const codes = Uint8Array.from({ length: 256 }, (_, code) => code);
  tables ??= KINDS.map((dtype) => new Uint32Array(toFloat32(dtype, codes, 256).buffer));
  const bits = new Uint32Array(table.buffer, table.byteOffset, 256);
  return tables.findIndex((known) => known.every((word, code) => word === bits[code]));
}

/** Blocks that are whole vectors and fill the rows: one stream of blocks. */
function scaledNibblesJob(module: KernelModule, call: ScaledNibblesCall): WasmJob | undefined {
  const { columns, codes, highFirst, table, scales } = call;
  const block = Math.min(call.block, columns);
  if (block % 16 !== 0 || columns % block !== 0) return undefined;
  const planesAt = module.place(planesOf(table));
  const size = { units: scales.length, values: block, multiple: 1 };
  const code = input(module, codes, block / 2, size);
  const scale = input(module, scales, 4, size);
  return {
    ...size,
    fill: (first, count, out) => {
      const { scaledNibbles } = module.functions;
      scaledNibbles(code(first, count), highFirst ? 1 : 0, planesAt, scale(first, count), out, count, block);
    },
  };
}

/** The first bytes of all floats, then the second ... */
function planesOf(table: Float32Array): Uint8Array {
  const bytes = new Uint8Array(table.buffer, table.byteOffset, table.byteLength);
  return bytes.map((_, i) => bytes[(i % table.length) * 4 + Math.floor(i / table.length)]!);
}

/** How many neighbours share a group, if all groups but the last have as many. */
function neighbours(groups: Int32Array | number, columns: number): number | undefined {
  if (typeof groups === "number") return Math.min(groups, columns);
  const other = groups.findIndex((group) => group !== 0);
  if (other === 0) return undefined;
  const group = other < 0 ? columns : other;
  return groups.every((of, column) => of === Math.floor(column / group)) ? group : undefined;
}
