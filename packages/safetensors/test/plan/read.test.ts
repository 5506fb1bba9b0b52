import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { chunksOf, readView, readViewInto } from "../../src/plan/read.ts";
import type { ByteSource } from "../../src/source/source.ts";
import { range } from "../../src/view/index-items.ts";
import { sliceView } from "../../src/view/slice.ts";
import type { TensorView } from "../../src/view/tiling.ts";
import { byteLength, type StridedView } from "../../src/view/view.ts";
import { concat, noise, numbers, raises } from "../support.ts";
import { Draw, drawView, ENOUGH_BYTES, packed } from "./model.ts";
import { KINDS, type Kind, type TestSource, testSource } from "./sources.ts";

async function allChunks(view: TensorView, buffer: Uint8Array): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const chunk of chunksOf(view, buffer)) {
    assert.ok(chunk.length > 0 && chunk.length <= buffer.length, `${chunk.length} of ${buffer.length}`);
    parts.push(chunk.slice());
    // Whoever gets a chunk may do with it what it likes.
    chunk.fill(0x99);
  }
  return concat(parts);
}

/** The same without the bits behind the last element, which are nobody's. */
function withoutPadding(bytes: Uint8Array, expected: Uint8Array, { shape, dtype }: TensorView): Uint8Array {
  const whole = bytes.slice();
  const bits = shape.reduce((product, size) => product * size, dtype.startsWith("F4") ? 4 : 6);
  if (/^F[46]/.test(dtype) && bits % 8 !== 0 && whole.length > 0)
    whole[whole.length - 1]! &= 2 ** (bits % 8) - 1;
  assert.equal(whole.length, expected.length);
  return whole;
}

/** Checks any views, over two sources of a kind: strided, sliced, in pieces. */
async function forAnyView(
  kind: Kind,
  numRuns: number,
  check: (view: TensorView, expected: Uint8Array, draw: Draw) => Promise<void>,
): Promise<void> {
  const property = fc.asyncProperty(fc.nat(), async (seed) => {
    const draw = new Draw(seed);
    // At an unaligned place of other memory.
    const bytes = [1, 2].map((seed) =>
      noise(ENOUGH_BYTES + 8, seed)
        .subarray(draw.int(0, 7))
        .subarray(0, ENOUGH_BYTES),
    );
    const before = bytes.map((own) => own.slice());
    const view = drawView(
      draw,
      bytes.map((own) => testSource(own, kind)),
    );
    await check(
      view,
      packed(view, (source) => (source as TestSource).bytes),
      draw,
    );
    assert.deepEqual(bytes, before);
  });
  await fc.assert(property, { seed: 44, numRuns, endOnFailure: true });
}

