import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { pathToFileURL } from "node:url";
import fc from "fast-check";
import { open } from "../../src/checkpoint/open.ts";
import { openPath } from "../../src/node/open-path.ts";
import { type IndexItem, range } from "../../src/view/index-items.ts";
import { openPool, type PoolInput, type PoolOptions } from "../../src/workers/index.ts";
import { fixture, fixturePath } from "../fixtures.ts";
import { FileServer } from "../source/http-server.ts";
import { handMade, numbers, raises, temporaryFolder } from "../support.ts";
import { assertSame, everyDtype, expected, tensorOf } from "./checkpoints.ts";

const folder = temporaryFolder();
const FILE = everyDtype();
const path = join(folder, "every-dtype.safetensors");
writeFileSync(path, FILE);

describe("a pool", () => {
  it("reads every dtype as one thread does, from whatever it is given", async () => {
    const { url } = await FileServer.start(FILE);
    const inputs: [string, PoolInput][] = [
      ["path", path],
      ["file URL", pathToFileURL(path)],
      ["address", url],
      ["URL", new URL(url)],
      ["Blob", new Blob([FILE])],
      ["bytes", FILE],
      ["ArrayBuffer", FILE.buffer],
      ["SharedArrayBuffer", new Uint8Array(new SharedArrayBuffer(FILE.length)).fill(0).buffer],
    ];
    new Uint8Array(inputs.at(-1)![1] as SharedArrayBuffer).set(FILE);
    await using checkpoint = await open(FILE);
    for (const [kind, input] of inputs) {
      await using pool = await openPool(input, { workers: kind === "path" ? 2 : 1 });
      assert.equal(await assertSame(pool, checkpoint), 24, kind);
    }
  });

  it("knows the headers", async () => {
    const file = handMade({ a: tensorOf("F16", [2, 3]) }, { format: "pt" });
    await using pool = await openPool(file, { workers: 1 });
    assert.deepEqual([pool.format, pool.size, [...pool.metadata]], ["safetensors", 1, [["format", "pt"]]]);
    assert.deepEqual([pool.has("a"), pool.has("b"), pool.problems], [true, false, []]);
    assert.deepEqual(pool.info("a"), { name: "a", dtype: "F16", shape: [2, 3], byteLength: 12 });
    assert.throws(() => pool.info("b"), raises("TENSOR_NOT_FOUND", /"b"/, { tensor: "b" }));
  });

  it("lists the problems of a file that is read leniently", async () => {
    const file = new Uint8Array([...handMade({ a: tensorOf("U8", [3]) }), 0]);
    await assert.rejects(openPool(file, { workers: 2 }), raises("TRAILING_BYTES"));
    await using pool = await openPool(file, { workers: 2, mode: "lenient" });
    assert.equal(pool.problems.length, 1);
    assert.throws(() => {
      throw pool.problems[0];
    }, raises("TRAILING_BYTES"));
  });

  it("reads PyTorch files, whatever the strides, as PyTorch itself does", async () => {
    type Golden = Record<string, { tensors?: { name: string; sha256: string }[] }>;
    const goldens: Golden = JSON.parse(new TextDecoder().decode(fixture("torch/expected.json")));
    for (const file of ["dtypes-2d.pt", "non-contiguous.pt", "views.pt"]) {
      await using checkpoint = await openPath(fixturePath(`torch/${file}`));
      await using pool = await openPool(fixturePath(`torch/${file}`), { workers: 1 });
      assert.equal(pool.format, "torch");
      await assertSame(pool, checkpoint);
      for (const { name, sha256 } of goldens[file]!.tensors!) {
        const { bytes } = await pool.get(name);
        assert.equal(createHash("sha256").update(bytes).digest("hex"), sha256, `${file}: ${name}`);
      }
    }
    await using checkpoint = await openPath(fixturePath("torch/sharded"));
    await using pool = await openPool(fixturePath("torch/sharded"), { workers: 2 });
    assert.ok((await assertSame(pool, checkpoint)) > 1);
  });

  it("reads the part that is asked for", async () => {
    await using pool = await openPool(path, { workers: 2 });
    await using checkpoint = await open(FILE);
    const slices = new Map<string, readonly IndexItem[]>([
      ["BF16", [range(4, 1, -2), null, [3, 1]]],
      ["F4", [1, 2, range(1, 4)]],
      ["I64", ["...", -1]],
    ]);
    const names: string[] = [];
    for await (const { name, dtype, shape, bytes } of pool.read({
      names: slices.keys(),
      slices,
      as: "F32",
    })) {
      names.push(name);
      const wanted = await expected(checkpoint, name, "F32", slices.get(name));
      assert.deepEqual({ dtype, shape, bytes: new Uint8Array(bytes) }, wanted);
    }
    assert.deepEqual(names.sort(), ["BF16", "F4", "I64"]);
    const part = await pool.get("U8", { slice: [0, 1] });
    assert.deepEqual(part.shape, [10]);
    const floats: Float32Array = (await pool.get("F16", { as: "F32" })).data();
    assert.deepEqual(floats, await checkpoint.get("F16").toFloat32());
    const given: string[] = [];
    for await (const { name } of pool.read({ names: ["U8", "F64", "BOOL"], order: "given" }))
      given.push(name);
    assert.deepEqual(given, ["U8", "F64", "BOOL"]);
  });

  it("reads any part of any tensor as one thread does", async () => {
    await using pool = await openPool(path, { workers: 2 });
    await using checkpoint = await open(FILE);
    const bound = fc.option(fc.integer({ min: -12, max: 12 }));
    const item = fc.oneof(
      fc.record({ start: bound, stop: bound, step: fc.constantFrom(1, 2, -1, -3) }),
      fc.constant(null),
      fc.array(fc.integer({ min: -4, max: 3 }), { maxLength: 3 }),
    );
    const same = fc.asyncProperty(
      fc.constantFrom(...checkpoint.keys()),
      fc.constantFrom("bytes" as const, "F32" as const),
      fc.array(item, { maxLength: 3 }),
      async (name, form, slice) => {
        const wanted = await expected(checkpoint, name, form, slice).catch(
          (error: { code: string }) => error.code,
        );
        const found = await pool
          .get(name, { as: form, slice })
          .then(({ dtype, shape, bytes }) => ({ dtype, shape, bytes: new Uint8Array(bytes) }))
          .catch((error: { code: string }) => error.code);
        assert.deepEqual(found, wanted);
      },
    );
    await fc.assert(same, { seed: 42, numRuns: 60 });
  });

  it("cuts large tensors for all workers", async () => {
    const next = numbers(3);
    const file = join(folder, "large.safetensors");
    const tensors = {
      bf16: tensorOf("BF16", [1, 901, 5000]),
      f4: tensorOf("F4", [2850, 6000]),
      f64: tensorOf("F64", [3, 360_000]),
      small: tensorOf("U8", [next() % 1000]),
    };
    writeFileSync(file, handMade(tensors));
    await using checkpoint = await openPath(file);
    await using pool = await openPool(file, { workers: 2 });
    await assertSame(pool, checkpoint);
    const slice = [null, range(900, 1, -1), range(7, 4900)];
    const { bytes } = await pool.get("bf16", { as: "F32", slice });
    assert.ok(Buffer.compare(bytes, (await expected(checkpoint, "bf16", "F32", slice)).bytes) === 0);
  });

  it("reads thousands of small tensors, several calls at a time", async () => {
    const names = Array.from({ length: 4000 }, (_, i) => `t.${i}`);
    const file = handMade(Object.fromEntries(names.map((name, i) => [name, tensorOf("BF16", [5, 3], i)])));
    await using checkpoint = await open(file);
    await using pool = await openPool(file, { workers: 2 });
    const readAll = async (form: "bytes" | "F32"): Promise<number> => {
      let count = 0;
      for await (const { name, bytes } of pool.read({ as: form })) {
        assert.equal(name, names[count++]);
        if (count % 100 === 0)
          assert.deepEqual(new Uint8Array(bytes), (await expected(checkpoint, name, form)).bytes);
      }
      return count;
    };
    assert.deepEqual(await Promise.all([readAll("bytes"), readAll("F32")]), [4000, 4000]);
  });

  it("refuses what it cannot open, and says why", async () => {
    const rejects = (
      input: unknown,
      options: PoolOptions,
      code: Parameters<typeof raises>[0],
      message?: RegExp,
    ) => assert.rejects(openPool(input as PoolInput, { workers: 1, ...options }), raises(code, message));
    await rejects(join(folder, "missing"), {}, "NOT_FOUND", /missing/);
    await rejects(
      new TextEncoder().encode("version https://git-lfs.github.com/spec/v1\noid x\n"),
      {},
      "NOT_SAFETENSORS",
    );
    await rejects(fixture("torch/os-system.pt"), {}, "FORBIDDEN_GLOBAL");
    await rejects(7, {}, "UNSUPPORTED", /"7"/);
    await rejects(FILE, { workers: 0 }, "OUT_OF_RANGE", /workers/);
    await rejects(FILE, { workers: 1.5 }, "OUT_OF_RANGE");
    await assert.rejects(openPool(FILE, { signal: AbortSignal.abort(new Error("enough")) }), /enough/);
  });

  it("passes errors on with their details", async () => {
    await using pool = await openPool(path, { workers: 2 });
    await assert.rejects(pool.get("missing"), raises("TENSOR_NOT_FOUND", /"missing"/, { tensor: "missing" }));
    await assert.rejects(pool.get("U8", { slice: [99] }), raises("OUT_OF_RANGE", /dimension 0/));
    await assert.rejects(pool.get("U8", { as: "F16" as "F32" }), raises("UNSUPPORTED", /"F16"/));
    const odd = { step: 2, why: () => 0 };
    const slice: readonly IndexItem[] = [odd];
    await assert.rejects(pool.get("U8", { slice }), { name: "DataCloneError" });
    assert.equal((await pool.get("U8")).bytes.length, 240, "and works as before");
  });

  it("tells when a file is cut while it is read", async () => {
    const cut = join(folder, "cut.safetensors");
    writeFileSync(cut, FILE);
    await using pool = await openPool(cut, { workers: 1 });
    writeFileSync(cut, FILE.subarray(0, FILE.length - 1));
    const last = [...pool.keys()].at(-1)!;
    await assert.rejects(pool.get(last), raises("SHORT_READ", /cut/, { tensor: last, file: cut }));
  });
});
