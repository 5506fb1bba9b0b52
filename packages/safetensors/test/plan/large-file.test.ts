import assert from "node:assert/strict";
import { closeSync, ftruncateSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { openFile } from "../../src/node/file-source.ts";
import { executePlan } from "../../src/plan/execute.ts";
import { planReads } from "../../src/plan/plan.ts";
import { chunksOf, readView } from "../../src/plan/read.ts";
import type { ByteSource } from "../../src/source/source.ts";
import { range } from "../../src/view/index-items.ts";
import { sliceView } from "../../src/view/slice.ts";
import type { TensorView } from "../../src/view/tiling.ts";
import type { StridedView } from "../../src/view/view.ts";
import { concat, noise, temporaryFolder } from "../support.ts";

/** A file of 5 GB that takes no room: a row of it is 64 MiB long, and at its start and around its end lie marks. */
const ROW = 64 << 20;
const ROWS = 80;
const MARK = 4096;
const markOf = (row: number): Uint8Array => noise(MARK, row + 1);

const path = join(temporaryFolder(), "sparse.bin");
const file = openSync(path, "w");
ftruncateSync(file, ROW * ROWS);
for (let row = 0; row < ROWS; row++)
  writeSync(file, markOf(row), 0, MARK, row === 0 ? 0 : row * ROW - MARK / 2);
closeSync(file);

/** The marks around the ends of the rows that are named, as the rows of one tensor. */
const marks = (source: ByteSource, rows: readonly number[]): TensorView => {
  const bitOffset = (ROW - MARK / 2) * 8;
  const shape = [ROWS - 1, MARK / 4];
  const view: StridedView = { source, dtype: "U32", shape, strides: [ROW / 4, 1], bitOffset };
  return sliceView(view, [rows.map((row) => row - 1)]);
};

/** 2 GiB is the end of row 32, 4 GiB that of row 64. */
const CHOSEN = [79, 64, 63, 32, 31, 65, 33, 1];

for (const blocking of [false, true]) {
  describe(`a file of 5 GB, with blocking ${blocking}`, () => {
    const use = async (action: (source: ByteSource) => Promise<void>): Promise<void> => {
      const source = await openFile(path, { blocking });
      try {
        await action(source);
      } finally {
        await source.close();
      }
    };
    const expected = concat(CHOSEN.map(markOf));

    it("gives rows, columns and pieces across 2 and 4 GiB", async () => {
      await use(async (source) => {
        assert.deepEqual(await readView(marks(source, CHOSEN)), expected);
        const column = sliceView(marks(source, CHOSEN), [null, range(null, null, -2)]);
        const words = new Uint32Array(expected.buffer);
        const found = new Uint32Array((await readView(column)).buffer);
        assert.deepEqual(
          [...found],
          CHOSEN.flatMap((_, row) =>
            Array.from({ length: 512 }, (_, i) => words[row * 1024 + 1023 - 2 * i]!),
          ),
        );
        const parts: Uint8Array[] = [];
        for await (const chunk of chunksOf(marks(source, CHOSEN), new Uint8Array(5000)))
          parts.push(chunk.slice());
        assert.deepEqual(concat(parts), expected);
      });
    });

    it("gives large tensors across 2 and 4 GiB, in memory of some megabytes", async () => {
      await use(async (source) => {
        const size = 12 << 20;
        const starts = [32, 64].map((row) => row * ROW - size / 2);
        const views = starts.map((start): StridedView => {
          return { source, dtype: "U8", shape: [size], strides: [1], bitOffset: start * 8 };
        });
        const seen: number[] = [];
        for await (const { tensor, bytes } of executePlan(planReads(views), {
          borrowed: true,
          budget: size + 9e6,
        })) {
          const [start, row] = [size / 2 - MARK / 2, [32, 64][tensor]!];
          assert.ok(Buffer.compare(bytes.subarray(start, start + MARK), markOf(row)) === 0);
          assert.ok(bytes.subarray(0, start).every((byte) => byte === 0));
          assert.ok(bytes.subarray(start + MARK).every((byte) => byte === 0));
          seen.push(tensor);
        }
        assert.deepEqual(seen, [0, 1]);
      });
    });
  });
}
