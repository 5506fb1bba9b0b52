import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { crc32 } from "node:zlib";
import fc from "fast-check";
import { openSafetensors } from "../../../src/checkpoint/safetensors.ts";
import { DTYPE_ORDER, DTYPES, type Dtype, elementCount } from "../../../src/dtype/dtype.ts";
import { memorySink, save } from "../../../src/save/index.ts";
import type { TensorData } from "../../../src/save/save.ts";
import { fromBytes } from "../../../src/source/memory.ts";
import { groupAliases, openTorch, type WriteTorchOptions, writeTorch } from "../../../src/torch/index.ts";
import { openZip } from "../../../src/zip/archive.ts";
import { fixture } from "../../fixtures.ts";
import { recordedSink } from "../../save/sinks.ts";
import { noise, raises } from "../../support.ts";

const TORCH_DTYPES = DTYPE_ORDER.filter((dtype) => !dtype.startsWith("F6_"));

async function written(
  inputs: Parameters<typeof writeTorch>[1],
  options?: WriteTorchOptions,
): Promise<Uint8Array> {
  const sink = memorySink();
  await writeTorch(sink, inputs, options);
  return sink.bytes();
}

function tensor(dtype: Dtype, shape: readonly number[], seed = 1): TensorData {
  return { dtype, shape, data: noise((elementCount(shape) * DTYPES[dtype].bits) / 8, seed) };
}

/** The bytes of each record, in the order of the file, without the folder. */
async function recordsOf(file: Uint8Array): Promise<Map<string, Uint8Array>> {
  const zip = await openZip(fromBytes(file));
  const offsets = await zip.dataOffsets();
  return new Map(
    zip.names().map((name, row) => {
      const { size } = zip.find(name)!;
      return [name.slice(name.indexOf("/") + 1), file.slice(offsets[row]!, offsets[row]! + size)];
    }),
  );
}

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

/** The file with zeros for its identification and the two checksums of that: nothing else may differ between writers. */
async function withoutId(file: Uint8Array): Promise<Buffer> {
  const bytes = Buffer.from(file);
  const zip = await openZip(fromBytes(file));
  const id = zip.names().find((name) => name.endsWith("/.data/serialization_id"))!;
  const data = (await zip.dataOffsets())[zip.find(id)!.row]!;
  assert.match(latin1(bytes.subarray(data, data + 40)), /^\d{40}$/);
  bytes.fill(0, data, data + 48);
  const entry = bytes.lastIndexOf(id) - 46;
  return bytes.fill(0, entry + 16, entry + 20);
}

describe("data", () => {
  it("is written wherever it comes from", async () => {
    const { dtype, shape, data } = tensor("F32", [10]);
    const bytes = data as Uint8Array<ArrayBuffer>;
    const expected = await written({ x: { dtype, shape, data } });
    const pieces = ReadableStream.from([bytes.subarray(0, 7), bytes.subarray(7)]);
    for (const other of [pieces, new Blob([bytes]), async () => [bytes]]) {
      assert.deepEqual(await written({ x: { dtype, shape, data: other } }), expected);
    }
  });
});

describe("what torch.save wrote, read and written again", () => {
  it("is the same file but for its identification", async () => {
    const file = fixture("torch/buffer.pt");
    const again = await written(await openTorch(fromBytes(file)));
    assert.equal(latin1(await withoutId(again)), latin1(await withoutId(file)));
  });

  for (const name of ["dtypes", "names", "torch-2.1"]) {
    it(`has the same pickle and the same storages (${name}.pt)`, async () => {
      const file = fixture(`torch/${name}.pt`);
      const theirs = await recordsOf(file);
      const ours = await recordsOf(await written(await openTorch(fromBytes(file))));
      for (const [record, bytes] of theirs) {
        if (record !== ".data/serialization_id") {
          assert.equal(latin1(ours.get(record)!), latin1(bytes), record);
        }
      }
    });
  }
});