describe("readView", () => {
  for (const kind of KINDS) {
    it(`gives the elements of any view, from a source with ${kind}`, async () => {
      await forAnyView(kind, 200, async (view, expected) => {
        assert.deepEqual(withoutPadding(await readView(view), expected, view), expected);
      });
    });

    it(`fills memory with them, from a source with ${kind}`, async () => {
      await forAnyView(kind, 100, async (view, expected, draw) => {
        const memory = new Uint8Array(expected.length + 16).fill(0xa5);
        const start = draw.int(0, 16);
        const target = memory.subarray(start, start + expected.length);
        await readViewInto(view, target);
        assert.deepEqual(withoutPadding(target, expected, view), expected);
        target.fill(0xa5);
        assert.ok(memory.every((byte) => byte === 0xa5));
      });
    });

    it(`gives them in chunks of any size, from a source with ${kind}`, async () => {
      await forAnyView(kind, 100, async (view, expected, draw) => {
        const result = await allChunks(view, new Uint8Array(draw.int(1, 60)));
        assert.deepEqual(withoutPadding(result, expected, view), expected);
      });
    });
  }

  it("gives memory where it lies, and nothing else's", async () => {
    const bytes = noise(64);
    const source = testSource(bytes, "view");
    const view: StridedView = { source, dtype: "F32", shape: [2, 3], strides: [3, 1], bitOffset: 64 };
    const result = await readView(view);
    assert.equal(result.buffer, bytes.buffer);
    assert.deepEqual([result.byteOffset, result.length], [8, 24]);
    const copy = await readView({ ...view, strides: [1, 2] });
    assert.notEqual(copy.buffer, bytes.buffer);
  });

  it("asks nothing of the source for a tensor without elements", async () => {
    const none = (): never => assert.fail("the source was asked");
    const source: ByteSource = { size: 0, read: none, readInto: none, view: none };
    for (const [shape, strides] of [
      [[0], [1]],
      [
        [3, 0, 2],
        [5, -7, 0],
      ],
      [
        [0, 4],
        [4, 1],
      ],
    ] as const) {
      const view: StridedView = { source, dtype: "I64", shape, strides, bitOffset: 8 * 1e9 };
      assert.deepEqual(await readView(view), new Uint8Array(0));
      assert.deepEqual(await allChunks(view, new Uint8Array(4)), new Uint8Array(0));
      for await (const chunk of chunksOf(view, new Uint8Array(0))) assert.fail(`${chunk.length}`);
    }
  });

  it("reads what repeats once", async () => {
    const source = testSource(noise(4096), "read");
    const view: StridedView = { source, dtype: "F32", shape: [500, 700], strides: [0, 0], bitOffset: 32 };
    const result = await readView(view);
    assert.deepEqual(
      source.seen.map(({ offset, length }) => [offset, length]),
      [[4, 4]],
    );
    assert.deepEqual(result.subarray(1_399_996), result.subarray(0, 4));
  });

  it("does not loop for ever on a buffer without room", async () => {
    const source = testSource(noise(64), "read");
    for (const strides of [[1], [2]]) {
      const view: StridedView = { source, dtype: "U8", shape: [8], strides, bitOffset: 0 };
      const chunks = chunksOf(view, new Uint8Array(0));
      await assert.rejects(chunks.next(), raises("OUT_OF_RANGE", /no room/));
    }
  });

  it("fills memory of exactly the tensor's size", async () => {
    const source = testSource(noise(64), "read");
    for (const strides of [[1], [2]]) {
      const view: StridedView = { source, dtype: "U8", shape: [8], strides, bitOffset: 0 };
      for (const size of [0, 7, 9]) {
        const text = new RegExp(`tensor of 8 bytes has ${size}`);
        await assert.rejects(readViewInto(view, new Uint8Array(size)), raises("SIZE_MISMATCH", text));
      }
    }
  });

  it("refuses what a source gives too little or too much of", async () => {
    for (const wrong of [6, 10, 0]) {
      const read = async (): Promise<Uint8Array> => new Uint8Array(wrong);
      for (const source of [
        { size: 64, name: "mine", read },
        { size: 64, name: "mine", read, view: () => new Uint8Array(wrong) },
      ] as ByteSource[])
        for (const strides of [[1], [2]]) {
          const view: StridedView = {
            source,
            dtype: "U8",
            shape: [strides[0] === 1 ? 8 : 4],
            strides,
            bitOffset: 128,
          };
          await assert.rejects(
            readView(view),
            raises("SHORT_READ", new RegExp(`mine gave ${wrong} bytes`), { at: 16 }),
          );
          await assert.rejects(readViewInto(view, new Uint8Array(byteLength(view))), raises("SHORT_READ"));
          await assert.rejects(chunksOf(view, new Uint8Array(8)).next(), raises("SHORT_READ"));
        }
    }
  });
});

interface NumberedSource extends ByteSource {
  cost: ByteSource["cost"];
  readInto(offset: number, target: Uint8Array): void;
  reads: number;
  bytes: number;
}

/** A source that holds the number of each element as a 32-bit integer, but no memory. */
function numbered(elements: number): NumberedSource {
  const source = {
    size: elements * 4,
    cost: undefined as ByteSource["cost"],
    reads: 0,
    bytes: 0,
    async read(offset: number, length: number): Promise<Uint8Array> {
      const target = new Uint8Array(length);
      source.readInto(offset, target);
      return target;
    },
    readInto(offset: number, target: Uint8Array): void {
      assert.ok(offset % 4 === 0 && offset + target.length <= source.size);
      source.reads++;
      source.bytes += target.length;
      const words = new Uint32Array(target.buffer, target.byteOffset, target.length / 4);
      for (let i = 0, number = offset / 4; i < words.length; i++) words[i] = number++;
    },
  };
  return source;
}

