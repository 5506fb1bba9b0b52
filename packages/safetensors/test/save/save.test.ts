import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { open } from "../../src/checkpoint/open.ts";
import { TensorHandle } from "../../src/checkpoint/tensor.ts";
import { DTYPE_ORDER, DTYPES, type Dtype, elementCount } from "../../src/dtype/dtype.ts";
import type { TensorSpec } from "../../src/format/encode.ts";
import { type SaveInput, save, type TensorData } from "../../src/save/save.ts";
import { memorySink } from "../../src/save/sink.ts";
import type { ByteSource } from "../../src/source/source.ts";
import { fixture } from "../fixtures.ts";
import { concat, handMade, noise, raises } from "../support.ts";
import { recordedSink } from "./sinks.ts";

interface WriteCase {
  readonly tensors: readonly ({ name: string } & TensorSpec)[];
  readonly metadata: Record<string, string> | null;
  readonly header: string;
}
// Written by the reference implementation, as told in format/reference-cases.test.ts.
const goldens = JSON.parse(Buffer.from(fixture("encode-cases.json")).toString("utf8")) as WriteCase[];

const sizeOf = ({ dtype, shape }: TensorSpec): number => (elementCount(shape) * DTYPES[dtype].bits) / 8;
const floats = (...values: number[]): TensorData => ({
  dtype: "F32",
  shape: [values.length],
  data: new Float32Array(values),
});