describe("writeTorch", () => {
  it("writes the records of torch.save in its order, aligned, with checksums", async () => {
    const inputs = {
      a: tensor("F32", [3, 5]),
      empty: tensor("I64", [0, 2]),
      b: tensor("BOOL", []),
      c: tensor("U8", [70_001]),
    };
    const file = await written(inputs);
    const zip = await openZip(fromBytes(file));
    const records = [
      "data.pkl",
      ".format_version",
      ".storage_alignment",
      "byteorder",
      ...["0", "1", "2", "3"].map((key) => `data/${key}`),
      "version",
      ".data/serialization_id",
    ];
    assert.deepEqual(
      zip.names(),
      records.map((record) => `archive/${record}`),
    );
    const offsets = await zip.dataOffsets();
    for (const [row, name] of zip.names().entries()) {
      const entry = zip.find(name)!;
      const bytes = file.subarray(offsets[row]!, offsets[row]! + entry.size);
      assert.equal(offsets[row]! % 64, 0, name);
      assert.equal(entry.crc32, crc32(bytes), name);
      assert.equal(entry.method, 0);
      assert.equal(entry.flags, entry.size === 0 ? 0x0800 : 0x0808);
    }
    const found = await recordsOf(file);
    for (const [index, { data }] of Object.values(inputs).entries())
      assert.deepEqual(found.get(`data/${index}`), data);
  });

  it("writes all dtypes that torch has, in any shape", async () => {
    const inputs = new Map<string, TensorData>();
    for (const dtype of TORCH_DTYPES) {
      for (const shape of [[], [0], [3, 0], [0, 2], [2, 3, 4], [1, 1, 1, 1, 2], [300], [70_000]]) {
        if (dtype !== "F4" || shape.length > 0) inputs.set(`${dtype} ${shape}`, tensor(dtype, shape));
      }
    }
    await using checkpoint = await openTorch(fromBytes(await written(inputs)));
    assert.deepEqual([...checkpoint.keys()], [...inputs.keys()]);
    for (const found of checkpoint) {
      const { dtype, shape, data } = inputs.get(found.name)!;
      assert.deepEqual([found.dtype, found.shape], [dtype, shape], found.name);
      assert.deepEqual(await found.bytes(), data, found.name);
    }
  });

  it("writes any number of tensors, their entries in batches as Python does", async () => {
    for (const [count, batches] of [
      [0, 0],
      [1, 0],
      [2, 1],
      [999, 1],
      [1000, 2],
      [1001, 2],
      [2000, 3],
    ] as const) {
      const inputs = Array.from({ length: count }, (_, i) => [`t${i}`, tensor("U8", [1], i)] as const);
      const file = await written(inputs);
      const pickle = (await recordsOf(file)).get("data.pkl")!;
      // SETITEMS comes after the REDUCE of a tensor and its BINPUT, or after the MARK of a batch without entries.
      assert.equal(
        latin1(pickle).match(/(?<=Rq.|Rr....|\()u(?=[(.])/gs)?.length ?? 0,
        batches,
        `${count} tensors`,
      );
      if (count === 0) continue;
      await using checkpoint = await openTorch(fromBytes(file));
      assert.deepEqual(
        [...checkpoint.keys()],
        inputs.map(([name]) => name),
      );
      assert.deepEqual(await checkpoint.get(`t${count - 1}`).bytes(), inputs.at(-1)![1].data);
    }
  });

  it("takes many tensors in little memory and few writes", async () => {
    let [size, writes, largest] = [0, 0, 0];
    const sink = {
      write(bytes: Uint8Array): void {
        size += bytes.length;
        writes++;
        largest = Math.max(largest, bytes.length);
      },
      async commit(): Promise<void> {},
      async abort(): Promise<void> {},
    };
    const one = tensor("F32", [2]);
    const count = 20_000;
    const inputs = Array.from({ length: count }, (_, index) => [`layer.${index}.weight`, one] as const);
    await writeTorch(sink, inputs);
    // The largest are pickle and directory, which are whole in memory: about 100 and 65 bytes for each tensor.
    assert.ok(largest < count * 120, `${largest}`);
    assert.ok(writes < 100, `${writes}`);
    assert.ok(size > count * (64 + 64));
  });

  it("gives the same bytes each time, and however the data comes", async () => {
    const tensors = { b: tensor("F32", [200, 300], 1), a: tensor("BF16", [7], 2), c: tensor("U8", [0], 3) };
    const direct = await written(tensors);
    const safetensors = memorySink();
    await save(safetensors, tensors);
    const handles = await openSafetensors(fromBytes(safetensors.bytes()));
    const fromHandles = Object.keys(tensors).map((name) => [name, handles.get(name)] as const);
    const slow = recordedSink(true);
    await writeTorch(slow, fromHandles);
    assert.deepEqual(slow.ends, ["commit"]);
    for (const again of [await written(tensors), await written(fromHandles), slow.bytes()])
      assert.deepEqual(again, direct);
  });

  it("reports progress in bytes of data", async () => {
    const seen: [number, number][] = [];
    const inputs = { a: tensor("U8", [3_000_000]), b: tensor("F32", [2]), c: tensor("F32", [0]) };
    await written(inputs, { onProgress: (done, total) => seen.push([done, total]) });
    assert.equal(seen.length, 4);
    assert.deepEqual(seen.at(-1), [3_000_008, 3_000_008]);
    assert.ok(seen.every(([done], index) => index === 0 || done > seen[index - 1]![0]));
  });

  it("takes checksums from elsewhere", async () => {
    const inputs = { a: tensor("U8", [2_500_000]) };
    assert.deepEqual(await written(inputs, { crc32 }), await written(inputs));
  });
});

describe("tied tensors", () => {
  const inputs = { "wte.weight": tensor("F32", [4, 2], 1), bias: tensor("F32", [2], 2) };

  it("become tensors over one storage, after the one that they are named for", async () => {
    const aliases = { "lm_head.weight": "wte.weight", "a.weight": "wte.weight" };
    const file = await written(inputs, { aliases });
    assert.deepEqual(file, await written(inputs, { aliases: new Map(Object.entries(aliases).reverse()) }));
    await using checkpoint = await openTorch(fromBytes(file));
    assert.deepEqual([...checkpoint.keys()], ["wte.weight", "a.weight", "lm_head.weight", "bias"]);
    const offsets = Array.from(checkpoint, ({ view }) => ("pieces" in view ? undefined : view.bitOffset));
    assert.equal(new Set(offsets.slice(0, 3)).size, 1);
    assert.notEqual(offsets[3], offsets[0]);
    const data = [...(await recordsOf(file)).keys()].filter((record) => record.startsWith("data/"));
    assert.deepEqual(data, ["data/0", "data/1"]);
  });

  it("are found in the metadata of a checkpoint", async () => {
    const sink = memorySink();
    const metadata = {
      format: "pt",
      "lm_head.weight": "wte.weight",
      bias: "wte.weight",
      other: "none",
      pt: "bias",
    };
    await save(sink, { ...inputs, pt: tensor("U8", [1]) }, { metadata });
    const source = await openSafetensors(fromBytes(sink.bytes()));
    await using checkpoint = await openTorch(fromBytes(await written(source)));
    assert.deepEqual([...checkpoint.keys()].sort(), ["bias", "lm_head.weight", "pt", "wte.weight"]);
    assert.deepEqual(await checkpoint.get("lm_head.weight").bytes(), inputs["wte.weight"].data);
    assert.deepEqual(await checkpoint.get("bias").bytes(), inputs.bias.data);
    await using without = await openTorch(fromBytes(await written(source, { aliases: {} })));
    assert.deepEqual([...without.keys()].sort(), ["bias", "pt", "wte.weight"]);
  });

  it("stay tied from PyTorch to PyTorch", async () => {
    const source = await openTorch(fromBytes(fixture("torch/tied.pt")));
    await using checkpoint = await openTorch(
      fromBytes(await written(source, { aliases: { more: "lm_head.weight" } })),
    );
    assert.deepEqual(
      [...groupAliases(checkpoint).aliases],
      [
        ["lm_head.weight", "copy"],
        ["more", "copy"],
        ["wte.weight", "copy"],
      ],
    );
    for (const { name } of source)
      assert.deepEqual(await checkpoint.get(name).bytes(), await source.get(name).bytes());
    const wrong = written(source, { aliases: { "wte.weight": "h.bias" } });
    await assert.rejects(wrong, raises("DUPLICATE_NAME", /"wte.weight" is the name of a tensor/));
  });
});

describe("what cannot be written", () => {
  const good = tensor("F32", [2]);
  const f6: Dtype = "F6_E2M3";
  const refused: readonly (readonly [
    string,
    Parameters<typeof writeTorch>[1],
    Parameters<typeof raises>,
    WriteTorchOptions?,
  ])[] = [
    [
      "a dtype that torch lacks",
      { good, x: tensor(f6, [4]) },
      ["UNSUPPORTED", /"x" is F6_E2M3/, { tensor: "x" }],
    ],
    ["the other of them", { good, x: tensor("F6_E3M2", [0]) }, ["UNSUPPORTED", /"x" is F6_E3M2/]],
    [
      "an odd row of 4-bit floats",
      { good, x: tensor("F4", [2, 3]) },
      ["UNSUPPORTED", /in pairs along the last dimension/],
    ],
    ["half a byte", { x: { ...good, dtype: "F4", shape: [3] } }, ["MISALIGNED"]],
    [
      "strides beyond 2^53",
      { x: tensor("U8", [2 ** 40, 0, 2 ** 40]) },
      ["UNSUPPORTED", /strides are beyond/],
    ],
    ["an impossible size", { x: { ...good, shape: [2 ** 40, 2 ** 40] } }, ["SIZE_OVERFLOW"]],
    ["a negative size", { x: { ...good, shape: [-1] } }, ["INVALID_TENSOR"]],
    [
      "a name twice",
      [
        ["x", good],
        ["x", good],
      ],
      ["DUPLICATE_NAME"],
    ],
    ["half of a surrogate pair", { "\ud800": good }, ["INVALID_NAME"]],
    ["the same in an alias", { good }, ["INVALID_NAME"], { aliases: { "\ud800": "good" } }],
    ["an alias of nothing", { good }, ["TENSOR_NOT_FOUND", /stands for "bad"/], { aliases: { x: "bad" } }],
    ["an alias with a tensor's name", { good, x: good }, ["DUPLICATE_NAME"], { aliases: { x: "good" } }],
  ];
  for (const [what, inputs, error, options] of refused) {
    it(`is refused before anything is written: ${what}`, async () => {
      const sink = recordedSink();
      await assert.rejects(writeTorch(sink, inputs, options), raises(...error));
      assert.deepEqual([sink.pieces, sink.ends], [[], ["abort"]]);
    });
  }

  it("aborts the sink, and stops reading, when there is no end of the data", async () => {
    const endless = function* () {
      for (;;) yield noise(5);
    };
    const sink = recordedSink();
    const x: TensorData = { dtype: "U8", shape: [99], data: endless };
    await assert.rejects(writeTorch(sink, { x }), raises("SIZE_MISMATCH", /"x" .* more came/));
    assert.deepEqual(sink.ends, ["abort"]);
  });

  it("aborts the sink: too few or too many bytes, no memory, a full disk, a signal", async () => {
    const failing = async (
      inputs: Parameters<typeof writeTorch>[1],
      sink = recordedSink(),
      options = {},
    ): Promise<void> => {
      try {
        await writeTorch(sink, inputs, options);
      } finally {
        assert.deepEqual(sink.ends, ["abort"]);
      }
    };
    await assert.rejects(
      failing({ x: { ...good, shape: [3] } }),
      raises("SIZE_MISMATCH", /12 bytes, but only 8 came/),
    );
    await assert.rejects(
      failing({ x: { ...good, shape: [1] } }),
      raises("SIZE_MISMATCH", /4 bytes, but more came/),
    );
    await assert.rejects(failing({ x: { ...good, shape: [0] } }), raises("SIZE_MISMATCH"));
    const noMemory = { ...good, data: "text" } as unknown as TensorData;
    await assert.rejects(failing({ x: noMemory }), raises("INVALID_TENSOR"));
    const large = { x: tensor("U8", [3_000_000]) };
    for (const failAt of [100, 1_000_000, 2_999_000]) {
      await assert.rejects(failing(large, recordedSink(true, failAt)), /the disk is full/);
    }
    const controller = new AbortController();
    const options = { signal: controller.signal, onProgress: () => controller.abort(new Error("enough")) };
    await assert.rejects(failing(large, recordedSink(), options), /enough/);
  });
});

describe("any state dict", () => {
  const dtype = fc.constantFrom(...TORCH_DTYPES);
  const shape = fc.array(fc.nat(4), { maxLength: 5 });
  const anyTensor = fc.tuple(dtype, shape, fc.nat()).map(([dtype, shape, seed]) => {
    // Pairs of 4-bit floats lie along the last dimension.
    return tensor(dtype, dtype === "F4" ? [...shape, 2] : shape, seed);
  });
  const stateDict = fc.uniqueArray(fc.tuple(fc.string({ unit: "binary", maxLength: 12 }), anyTensor), {
    selector: ([name]) => name,
    minLength: 1,
    maxLength: 12,
  });

  it("is read back as it was", async () => {
    await fc.assert(
      fc.asyncProperty(stateDict, fc.array(fc.nat(), { maxLength: 4 }), async (entries, tied) => {
        const aliases = new Map(
          tied.map((pick, i) => [`alias of tensor ${i}`, entries[pick % entries.length]![0]]),
        );
        await using checkpoint = await openTorch(fromBytes(await written(entries, { aliases })));
        assert.equal(checkpoint.size, entries.length + aliases.size);
        for (const [name, { dtype, shape, data }] of entries) {
          for (const one of [
            name,
            ...[...aliases].filter(([, kept]) => kept === name).map(([alias]) => alias),
          ]) {
            const handle = checkpoint.get(one);
            assert.deepEqual([handle.dtype, handle.shape], [dtype, shape]);
            assert.deepEqual(await handle.bytes(), data);
          }
        }
      }),
      { seed: 42, numRuns: 80 },
    );
  });
});