/** Compares chunks with what each word must be. */
async function checkWords(view: TensorView, expected: (number: number) => number): Promise<void> {
  let number = 0;
  for await (const chunk of chunksOf(view, new Uint8Array(3 << 20))) {
    assert.ok(chunk.length <= 3 << 20);
    const words = new Uint32Array(chunk.buffer, chunk.byteOffset, chunk.length / 4);
    for (let i = 0; i < words.length; i++, number++) {
      if (words[i] !== expected(number))
        assert.fail(`element ${number} is ${words[i]}, not ${expected(number)}`);
    }
  }
  assert.equal(number, byteLength(view) / 4);
}

describe("large views", () => {
  it("of 40 MB, transposed, come right in chunks, with a bounded number of reads", async () => {
    const [rows, columns] = [2000, 5000];
    const source = numbered(rows * columns);
    const view: StridedView = {
      source,
      dtype: "U32",
      shape: [columns, rows],
      strides: [1, columns],
      bitOffset: 0,
    };
    await checkWords(view, (number) => (number % rows) * columns + Math.floor(number / rows));
    assert.ok(source.reads < 2 * rows, `${source.reads} reads`);
    assert.ok(source.bytes <= 2 * source.size, `${source.bytes} bytes read`);
  });

  it("of 40 MB, in pieces, come right in chunks", async () => {
    const [rows, columns] = [4000, 5000];
    const source = numbered(rows * columns);
    // A gap of a kilobyte is worth a read.
    source.cost = { operation: 1e-6, byte: 1e-9 };
    const view: StridedView = {
      source,
      dtype: "U32",
      shape: [rows, columns],
      strides: [columns, 1],
      bitOffset: 0,
    };
    const next = numbers(3);
    const list = Array.from({ length: 2000 }, () => next() % rows);
    await checkWords(
      sliceView(view, [list]),
      (number) => list[Math.floor(number / columns)]! * columns + (number % columns),
    );
    assert.ok(source.bytes <= 1.1 * 4 * list.length * columns, `${source.bytes} bytes read`);
  });

  it("of 40 MB, with elements of half a byte, come right in chunks", async () => {
    // A row has an odd number of elements: only every second one begins on a whole byte.
    const [rows, columns] = [5001, 16_388];
    const bytes = noise(Math.ceil((rows * columns) / 2));
    const source = testSource(bytes, "readInto sync");
    const view: StridedView = {
      source,
      dtype: "F4",
      shape: [rows, columns],
      strides: [columns, 1],
      bitOffset: 0,
    };
    const result = await allChunks(sliceView(view, [range(1), range(1)]), new Uint8Array(3 << 20));
    assert.equal(result.length, Math.ceil(((rows - 1) * (columns - 1)) / 2));
    for (let row = 0; row < rows - 1; row += 7) {
      for (let column = 0; column < columns - 1; column += 11) {
        const [from, to] = [(row + 1) * columns + column + 1, row * (columns - 1) + column];
        const nibble = (all: Uint8Array, at: number): number => (all[at >> 1]! >> (4 * (at & 1))) & 15;
        if (nibble(bytes, from) !== nibble(result, to)) assert.fail(`row ${row}, column ${column}`);
      }
    }
    assert.ok(Math.max(...source.seen.map(({ length }) => length)) <= 4 << 20);
  });

  it("that cannot be cut at whole bytes come right all the same", async () => {
    const columns = 2 ** 25 + 1;
    const bytes = noise(2 ** 24 + 1);
    const source = testSource(bytes, "view");
    const view: StridedView = { source, dtype: "F4", shape: [3, columns], strides: [0, 1], bitOffset: 0 };
    const result = await allChunks(view, new Uint8Array(3 << 20));
    assert.equal(result.length, Math.ceil((3 * columns) / 2));
    assert.deepEqual(result.subarray(columns, columns + 99), bytes.subarray(0, 99));
    assert.equal(result[columns - 1], (bytes[2 ** 24 - 1]! >> 4) | ((bytes[2 ** 24]! & 15) << 4));
  });

  it("are read in spans of some megabytes, not at once", async () => {
    const source = numbered(4 << 20);
    let largest = 0;
    const { readInto } = source;
    source.readInto = (offset, target) => {
      largest = Math.max(largest, target.length);
      readInto(offset, target);
    };
    const shape = [1024, 4096];
    const view: StridedView = {
      source,
      dtype: "U32",
      shape,
      strides: [-4096, -1],
      bitOffset: ((4 << 20) - 1) * 32,
    };
    const result = await readView(view);
    const words = new Uint32Array(result.buffer);
    for (let i = 0; i < words.length; i++)
      if (words[i] !== words.length - 1 - i) assert.fail(`${i}: ${words[i]}`);
    assert.ok(largest <= 8 << 20 && source.bytes === source.size, `${largest}`);
    assert.ok(source.reads <= 10, `${source.reads} reads`);
  });

  it("skip large gaps and read over small ones", async () => {
    for (const [stride, mostReads, mostBytes] of [
      [1024, 1, 100 * 1024 * 4],
      [1 << 20, 100, 100 * 16 * 4],
    ] as const) {
      const source = numbered(101 * stride);
      const view: StridedView = {
        source,
        dtype: "U32",
        shape: [100, 16],
        strides: [stride, 1],
        bitOffset: 32,
      };
      const words = new Uint32Array((await readView(view)).buffer);
      for (let i = 0; i < words.length; i++)
        assert.equal(words[i], Math.floor(i / 16) * stride + (i % 16) + 1);
      assert.ok(source.reads <= mostReads, `${source.reads} reads for a stride of ${stride}`);
      assert.ok(source.bytes <= mostBytes, `${source.bytes} bytes for a stride of ${stride}`);
    }
  });

  it("read each part of an overlapping view once", async () => {
    // Windows of 64 over 100,000 elements: 25.6 MB of output from 0.4 MB.
    const source = numbered(100_063);
    const view: StridedView = { source, dtype: "U32", shape: [100_000, 64], strides: [1, 1], bitOffset: 0 };
    const words = new Uint32Array((await readView(view)).buffer);
    for (let i = 0; i < words.length; i += 97) assert.equal(words[i], Math.floor(i / 64) + (i % 64));
    assert.ok(
      source.bytes <= 2 * source.size && source.reads <= 4,
      `${source.reads} reads, ${source.bytes} bytes`,
    );
  });

  it("may start beyond four gigabytes", async () => {
    const source = numbered(2 ** 31);
    const start = 2 ** 31 - 100;
    const view: StridedView = {
      source,
      dtype: "U32",
      shape: [2, 3],
      strides: [-5, 2],
      bitOffset: start * 32,
    };
    assert.deepEqual(
      [...new Uint32Array((await readView(view)).buffer)],
      [0, 2, 4, -5, -3, -1].map((step) => start + step),
    );
  });
});