describe("save", () => {
  it("writes the bytes of the reference: its header, then the data in the header's order", async () => {
    for (const [number, { tensors, metadata, header }] of goldens.entries()) {
      const total = tensors.reduce((sum, spec) => sum + sizeOf(spec), 0);
      if (total > 1 << 20) continue;
      const inputs = tensors.map(({ name, dtype, shape }, i) => {
        return [name, { dtype, shape, data: noise(sizeOf({ dtype, shape }), i) }] as const;
      });
      const sink = recordedSink(number % 2 === 0);
      await save(sink, inputs, metadata ? { metadata } : {});
      const file = Buffer.from(sink.bytes());
      const head = Buffer.from(header, "base64");
      assert.equal(file.subarray(0, head.length).toString("base64"), header, `case ${number}`);
      const json = JSON.parse(head.subarray(8).toString());
      for (const [name, { data }] of inputs) {
        const [begin, end] = json[name].data_offsets;
        assert.deepEqual(new Uint8Array(file.subarray(head.length + begin, head.length + end)), data);
      }
      assert.equal(file.length, head.length + total);
      assert.deepEqual(sink.ends, ["commit"]);
    }
  });

  it("writes what the Python library writes for [1, 2, 3]", async () => {
    // save({"test": np.array([1, 2, 3], dtype=np.float32)}) of safetensors 0.8
    const expected =
      "QAAAAAAAAAB7InRlc3QiOnsiZHR5cGUiOiJGMzIiLCJzaGFwZSI6WzNdLCJkYXRhX29mZnNldHMiOlswLDEyXX19ICAgICAgAACAPwAAAEAAAEBA";
    const sink = memorySink();
    await save(sink, { test: floats(1, 2, 3) });
    assert.equal(Buffer.from(sink.bytes()).toString("base64"), expected);
  });

  it("writes what open reads back, whatever the tensors", async () => {
    const spec = fc.record({
      dtype: fc.constantFrom<Dtype>(...DTYPE_ORDER),
      shape: fc.array(fc.nat(3), { maxLength: 3 }).map((shape) => [...shape, 4]),
    });
    const name = fc.string({ unit: "binary", maxLength: 6 });
    const property = fc.asyncProperty(
      fc.dictionary(name, spec, { maxKeys: 6, noNullPrototype: true }),
      fc.dictionary(name, name, { maxKeys: 3, noNullPrototype: true }),
      fc.boolean(),
      async (specs, metadata, slow) => {
        const inputs = Object.entries(specs).map(([name, spec], i) => {
          return [name, { ...spec, data: noise(sizeOf(spec), i) }] as const;
        });
        const sink = recordedSink(slow);
        await save(sink, inputs, { metadata });
        const checkpoint = await open(sink.bytes());
        assert.equal(checkpoint.size, inputs.length);
        for (const [name, { dtype, shape, data }] of inputs) {
          const tensor = checkpoint.get(name);
          assert.deepEqual([tensor.dtype, tensor.shape], [dtype, shape]);
          assert.deepEqual(new Uint8Array(await tensor.bytes()), data);
        }
        assert.deepEqual(new Map(checkpoint.metadata), new Map(Object.entries(metadata)));
      },
    );
    await fc.assert(property, { seed: 47, numRuns: 100 });
  });

  it("takes any memory: typed arrays, views of part of a buffer, buffers", async () => {
    const bytes = noise(16);
    const shared = new SharedArrayBuffer(16);
    new Uint8Array(shared).set(bytes);
    const memory = concat([noise(3), bytes, noise(5)]);
    const data = {
      array: bytes.slice().buffer,
      buffer: Buffer.concat([bytes]),
      part: memory.subarray(3, 19),
      shared,
      view: new DataView(memory.buffer, 3, 16),
      wide: new BigInt64Array(bytes.slice().buffer),
    };
    const inputs = Object.entries(data).map(
      ([name, data]) => [name, { dtype: "U8", shape: [16], data }] as const,
    );
    const sink = memorySink();
    await save(sink, inputs);
    const checkpoint = await open(sink.bytes());
    for (const name of Object.keys(data))
      assert.deepEqual(new Uint8Array(await checkpoint.get(name).bytes()), bytes, name);
  });

  it("aligns the data as asked", async () => {
    for (const alignment of [8, 64, 4096]) {
      const sink = memorySink();
      await save(sink, { w: floats(1, 2) }, { alignment });
      const file = sink.bytes();
      assert.equal(file.length % alignment, 8 % alignment);
      assert.deepEqual(await (await open(file)).get("w").data(), new Float32Array([1, 2]));
    }
  });

  it("copies tensors of other checkpoints, contiguous or not, from memory and from elsewhere", async () => {
    const file = handMade({
      w: { dtype: "BF16", shape: [3, 4], data: noise(24) },
      q: { dtype: "F4", shape: [3, 4], data: noise(6) },
      e: { dtype: "F64", shape: [0], data: new Uint8Array(0) },
    });
    const slow: ByteSource = { size: file.length, read: async (at, length) => file.slice(at, at + length) };
    for (const input of [file, slow, new Blob([file])]) {
      const checkpoint = await open(input);
      const { view } = checkpoint.get("w");
      const transposed = new TensorHandle("w", { ...view, shape: [4, 3], strides: [1, 4] });
      const sink = memorySink();
      await save(sink, {
        w: checkpoint.get("w"),
        t: transposed,
        q: checkpoint.get("q"),
        e: checkpoint.get("e"),
      });
      const copy = await open(sink.bytes());
      assert.deepEqual(new Uint8Array(await copy.get("w").bytes()), noise(24));
      assert.deepEqual(new Uint8Array(await copy.get("q").bytes()), noise(6));
      assert.deepEqual(copy.get("e").shape, [0]);
      const words = new Uint16Array(noise(24).buffer);
      const expected = Array.from({ length: 12 }, (_, i) => words[(i % 3) * 4 + Math.floor(i / 3)]);
      assert.deepEqual(Array.from((await copy.get("t").data()) as Uint16Array), expected);
    }
  });

  it("copies only tensors without bytes", async () => {
    const file = handMade({ e: { dtype: "F64", shape: [0], data: new Uint8Array(0) } });
    const sink = recordedSink();
    await save(sink, { e: (await open(file)).get("e") });
    assert.deepEqual((await open(sink.bytes())).get("e").shape, [0]);
  });

  it("writes large tensors in pieces, and tells how far it is", async () => {
    const data = noise(9 << 20);
    const file = handMade({ h: { dtype: "U8", shape: [9 << 20], data } });
    const steps: [number, number][] = [];
    const sink = recordedSink(true);
    await save(
      sink,
      { a: { dtype: "U8", shape: [9 << 20], data }, h: (await open(file)).get("h"), z: floats(1) },
      { onProgress: (done, total) => void steps.push([done, total]) },
    );
    assert.ok(Math.max(...sink.pieces) <= 4 << 20);
    const total = 2 * data.length + 4;
    assert.ok(steps.length >= 7);
    for (const [i, [done, all]] of steps.entries()) {
      assert.equal(all, total);
      assert.ok(done > (steps[i - 1]?.[0] ?? 0), `${done} after ${steps[i - 1]?.[0]}`);
    }
    assert.equal(steps.at(-1)?.[0], total);
    assert.ok(Buffer.compare(sink.bytes().subarray(-data.length), data) === 0);
  });

  it("reports progress after the bytes have been taken", async () => {
    const sink = recordedSink(true);
    let taken = -1;
    const onProgress = () => {
      taken = sink.bytes().length;
    };
    await save(sink, { w: floats(1) }, { onProgress });
    assert.equal(taken, sink.bytes().length);
  });

  it("writes nothing but a header for no tensors", async () => {
    const sink = memorySink();
    await save(sink, {}, { onProgress: () => assert.fail("there is nothing to do") });
    assert.equal(Buffer.from(sink.bytes()).toString("latin1"), "\b\0\0\0\0\0\0\0{}      ");
  });
});

