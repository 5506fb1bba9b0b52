import type { KernelModule } from "../../../kernels/module.ts";
import { type Block, inside, type MatrixKernels, NARROW, WIDE } from "./matrices.ts";

/** Bytes from row to row of a tile of `WIDE` rows and columns, as the kernels have it; three of them fit a core's second cache. */
const ROW = WIDE * 8;

/** A place for a tile in the kernels' memory. */
interface Tile extends Block {
  readonly address: number;
}

/** What `plainMatrices` gives, by kernels in WebAssembly, through whose memory tiles are copied. */
export function matricesBy(module: KernelModule): MatrixKernels {
  const { functions } = module;

  /** Columns of X less what those before them cause: see `plainMatrices`. */
  function takeFromBlock(x: Tile, l: Tile, rows: number, from: number, count: number): void {
    if (from === 0) return;
    const others = l.address + from * ROW;
    functions.subtractProduct(x.address + from * 8, x.address, others, rows, count, from);
  }

  return {
    subtractProduct(c, a, b, rows, columns, depth) {
      if (depth === 0) return;
      module.clear();
      const [own, left, right] = tiles(module, 3) as [Tile, Tile, Tile];
      for (let column = 0; column < columns; column += WIDE) {
        const width = Math.min(WIDE, columns - column);
        for (let row = 0; row < rows; row += WIDE) {
          const height = Math.min(WIDE, rows - row);
          copy(inside(c, row, column), own, height, width);
          for (let from = 0; from < depth; from += WIDE) {
            const count = Math.min(WIDE, depth - from);
            copyPadded(inside(a, row, from), left, height, count);
            copyPadded(inside(b, column, from), right, width, count);
            functions.subtractProduct(own.address, left.address, right.address, height, width, count);
          }
          copy(own, inside(c, row, column), height, width);
        }
      }
    },

    divideByTriangle(x, l, rows, width) {
      module.clear();
      const [own, triangle] = tiles(module, 2) as [Tile, Tile];
      copy(l, triangle, width, width);
      for (let row = 0; row < rows; row += WIDE) {
        const height = Math.min(WIDE, rows - row);
        copy(inside(x, row, 0), own, height, width);
        for (let from = 0; from < width; from += NARROW) {
          const count = Math.min(NARROW, width - from);
          takeFromBlock(own, triangle, height, from, count);
          const pivots = triangle.address + from * (ROW + 8);
          functions.divideByTriangle(own.address + from * 8, height, pivots, count);
        }
        copy(own, inside(x, row, 0), height, width);
      }
    },

    sweepColumns(x, l, rows, width, { scales, zeros }, top, codes) {
      module.clear();
      // Rows go up to the next multiple of 4.
      const scalesAt = module.reserve(rows * width * 4 + 16);
      const zerosAt = module.reserve(rows * width + 4);
      const codesAt = module.reserve((rows + 4) * width);
      const [own, triangle] = tiles(module, 2) as [Tile, Tile];
      copy(x, own, rows, width);
      copy(l, triangle, width, width);
      module.floats(scalesAt, scales.length).set(scales);
      module.bytes(zerosAt, zeros.length).set(zeros);
      for (let from = 0; from < width; from += NARROW) {
        const count = Math.min(NARROW, width - from);
        takeFromBlock(own, triangle, rows, from, count);
        functions.sweepColumns(
          own.address + from * 8,
          rows,
          triangle.address + from * (ROW + 8),
          count,
          scalesAt + from * rows * 4,
          zerosAt + from * rows,
          rows,
          top,
          codesAt + from,
          width,
        );
      }
      copy(own, x, rows, width);
      codes.set(module.bytes(codesAt, rows * width));
    },
  };
}

/** So many tiles; nothing may be reserved afterwards, as the memory could grow. */
function tiles(module: KernelModule, count: number): Tile[] {
  const addresses = Array.from({ length: count }, () => module.reserve(WIDE * ROW));
  return addresses.map((address) => {
    return { values: module.doubles(address, WIDE * WIDE), at: 0, stride: WIDE, address };
  });
}

function copy(from: Block, to: Block, rows: number, columns: number): void {
  for (let row = 0; row < rows; row++) {
    const at = from.at + row * from.stride;
    to.values.set(from.values.subarray(at, at + columns), to.at + row * to.stride);
  }
}

/** A product takes two columns at a time: zeros are put behind an odd number of them. */
function copyPadded(from: Block, to: Block, rows: number, columns: number): void {
  copy(from, to, rows, columns);
  if (columns % 2 === 0) return;
  for (let row = 0; row < rows; row++) to.values[to.at + row * to.stride + columns] = 0;
}
