import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";
import type { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { withoutDigests } from "../../src/checkpoint/digest-keys.ts";
import { open } from "../../src/checkpoint/open.ts";
import { hashTensors, verifyTensors } from "../../src/manifest/hash-tensors.ts";
import { digestMetadata, manifestInMetadata } from "../../src/manifest/in-metadata.ts";
import { type VerifyOptions, verifying } from "../../src/manifest/verifying.ts";
import { handMade, noise, raises } from "../support.ts";

const DATA = noise(24, 5);
const tensor = { dtype: "F32", shape: [2, 3], data: DATA };
const sha256Of = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

const good = (): Promise<Checkpoint> => open(handMade({ a: tensor, b: { ...tensor, dtype: "I32" } }));

/** The same, with one bit of `b` changed. */
async function damaged(): Promise<Checkpoint> {
  const file = handMade({ a: tensor, b: { ...tensor, dtype: "I32" } });
  file[file.length - 1]! ^= 1;
  return open(file);
}

const WAYS: Readonly<Record<string, (checkpoint: Checkpoint, name: string) => Promise<unknown>>> = {
  bytes: (checkpoint, name) => checkpoint.get(name).bytes(),
  data: (checkpoint, name) => checkpoint.get(name).data(),
  toFloat32: (checkpoint, name) => checkpoint.get(name).toFloat32(),
  readInto: (checkpoint, name) => checkpoint.get(name).readInto(new Float32Array(6)),
  chunks: async (checkpoint, name) => {
    for await (const _ of checkpoint.get(name).chunks(new Uint8Array(5)));
  },
  read: async (checkpoint, name) => {
    for await (const _ of checkpoint.read({ names: [name] }));
  },
  load: (checkpoint, name) => checkpoint.load({ names: [name] }),
  iteration: async (checkpoint, name) => {
    for (const one of checkpoint) if (one.name === name) await one.bytes();
  },
};

describe("verifying", () => {
  for (const [way, read] of Object.entries(WAYS)) {
    it(`compares what comes by ${way}`, async () => {
      const manifest = { tensors: await hashTensors(await good()) };
      const hasher = (): ReturnType<typeof createHash> => createHash("sha256");
      for (const options of [{}, { hasher }] satisfies VerifyOptions[]) {
        const checked = verifying(await damaged(), manifest, options);
        await read(checked, "a");
        await assert.rejects(
          read(checked, "b"),
          raises("DIGEST_MISMATCH", /"b" has other data/, { tensor: "b" }),
        );
      }
    });
  }

  it("gives what the checkpoint gives", async () => {
    const whole = await open(handMade({ a: tensor }, { k: "v" }));
    const checked = verifying(whole, { tensors: await hashTensors(whole) });
    assert.deepEqual([...checked.keys()], ["a"]);
    assert.deepEqual([checked.size, checked.format, [...checked.metadata]], [1, "safetensors", [["k", "v"]]]);
    assert.deepEqual(await checked.get("a").bytes(), DATA);
    assert.deepEqual((await checked.load()).get("a")!.bytes, DATA);
    assert.throws(() => checked.get("x"), raises("TENSOR_NOT_FOUND"));
    assert.equal(checked.has("x"), false);
  });

  it("lets slices pass, which have no digest", async () => {
    const checked = verifying(await damaged(), { tensors: await hashTensors(await good()) });
    assert.equal((await checked.get("b").slice(0).bytes()).length, 12);
    const slices = new Map([["b", [0]]]);
    assert.equal((await checked.load({ names: ["b"], slices })).get("b")!.bytes.length, 12);
    for await (const { bytes } of checked.read({ names: ["b"], slices })) assert.equal(bytes.length, 12);
  });

  it("does not read what cannot be right: unknown tensors, other dtypes and shapes", async () => {
    const digest = { dtype: "F32", shape: [3, 2], sha256: sha256Of(DATA) } as const;
    let reads = 0;
    const file = handMade({ a: tensor });
    const read = async (at: number, length: number): Promise<Uint8Array> => {
      reads++;
      return file.slice(at, at + length);
    };
    const whole = await open({ size: file.length, read }, { head: file });
    const shape = verifying(whole, { tensors: new Map([["a", digest]]) });
    await assert.rejects(
      shape.get("a").bytes(),
      raises("DIGEST_MISMATCH", /is F32 \[2, 3], the manifest says F32 \[3, 2]/),
    );
    const unknown = verifying(whole, { tensors: new Map() });
    await assert.rejects(
      unknown.get("a").readInto(new Uint8Array(24)),
      raises("DIGEST_MISMATCH", /not in the manifest/),
    );
    assert.equal(reads, 0);
  });

  it("gives a hasher pieces, as that of node:crypto refuses two gigabytes", async () => {
    const data = new Uint8Array((16 << 20) + 5).fill(1);
    const whole = await open(handMade({ a: { dtype: "U8", shape: [data.length], data } }));
    const manifest = { tensors: await hashTensors(whole, { hasher: () => createHash("sha256") }) };
    let most = 0;
    const hasher = () => {
      const hash = createHash("sha256");
      const update = (bytes: Uint8Array): void => {
        most = Math.max(most, bytes.length);
        hash.update(bytes);
      };
      return { update, digest: () => hash.digest() };
    };
    await verifying(whole, manifest, { hasher }).get("a").bytes();
    assert.equal(most, 16 << 20);
  });

  it("works without WebCrypto, and for shared memory", async () => {
    const manifest = { tensors: await hashTensors(await good()) };
    const original = Object.getOwnPropertyDescriptor(globalThis, "crypto")!;
    Object.defineProperty(globalThis, "crypto", { value: undefined, configurable: true });
    try {
      await verifying(await good(), manifest)
        .get("a")
        .bytes();
      await assert.rejects(
        verifying(await damaged(), manifest)
          .get("b")
          .bytes(),
        raises("DIGEST_MISMATCH"),
      );
    } finally {
      Object.defineProperty(globalThis, "crypto", original);
    }
    await verifying(await good(), manifest)
      .get("a")
      .readInto(new Uint8Array(new SharedArrayBuffer(24)));
  });
});

describe("hashTensors and verifyTensors", () => {
  it("take the bytes of each tensor, wherever it lies", async () => {
    const digests = await hashTensors(await good());
    assert.deepEqual(digests.get("a"), { dtype: "F32", shape: [2, 3], sha256: sha256Of(DATA) });
    const other = await open(handMade({ x: { dtype: "U8", shape: [3], data: noise(3) }, a: tensor }));
    assert.deepEqual((await hashTensors(other, { names: ["a"] })).get("a"), digests.get("a"));
    const large = noise(3_000_001, 9);
    const steps: number[] = [];
    const whole = await open(handMade({ l: { dtype: "U8", shape: [large.length], data: large } }));
    const found = await hashTensors(whole, { onProgress: (done) => steps.push(done) });
    assert.equal(found.get("l")!.sha256, sha256Of(large));
    assert.deepEqual(steps, [1 << 20, 2 << 20, large.length]);
  });

  it("do not pass over a listed name that is not there", async () => {
    const whole = await good();
    const manifest = { tensors: await hashTensors(whole) };
    const missing = raises("TENSOR_NOT_FOUND", /"typo"/, { tensor: "typo" });
    await assert.rejects(hashTensors(whole, { names: ["a", "typo"] }), missing);
    await assert.rejects(verifyTensors(whole, manifest, { names: ["typo"] }), missing);
    const other = await open(handMade({ b: tensor }));
    const [problem] = await verifyTensors(other, manifest, { names: ["a"] });
    assert.match(problem!.message, /"a" is in the manifest, but not in the checkpoint/);
  });

  it("list what is changed, missing and unknown", async () => {
    const manifest = { tensors: await hashTensors(await good()) };
    assert.deepEqual(await verifyTensors(await good(), manifest), []);
    const codes = async (checkpoint: Checkpoint, names?: readonly string[]): Promise<unknown[]> =>
      (await verifyTensors(checkpoint, manifest, { names })).map(({ code, details }) => [
        code,
        details.tensor,
      ]);
    assert.deepEqual(await codes(await damaged()), [["DIGEST_MISMATCH", "b"]]);
    assert.deepEqual(await codes(await damaged(), ["a"]), []);
    const renamed = await open(handMade({ a: tensor, c: tensor }));
    assert.deepEqual(await codes(renamed), [
      ["DIGEST_MISMATCH", "c"],
      ["DIGEST_MISMATCH", "b"],
    ]);
  });
});

describe("manifestInMetadata", () => {
  it("reads what digestMetadata wrote", async () => {
    const tensors = await hashTensors(await good());
    const metadata = digestMetadata(tensors, sha256Of(DATA));
    const withDigests = await open(
      handMade({ a: tensor, b: { ...tensor, dtype: "I32" } }, Object.fromEntries(metadata)),
    );
    assert.deepEqual(manifestInMetadata(withDigests), { tensors, dataSha256: sha256Of(DATA) });
    assert.equal(manifestInMetadata(await good()), undefined);
    assert.deepEqual([...withoutDigests(new Map([["format", "pt"], ...metadata]))], [["format", "pt"]]);
    // A tensor that came later has no digest, one that is gone is no tensor.
    const changed = await open(
      handMade({ b: { ...tensor, dtype: "I32" }, c: tensor }, Object.fromEntries(metadata)),
    );
    assert.deepEqual([...manifestInMetadata(changed)!.tensors.keys()], ["b"]);
  });

  it("refuses what is no such record", async () => {
    const digest = sha256Of(DATA);
    for (const text of [
      "",
      "1",
      "[]",
      '{"a":1}',
      '{"a":"00"}',
      `{"a":"${digest}","a":"${digest}"}`,
      `{"a":"${digest}"}x`,
    ]) {
      const checkpoint = await open(handMade({ a: tensor }, { "sha256.tensors": text }));
      assert.throws(
        () => manifestInMetadata(checkpoint),
        raises("INVALID_MANIFEST", /"sha256.tensors"/),
        text,
      );
    }
  });
});