describe("save gives up, aborting the sink and committing nothing,", () => {
  const one: TensorData = { dtype: "U8", shape: [4], data: new Uint8Array(4) };
  const cases: Readonly<Record<string, readonly [inputs: Iterable<readonly [string, SaveInput]>, RegExp]>> = {
    "for data that is too short": [
      [["w", { ...one, shape: [5] }]],
      /SIZE_MISMATCH: tensor "w" .* 5 bytes, but only 4/,
    ],
    "for data that is too long": [
      [["w", { ...one, shape: [3] }]],
      /SIZE_MISMATCH: tensor "w" .* 3 bytes, but more/,
    ],
    "for no data where some was declared": [
      [["w", { ...one, data: new Uint8Array(0) }]],
      /SIZE_MISMATCH: .* only 0/,
    ],
    "for a name given twice": [
      [
        ["w", one],
        ["w", one],
      ],
      /DUPLICATE_NAME: tensor "w"/,
    ],
    "for a name that cannot be": [[["__metadata__", one]], /INVALID_NAME/],
    "for elements that do not fill a byte": [[["w", { ...one, dtype: "F4", shape: [7] }]], /MISALIGNED/],
    "for data that is no memory": [
      [["w", { ...one, data: [1, 2] as never }]],
      /INVALID_TENSOR: .* tensor "w"/,
    ],
    "for data that is missing": [
      [["w", { ...one, data: undefined as never }]],
      /INVALID_TENSOR: .* tensor "w"/,
    ],
  };
  for (const [name, [inputs, message]] of Object.entries(cases)) {
    it(name, async () => {
      const sink = recordedSink();
      await assert.rejects(save(sink, inputs), message);
      assert.deepEqual(sink.ends, ["abort"]);
    });
  }

  it("for a sink that fails, at the header or at any piece", async () => {
    for (const slow of [false, true]) {
      for (const failAt of [10, 100, 5 << 20]) {
        const sink = recordedSink(slow, failAt);
        const data = new Uint8Array(9 << 20);
        await assert.rejects(
          save(sink, { w: { dtype: "U8", shape: [data.length], data } }),
          /the disk is full/,
        );
        assert.deepEqual(sink.ends, ["abort"]);
      }
    }
  });

  it("for a sink that cannot commit", async () => {
    const sink = recordedSink();
    sink.commit = () => Promise.reject(new Error("no room"));
    await assert.rejects(save(sink, { one }), /no room/);
    assert.deepEqual(sink.ends, ["abort"]);
  });

  it("for a source that fails midway, naming the tensor", async () => {
    const file = handMade({ w: { dtype: "U8", shape: [9 << 20], data: new Uint8Array(9 << 20) } });
    let reads = 0;
    const source: ByteSource = {
      size: file.length,
      name: "source",
      read: async (at, length) => file.slice(at, reads++ > 1 ? at + 1 : at + length),
    };
    const sink = recordedSink();
    const checkpoint = await open(source);
    await assert.rejects(
      save(sink, { w: checkpoint.get("w") }),
      raises("SHORT_READ", /source gave 1/, { tensor: "w" }),
    );
    assert.deepEqual(sink.ends, ["abort"]);
  });

  it("for a signal, at once and midway", async () => {
    const early = recordedSink();
    const signal = AbortSignal.abort(new Error("enough"));
    await assert.rejects(save(early, { one }, { signal }), /enough/);
    assert.deepEqual(early.ends, ["abort"]);

    const controller = new AbortController();
    const sink = recordedSink();
    const data = new Uint8Array(9 << 20);
    const options = { signal: controller.signal, onProgress: () => controller.abort(new Error("enough")) };
    await assert.rejects(save(sink, { w: { dtype: "U8", shape: [data.length], data } }, options), /enough/);
    assert.deepEqual(sink.ends, ["abort"]);
    assert.ok(sink.bytes().length < 5 << 20);
  });

  it("for a progress report that throws", async () => {
    const sink = recordedSink();
    const onProgress = () => {
      throw new Error("mine");
    };
    await assert.rejects(save(sink, { one }, { onProgress }), /mine/);
    assert.deepEqual(sink.ends, ["abort"]);
  });
});