describe("a signal", () => {
  const memory = new Uint8Array(64 << 20);
  const layouts = { contiguous: [4096, 1], strided: [1, 4096] };
  for (const kind of KINDS) {
    for (const [name, strides] of Object.entries(layouts)) {
      const viewOf = (source: ByteSource): StridedView => {
        return { source, dtype: "F32", shape: [4096, 4096], strides, bitOffset: 0 };
      };

      it(`that was aborted stops the ${name} read of a source with ${kind} before it begins`, async () => {
        const source = testSource(memory, kind);
        const signal = AbortSignal.abort(new Error("enough"));
        await assert.rejects(readView(viewOf(source), { signal }), /enough/);
        const chunks = chunksOf(viewOf(source), new Uint8Array(1000), { signal });
        await assert.rejects(chunks.next(), /enough/);
        assert.deepEqual(source.seen, []);
      });

      it(`stops the ${name} chunks of a source with ${kind} between two reads`, async () => {
        const controller = new AbortController();
        const source = testSource(memory, kind);
        source.onRead = () => {
          if (source.seen.length === 2) controller.abort(new Error("enough"));
        };
        const read = async (): Promise<void> => {
          const options = { signal: controller.signal };
          for await (const chunk of chunksOf(viewOf(source), new Uint8Array(1 << 20), options)) chunk.fill(0);
        };
        await assert.rejects(read(), /enough/);
        assert.ok(source.seen.length <= 3, `${source.seen.length} reads`);
      });
    }
  }
});
