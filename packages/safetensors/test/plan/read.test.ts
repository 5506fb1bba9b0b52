import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { DTYPES, type Dtype } from "../../src/dtype/dtype.ts";
import { chunksOf, readView } from "../../src/plan/read.ts";
import type { ByteSource } from "../../src/source/source.ts";
import { contiguousStrides, type StridedView } from "../../src/view/view.ts";
import { concat, noise, raises } from "../support.ts";
import { countedSource, KINDS } from "./counted-source.ts";

/** All indices of a shape in row-major order. */
function* indices(shape: readonly number[]): Generator<number[]> {
  if (shape.includes(0)) return;
  const index = shape.map(() => 0);
  for (;;) {
    yield index.slice();
    let axis = shape.length - 1;
    while (axis >= 0 && ++index[axis]! === shape[axis]) index[axis--] = 0;
    if (axis < 0) return;
  }
}

type Layout = Omit<StridedView, "source">;

/** The packed bytes of a view, bit by bit: the definition. */
function packed(bytes: Uint8Array, { dtype, shape, strides, bitOffset }: Layout): Uint8Array {
  const { bits } = DTYPES[dtype];
  const all = [...indices(shape)];
  const out = new Uint8Array(Math.ceil((all.length * bits) / 8));
  for (const [number, index] of all.entries()) {
    const element = index.reduce((sum, i, axis) => sum + i * strides[axis]!, 0);
    for (let bit = 0; bit < bits; bit++) {
      const from = bitOffset + element * bits + bit;
      const to = number * bits + bit;
      out[to >> 3]! |= ((bytes[from >> 3]! >> (from & 7)) & 1) << (to & 7);
    }
  }
  return out;
}

/** The same without the bits behind the last element, which are nobody's. */
function withoutPadding(bytes: Uint8Array, { dtype, shape }: Layout): Uint8Array {
  const bits = shape.reduce((product, size) => product * size, DTYPES[dtype].bits);
  const whole = bytes.slice();
  if (bits % 8 !== 0) whole[whole.length - 1]! &= 2 ** (bits % 8) - 1;
  return whole;
}

async function allChunks(view: StridedView, buffer: Uint8Array): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const chunk of chunksOf(view, buffer)) {
    assert.ok(chunk.length > 0 && chunk.length <= buffer.length, `${chunk.length} of ${buffer.length}`);
    parts.push(chunk.slice());
  }
  return concat(parts);
}

const axis = fc.record({ size: fc.nat(5), stride: fc.integer({ min: -9, max: 9 }) });
const layout = fc
  .record({
    dtype: fc.constantFrom<Dtype>("F4", "F6_E2M3", "U8", "BF16", "F32", "I64", "C64"),
    axes: fc.array(axis, { maxLength: 4 }),
    contiguous: fc.boolean(),
    start: fc.nat(40),
    tail: fc.nat(2),
    unaligned: fc.nat(7),
  })
  .map(({ dtype, axes, contiguous, start, tail, unaligned }) => {
    const { bits } = DTYPES[dtype];
    const shape = axes.map(({ size }) => size);
    const strides = contiguous ? contiguousStrides(shape) : axes.map(({ stride }) => stride);
    const reach = shape.map((size, axis) => Math.max(size - 1, 0) * strides[axis]!);
    const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
    const below = -sum(reach.filter((value) => value < 0)) * bits;
    const above = sum(reach.filter((value) => value > 0)) * bits;
    // Elements of less than a byte may lie at any bit.
    const bitOffset = below + (bits < 8 ? start : start * 8);
    const size = Math.ceil((bitOffset + above + bits) / 8) + tail;
    return { view: { dtype, shape, strides, bitOffset }, size, unaligned };
  });

/** Bytes at an unaligned place of other memory. */
const placed = (size: number, shift: number): Uint8Array => {
  const memory = noise(size + 16, size + shift);
  return memory.subarray(shift, shift + size);
};