describe("the same tensors and metadata", () => {
  it("give the same bytes in any order", async () => {
    const keyEnds = ["z", "a", "Z", "Ä", "\u{10000}", "\uffff"];
    const dtypes = ["F64", "F32", "BF16", "U8"] as const;
    const tensors = Array.from({ length: 12 }, (_, i) => {
      const data = noise(8 * (i % 3), i);
      const dtype = dtypes[i % 4]!;
      const size = { F64: 8, F32: 4, BF16: 2, U8: 1 }[dtype];
      return [
        `${"ab"[i % 2]}.${i}${i % 5 ? "" : "é\u{1f600}"}`,
        { dtype, shape: [data.length / size], data },
      ] as const;
    });
    for (const count of [2, 50]) {
      const metadata = Array.from(
        { length: count },
        (_, i) => [`${(i * 7) % count}${keyEnds[i % 6]}`, `${i}`] as const,
      );
      const bytes = async (
        inputs: typeof tensors,
        pairs: typeof metadata,
        isMap: boolean,
      ): Promise<Buffer> => {
        const sink = memorySink();
        await save(sink, inputs, { metadata: isMap ? new Map(pairs) : Object.fromEntries(pairs) });
        return Buffer.from(sink.bytes());
      };
      const expected = await bytes(tensors, metadata, true);
      const any = <T>(list: readonly T[]) => fc.shuffledSubarray([...list], { minLength: list.length });
      const property = fc.asyncProperty(
        any(tensors),
        any(metadata),
        fc.boolean(),
        async (inputs, pairs, isMap) => {
          assert.equal(Buffer.compare(await bytes(inputs, pairs, isMap), expected), 0);
        },
      );
      await fc.assert(property, { seed: 52, numRuns: 50 });
    }
  });
});

describe("memorySink", () => {
  it("gives nothing before the commit, and takes copies", async () => {
    const sink = memorySink();
    const piece = Uint8Array.of(1, 2);
    sink.write(piece);
    piece.fill(9);
    sink.write(piece.subarray(0, 1));
    assert.throws(() => sink.bytes(), /not been committed/);
    await sink.commit();
    assert.deepEqual([...sink.bytes()], [1, 2, 9]);
  });

  it("copies Node's buffers too, whose slices share memory", async () => {
    const sink = memorySink();
    const piece = Buffer.from([1, 2]);
    sink.write(piece);
    piece.fill(9);
    await sink.commit();
    assert.deepEqual([...sink.bytes()], [1, 2]);
  });

  it("takes memory once where the size is known, and gives no more than was written anyway", async () => {
    for (const known of [3, 10, 100]) {
      const sink = memorySink();
      sink.begin!(known, {});
      for (let i = 0; i < 10; i++) sink.write(Uint8Array.of(i));
      await sink.commit();
      assert.deepEqual([...sink.bytes()], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
      assert.equal(sink.bytes().buffer.byteLength, 10);
    }
  });

  it("forgets everything on abort", async () => {
    const sink = memorySink();
    sink.write(Uint8Array.of(1));
    await sink.abort();
    assert.throws(() => sink.bytes(), /not been committed/);
  });
});
