import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { open } from "../../src/checkpoint/open.ts";
import { readHead } from "../../src/checkpoint/safetensors.ts";
import type { Dtype } from "../../src/dtype/dtype.ts";
import type { ErrorCode } from "../../src/errors.ts";
import { npyHeader, numpyReader, openNumpy } from "../../src/numpy/index.ts";
import { fromBlob } from "../../src/source/blob.ts";
import { fromBytes } from "../../src/source/memory.ts";
import { torchReader } from "../../src/torch/index.ts";
import { fixture } from "../fixtures.ts";
import { raises } from "../support.ts";

interface ExpectedTensor {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly sha256: string;
}

/** What NumPy itself found in a file; see interop/make_numpy_fixtures.py. */
interface Expected {
  readonly tensors?: readonly ExpectedTensor[];
  readonly refused?: ErrorCode;
  readonly tensor?: string;
}

const json = (name: string): unknown => JSON.parse(new TextDecoder().decode(fixture(`numpy/${name}`)));
const ALL = json("expected.json") as Readonly<Record<string, Expected>>;

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

for (const [file, { tensors, refused, tensor }] of Object.entries(ALL)) {
  const bytes = fixture(`numpy/${file}`);
  if (refused) {
    test(`${file} is refused: ${refused}`, async () => {
      const reason = raises(refused, new RegExp(`array "${tensor}": its? `), { tensor: tensor! });
      await assert.rejects(openNumpy(fromBytes(bytes)), reason);
    });
    continue;
  }

  for (const [kind, source] of [
    ["memory", () => fromBytes(bytes)],
    ["a Blob", () => fromBlob(new Blob([bytes.slice()]))],
  ] as const) {
    test(`${file} in ${kind} holds what NumPy finds in it, one by one and all at once`, async () => {
      const checkpoint = await openNumpy(source());
      const found: ExpectedTensor[] = [];
      for (const { name, dtype, shape } of checkpoint) {
        found.push({ name, dtype, shape, sha256: sha256(await checkpoint.get(name).bytes()) });
      }
      assert.deepEqual(found, tensors);
      const loaded = await checkpoint.load();
      assert.deepEqual(
        Array.from(loaded.values(), (one) => sha256(one.bytes)),
        tensors!.map((one) => one.sha256),
      );
      assert.equal(checkpoint.format, "numpy");
      await checkpoint.close();
    });
  }

  test(`${file} is recognised by its content`, async () => {
    const head = await readHead(fromBytes(bytes));
    // An archive of nothing could be anything.
    assert.equal(numpyReader.recognises(head), file !== "nothing.npz");
    assert.equal(torchReader.recognises(head), false);
    if (file === "nothing.npz") return;
    const checkpoint = await open(bytes, { readers: [torchReader, numpyReader] });
    assert.equal(checkpoint.size, tensors!.length);
  });
}

test("a part of an array is read, whatever its order in the file", async () => {
  const fortran = (await openNumpy(fromBytes(fixture("numpy/fortran.npy")))).get("arr_0");
  const whole = await fortran.data();
  const part = await fortran.slice(2, 1, [0, 4]).data();
  assert.deepEqual([...part.subarray(0, 2)], [whole[2 * 20 + 5], whole[2 * 20 + 9]]);
  const big = (await openNumpy(fromBytes(fixture("numpy/big-endian.npy")))).get("arr_0");
  const values = await big.data();
  assert.deepEqual(await big.slice(3, 1).data(), values.slice(16, 17));
});

test("arrays that cannot be read are no matter where others are asked for", async () => {
  const source = fromBytes(fixture("numpy/objects.npz"));
  const checkpoint = await openNumpy(source, { names: ["fine"] });
  assert.deepEqual([...checkpoint.keys()], ["fine"]);
  assert.equal((await checkpoint.get("fine").bytes()).length, 24);
});

test("a refusal says why", async () => {
  for (const [file, reason] of [
    ["objects.npy", /pickle, which is never run \(\|O\)/],
    ["structured.npy", /structured elements/],
    ["structured-unicode.npy", /structured elements/],
    ["strings.npy", /holds strings \(<U2\)/],
    ["bytes.npy", /holds byte strings \(\|S2\)/],
    ["dates.npy", /dates or times/],
    ["times.npy", /dates or times/],
    ["complex128.npy", /128-bit complex numbers/],
    ["longdouble.npy", /extended-precision floats/],
    ["void.npy", /elements without a type/],
    ["bfloat16.npy", /save their bits/],
    ["float8-e4m3.npy", /save their bits/],
    ["float8-e5m2.npy", /save their bits/],
    ["two.npy", /end at byte 152, 152 more bytes follow/],
  ] as const) {
    const code = file === "two.npy" ? "TRAILING_BYTES" : "UNSUPPORTED";
    await assert.rejects(openNumpy(fromBytes(fixture(`numpy/${file}`))), raises(code, reason), file);
  }
});

test("headers are written as NumPy writes them", () => {
  const headers = json("headers.json") as readonly { dtype: Dtype; shape: number[]; header: string }[];
  assert.ok(headers.length > 100);
  for (const { dtype, shape, header } of headers) {
    assert.equal(Buffer.from(npyHeader(dtype, shape)).toString("latin1"), header, `${dtype} [${shape}]`);
  }
});