describe("readView", () => {
  for (const kind of KINDS) {
    it(`gives the elements of any view, from a source with ${kind}`, async () => {
      const property = fc.asyncProperty(layout, async ({ view, size, unaligned }) => {
        const bytes = placed(size, unaligned);
        const before = bytes.slice();
        const result = await readView({ ...view, source: countedSource(bytes, kind) });
        assert.deepEqual(withoutPadding(result, view), packed(bytes, view));
        assert.deepEqual(bytes, before);
      });
      await fc.assert(property, { seed: 44, numRuns: 250 });
    });

    it(`gives them in chunks of any size, from a source with ${kind}`, async () => {
      const property = fc.asyncProperty(
        layout,
        fc.integer({ min: 1, max: 40 }),
        async ({ view, size }, room) => {
          const bytes = placed(size, 0);
          const result = await allChunks(
            { ...view, source: countedSource(bytes, kind) },
            new Uint8Array(room),
          );
          assert.deepEqual(withoutPadding(result, view), packed(bytes, view));
        },
      );
      await fc.assert(property, { seed: 45, numRuns: 200 });
    });
  }

  it("gives memory where it lies, and nothing else's", async () => {
    const bytes = noise(64);
    const source = countedSource(bytes, "view");
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
    const source = countedSource(noise(4096), "read");
    const view: StridedView = { source, dtype: "F32", shape: [500, 700], strides: [0, 0], bitOffset: 32 };
    const result = await readView(view);
    assert.deepEqual(source.ranges, [[4, 4]]);
    assert.deepEqual(result.subarray(1_399_996), result.subarray(0, 4));
  });

  it("does not loop for ever on a buffer without room", async () => {
    const source = countedSource(noise(64), "read");
    for (const strides of [[1], [2]]) {
      const view: StridedView = { source, dtype: "U8", shape: [8], strides, bitOffset: 0 };
      const chunks = chunksOf(view, new Uint8Array(0));
      await assert.rejects(chunks.next(), raises("OUT_OF_RANGE", /no room/));
    }
  });

  it("refuses what a source gives too little or too much of", async () => {
    for (const wrong of [6, 10, 0]) {
      const source: ByteSource = { size: 64, name: "mine", read: async () => new Uint8Array(wrong) };
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
        const chunks = chunksOf(view, new Uint8Array(8));
        await assert.rejects(chunks.next(), raises("SHORT_READ"));
      }
    }
  });
});

interface NumberedSource extends ByteSource {
  readInto(offset: number, target: Uint8Array): void;
  reads: number;
  bytes: number;
}

/** A source that holds the number of each element as a 32-bit integer, but no memory. */
function numbered(elements: number): NumberedSource {
  const source = {
    size: elements * 4,
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

describe("large strided views", () => {
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
    let number = 0;
    let largest = 0;
    for await (const chunk of chunksOf(view, new Uint8Array(3 << 20))) {
      largest = Math.max(largest, chunk.length);
      const words = new Uint32Array(chunk.buffer, chunk.byteOffset, chunk.length / 4);
      for (let i = 0; i < words.length; i++, number++) {
        const expected = (number % rows) * columns + Math.floor(number / rows);
        if (words[i] !== expected) assert.fail(`element ${number} is ${words[i]}, not ${expected}`);
      }
    }
    assert.equal(number, rows * columns);
    assert.ok(largest <= 3 << 20);
    assert.ok(source.reads < 2 * rows, `${source.reads} reads`);
    assert.ok(source.bytes <= 2 * source.size, `${source.bytes} bytes read`);
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
  const layouts = { contiguous: [4096, 1], strided: [1, 4096] };
  for (const kind of KINDS) {
    for (const [name, strides] of Object.entries(layouts)) {
      const viewOf = (source: ByteSource): StridedView => {
        return { source, dtype: "F32", shape: [4096, 4096], strides, bitOffset: 0 };
      };

      it(`that was aborted stops the ${name} read of a source with ${kind} before it begins`, async () => {
        const source = countedSource(new Uint8Array(64 << 20), kind);
        const signal = AbortSignal.abort(new Error("enough"));
        await assert.rejects(readView(viewOf(source), { signal }), /enough/);
        const chunks = chunksOf(viewOf(source), new Uint8Array(1000), { signal });
        await assert.rejects(chunks.next(), /enough/);
        assert.deepEqual(source.ranges, []);
      });

      it(`stops the ${name} chunks of a source with ${kind} between two reads`, async () => {
        const controller = new AbortController();
        const source = countedSource(new Uint8Array(64 << 20), kind);
        source.onRead = () => {
          if (source.ranges.length === 2) controller.abort(new Error("enough"));
        };
        const read = async (): Promise<void> => {
          const options = { signal: controller.signal };
          for await (const chunk of chunksOf(viewOf(source), new Uint8Array(1 << 20), options)) chunk.fill(0);
        };
        await assert.rejects(read(), /enough/);
        assert.ok(source.ranges.length <= 3, `${source.ranges.length} reads`);
      });
    }
  }
});
