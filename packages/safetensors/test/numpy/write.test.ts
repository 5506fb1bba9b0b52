import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DTYPE_ORDER, DTYPES } from "../../src/dtype/dtype.ts";
import { openNumpy, writeNpy, writeNpz } from "../../src/numpy/index.ts";
import type { TensorData } from "../../src/save/save.ts";
import { memorySink, type Sink } from "../../src/save/sink.ts";
import { fromBytes } from "../../src/source/memory.ts";
import { openZip } from "../../src/zip/archive.ts";
import { fixture } from "../fixtures.ts";
import { recordedSink } from "../save/sinks.ts";
import { noise, raises, stridedViewOf } from "../support.ts";

const tensor = (dtype: TensorData["dtype"], ...shape: number[]): TensorData => {
  const length = shape.reduce((product, size) => product * size, DTYPES[dtype].bits / 8);
  return { dtype, shape, data: noise(length, length) };
};

/** What NumPy has no name for, and the integers that hold the bits. */
const WITHOUT_NAME = DTYPE_ORDER.filter((dtype) => /^(BF16|F8_)/.test(dtype));

describe("an archive that is written", () => {
  it("is read back, with its names, in its order", async () => {
    const tensors = new Map<string, TensorData>();
    for (const dtype of DTYPE_ORDER) {
      if (DTYPES[dtype].bits >= 8 && !WITHOUT_NAME.includes(dtype)) tensors.set(dtype, tensor(dtype, 3, 5));
    }
    for (const name of ["", "a.npy", "a/b", "ünï😀", "__proto__", "x".repeat(60_000)]) {
      tensors.set(name, tensor("U8", 7));
    }
    tensors.set("scalar", tensor("F64"));
    tensors.set("empty", tensor("F32", 3, 0));
    const sink = recordedSink(true);
    await writeNpz(sink, tensors);
    assert.deepEqual(sink.ends, ["commit"]);
    const checkpoint = await openNumpy(fromBytes(sink.bytes()));
    assert.deepEqual([...checkpoint.keys()], [...tensors.keys()]);
    for (const found of checkpoint) {
      const { dtype, shape, data } = tensors.get(found.name)!;
      assert.deepEqual([found.dtype, found.shape], [dtype, shape]);
      assert.deepEqual(new Uint8Array(await found.bytes()), new Uint8Array(data as Uint8Array));
      assert.equal(stridedViewOf(found).bitOffset % 512, 0, "elements begin at multiples of 64 bytes");
    }
  });

  it("is the same every time, and can be written from another", async () => {
    const source = await openNumpy(fromBytes(fixture("numpy/big-endian-fortran.npy")));
    const files: Uint8Array[] = [];
    const of = async (inputs: Parameters<typeof writeNpz>[1]): Promise<void> => {
      const sink = memorySink();
      await writeNpz(sink, inputs);
      files.push(sink.bytes());
    };
    const { dtype, shape } = source.get("arr_0");
    await of({ a: source.get("arr_0") });
    await of([["a", { dtype, shape, data: await source.get("arr_0").bytes() }]]);
    assert.deepEqual(files[0], files[1]);
    await of(await openNumpy(fromBytes(files[0]!)));
    assert.deepEqual(files[0], files[2]);
    const again = (await openNumpy(fromBytes(files[0]!))).get("a");
    assert.deepEqual(new Uint8Array(await again.bytes()), new Uint8Array(await source.get("arr_0").bytes()));
  });

  it("of nothing is an empty archive", async () => {
    const sink = memorySink();
    await writeNpz(sink, {});
    assert.deepEqual(sink.bytes(), new Uint8Array(fixture("numpy/nothing.npz")));
  });

  it("holds bits where that is asked for", async () => {
    for (const dtype of WITHOUT_NAME) {
      const input = tensor(dtype, 4);
      const expected = raises("UNSUPPORTED", new RegExp(`tensor "t": NumPy has no ${dtype};`), {
        tensor: "t",
      });
      await assert.rejects(writeNpz(memorySink(), { t: input }), expected);
      const sink = memorySink();
      await writeNpz(sink, { t: input }, { bits: true });
      const found = (await openNumpy(fromBytes(sink.bytes()))).get("t");
      assert.equal(found.dtype, dtype === "BF16" ? "U16" : "U8");
      assert.deepEqual(new Uint8Array(await found.bytes()), input.data);
    }
    for (const dtype of ["F4", "F6_E2M3"] as const) {
      const expected = raises("UNSUPPORTED", /packed elements/);
      await assert.rejects(writeNpz(memorySink(), { t: tensor(dtype, 4) }, { bits: true }), expected);
    }
  });

  it("has no names that lead astray, or that NumPy would mix up", async () => {
    const one = tensor("U8", 1);
    const assertRefused = async (names: readonly string[], code: "INVALID_NAME" | "DUPLICATE_NAME") => {
      const sink = recordedSink();
      await assert.rejects(
        writeNpz(
          sink,
          names.map((name) => [name, one] as const),
        ),
        raises(code),
      );
      assert.deepEqual(sink.ends, ["abort"]);
      assert.equal(sink.bytes().length, 0);
    };
    for (const name of ["../a", "/a", "a//b", "./a", "a\\b", "a\0", "\ud800", "x".repeat(65_532)])
      await assertRefused(["before", name], "INVALID_NAME");
    // numpy.load("x.npz")["a.npy"] is the array `a`.
    for (const names of [
      ["a", "a"],
      ["a", "a.npy"],
      ["a.npy", "a"],
    ])
      await assertRefused(names, "DUPLICATE_NAME");
  });

  it("takes data wherever it comes from, and no more than was declared", async () => {
    const data = noise(1000);
    const dtype = "U8";
    const shape = [1000];
    const expected = memorySink();
    await writeNpz(expected, { a: { dtype, shape, data }, b: { dtype, shape, data } });
    const sink = memorySink();
    const pieces = ReadableStream.from([data.subarray(0, 400), data.subarray(400)]);
    const blob = async () => new Blob([data]);
    await writeNpz(sink, { a: { dtype, shape, data: pieces }, b: { dtype, shape, data: blob } });
    assert.deepEqual(sink.bytes(), expected.bytes());
    const endless = function* () {
      for (;;) yield data;
    };
    for (const write of [writeNpy, (to: Sink, input: TensorData) => writeNpz(to, { a: input })]) {
      const failing = recordedSink();
      await assert.rejects(
        write(failing, { dtype, shape, data: endless }),
        raises("SIZE_MISMATCH", /more came/),
      );
      assert.deepEqual(failing.ends, ["abort"]);
    }
  });

  it("that fails leaves nothing", async () => {
    const good = tensor("U8", 1000);
    for (const length of [999, 1001]) {
      const sink = recordedSink();
      const bad: TensorData = { ...good, data: noise(length) };
      await assert.rejects(writeNpz(sink, { good, bad }), raises("SIZE_MISMATCH", /"bad\.npy"/));
      assert.deepEqual(sink.ends, ["abort"]);
    }
    const refused = recordedSink();
    await assert.rejects(writeNpz(refused, { good, bad: tensor("BF16", 1) }), raises("UNSUPPORTED"));
    assert.deepEqual([refused.pieces, refused.ends], [[], ["abort"]]);
    const full = recordedSink(true, 500);
    await assert.rejects(writeNpz(full, { good }), /the disk is full/);
    assert.deepEqual(full.ends, ["abort"]);
    const stopped = recordedSink();
    const signal = AbortSignal.abort(new Error("enough"));
    await assert.rejects(writeNpz(stopped, { good }, { signal }), /enough/);
    assert.deepEqual(stopped.ends, ["abort"]);
    const deep: TensorData = { dtype: "U8", shape: Array<number>(65).fill(1), data: noise(1) };
    await assert.rejects(writeNpz(memorySink(), { deep }), raises("UNSUPPORTED", /at most 64 dimensions/));
  });

  it("has the checksums of another function, if one is given", async () => {
    const sink = memorySink();
    await writeNpz(sink, { a: tensor("U8", 10) }, { crc32: (bytes, before) => before + bytes.length });
    const zip = await openZip(fromBytes(sink.bytes()));
    assert.equal(zip.find("a.npy")!.crc32, 138);
  });

  it("tells how far it has come", async () => {
    const progress: number[][] = [];
    const onProgress = (done: number, total: number): void => void progress.push([done, total]);
    await writeNpz(
      memorySink(),
      { a: tensor("U8", 10), b: tensor("U8", 0), c: tensor("I32", 5) },
      { onProgress },
    );
    assert.deepEqual(progress, [
      [10, 30],
      [30, 30],
    ]);
  });
});

describe("an array that is written", () => {
  it("is the file that NumPy writes", async () => {
    for (const file of ["one.npy", "scalar.npy", "empty.npy"]) {
      const bytes = fixture(`numpy/${file}`);
      const sink = memorySink();
      await writeNpy(sink, (await openNumpy(fromBytes(bytes))).get("arr_0"));
      assert.deepEqual(sink.bytes(), new Uint8Array(bytes), file);
    }
  });

  it("that fails leaves nothing", async () => {
    const good = tensor("U8", 1000);
    for (const length of [999, 1001]) {
      const sink = recordedSink();
      await assert.rejects(writeNpy(sink, { ...good, data: noise(length) }), raises("SIZE_MISMATCH"));
      assert.deepEqual(sink.ends, ["abort"]);
    }
    await assert.rejects(writeNpy(memorySink(), tensor("BF16", 1)), raises("UNSUPPORTED", /no BF16/));
  });
});
