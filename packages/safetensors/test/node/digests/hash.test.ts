import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { cpSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import fc from "fast-check";
import { manifestInMetadata } from "../../../src/manifest/in-metadata.ts";
import { parseManifest } from "../../../src/manifest/manifest.ts";
import { hashCheckpoint, hashFile } from "../../../src/node/digests/hash.ts";
import {
  manifestPath,
  readManifest,
  verifyManifest,
  writeManifest,
} from "../../../src/node/digests/manifest.ts";
import { recordDigests } from "../../../src/node/digests/record-digests.ts";
import { openPath } from "../../../src/node/open-path.ts";
import { fixturePath } from "../../fixtures.ts";
import { type HandMade, handMade, noise, raises, temporaryFolder } from "../../support.ts";

const folder = temporaryFolder();
const sha256Of = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const u8 = (length: number, seed: number): HandMade => ({
  dtype: "U8",
  shape: [length],
  data: noise(length, seed),
});

/** Two files and their index in a folder of their own. */
function writeShards(name: string): { path: string; a: HandMade; b: HandMade } {
  const path = temporaryFolder();
  const [a, b] = [u8(100, 1), u8(50, 2)];
  writeFileSync(join(path, `${name}-00001-of-00002.safetensors`), handMade({ a }));
  writeFileSync(join(path, `${name}-00002-of-00002.safetensors`), handMade({ b }));
  const weightMap = { a: `${name}-00001-of-00002.safetensors`, b: `${name}-00002-of-00002.safetensors` };
  writeFileSync(join(path, `${name}.safetensors.index.json`), JSON.stringify({ weight_map: weightMap }));
  return { path, a, b };
}

describe("hashCheckpoint", () => {
  it("hashes file, data and tensors in one pass, wherever pieces end", async () => {
    const path = join(folder, "pieces.safetensors");
    const MiB = 1 << 20;
    const sizes = fc.array(fc.constantFrom(0, 1, 7, 3000, MiB - 300, MiB, 2 * MiB + 5), { maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(sizes, async (lengths) => {
        const tensors = Object.fromEntries(lengths.map((length, i) => [`t${i}`, u8(length, i + 1)]));
        const file = handMade(tensors);
        writeFileSync(path, file);
        const hashed = await hashCheckpoint(path, { data: true });
        assert.deepEqual(
          [...hashed.files],
          [["pieces.safetensors", { size: file.length, sha256: sha256Of(file) }]],
        );
        const expected = Object.entries(tensors).map(([name, { dtype, shape, data }]) => {
          return [name, { dtype, shape, sha256: sha256Of(data) }];
        });
        assert.deepEqual(Object.fromEntries(hashed.tensors), Object.fromEntries(expected));
        const dataLength = lengths.reduce((sum, length) => sum + length, 0);
        assert.deepEqual([...hashed.data.values()], [sha256Of(file.subarray(file.length - dataLength))]);
      }),
      { seed: 42, numRuns: 8 },
    );
  });

  it("takes a checkpoint of several files, its index with it, and reports its progress", async () => {
    const { path, a, b } = writeShards("model");
    const steps: (readonly [number, number, string])[] = [];
    const hashed = await hashCheckpoint(path, { onProgress: (...step) => steps.push(step) });
    assert.deepEqual(
      [...hashed.files.keys()],
      [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
      ],
    );
    for (const [file, { size, sha256 }] of hashed.files) {
      const bytes = readFileSync(join(path, file));
      assert.deepEqual([size, sha256], [bytes.length, sha256Of(bytes)]);
    }
    assert.deepEqual(
      Array.from(hashed.tensors.values(), ({ sha256 }) => sha256),
      [sha256Of(a.data), sha256Of(b.data)],
    );
    assert.equal(hashed.data.size, 0);
    assert.equal(steps.at(-1)![0], steps.at(-1)![1]);
    assert.equal(steps.at(-1)![2], "model.safetensors.index.json");
  });

  it("takes other formats, and with filesOnly whatever there is", async () => {
    const torch = fixturePath("torch/state-dict.pt");
    const hashed = await hashCheckpoint(torch);
    await using checkpoint = await openPath(torch);
    for (const tensor of checkpoint)
      assert.equal(hashed.tensors.get(tensor.name)!.sha256, sha256Of(await tensor.bytes()));
    assert.equal(hashed.files.get("state-dict.pt")!.sha256, sha256Of(readFileSync(torch)));
    const text = join(folder, "text.txt");
    writeFileSync(text, "abc");
    const { files, tensors } = await hashCheckpoint(text, { filesOnly: true });
    assert.equal(files.get("text.txt")!.sha256, sha256Of(Buffer.from("abc")));
    assert.equal(tensors.size, 0);
    assert.deepEqual(await hashFile(text), files.get("text.txt"));
    await assert.rejects(hashCheckpoint(text), raises("NOT_SAFETENSORS", /text\.txt/, { file: "text.txt" }));
    writeFileSync(text, "");
    assert.equal((await hashFile(text)).sha256, sha256Of(new Uint8Array(0)));
  });

  it("refuses a tensor that is in two files", async () => {
    const { path, a } = writeShards("model");
    writeFileSync(join(path, "model-00002-of-00002.safetensors"), handMade({ a }));
    const error = raises("INDEX_MISMATCH", /"a" of "model-00002.*in another file/, { tensor: "a" });
    await assert.rejects(hashCheckpoint(path), error);
  });

  it("stops when told to", async () => {
    const { path } = writeShards("model");
    await assert.rejects(hashCheckpoint(path, { signal: AbortSignal.abort() }), { name: "AbortError" });
  });
});

describe("manifests", () => {
  it("lie beside the checkpoint", async () => {
    const { path } = writeShards("model");
    const expected = join(path, "model.safetensors.manifest.json");
    assert.equal(await manifestPath(path), expected);
    assert.equal(await manifestPath(join(path, "model.safetensors.index.json")), expected);
    const shard = join(path, "model-00001-of-00002.safetensors");
    assert.equal(await manifestPath(shard), expected);
    const variant = writeShards("model.fp16").path;
    const index = join(variant, "model.safetensors.index.fp16.json");
    renameSync(join(variant, "model.fp16.safetensors.index.json"), index);
    const own = join(variant, "model.fp16.safetensors.manifest.json");
    assert.equal(await manifestPath(index), own);
    assert.equal(await manifestPath(join(variant, "model.fp16-00002-of-00002.safetensors")), own);
  });

  it("are written, read and verified; what is changed is named", async () => {
    const { path } = writeShards("model");
    const place = await manifestPath(path);
    await writeManifest(place, await hashCheckpoint(path));
    const manifest = await readManifest(place);
    assert.deepEqual(parseManifest(readFileSync(place)), manifest);
    assert.deepEqual(await verifyManifest(path, manifest), { files: 3, tensors: 2, problems: [] });

    const shard = join(path, "model-00002-of-00002.safetensors");
    const bytes = readFileSync(shard);
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(shard, bytes);
    const problems = async (options?: Parameters<typeof verifyManifest>[2]): Promise<unknown[]> =>
      (await verifyManifest(path, manifest, options)).problems.map(({ code, details }) => [
        code,
        details.file ?? details.tensor,
      ]);
    assert.deepEqual(await problems(), [
      ["DIGEST_MISMATCH", "model-00002-of-00002.safetensors"],
      ["DIGEST_MISMATCH", "b"],
    ]);
    assert.deepEqual(await problems({ names: ["a"] }), []);
    assert.deepEqual(await problems({ names: new Set(["b"]).values() }), [["DIGEST_MISMATCH", "b"]]);
    // A tensor alone can be verified in any file; the file as such is another one.
    const single = join(folder, "single.safetensors");
    writeFileSync(single, handMade({ a: u8(100, 1) }));
    assert.deepEqual((await verifyManifest(single, manifest, { names: ["a"] })).problems, []);
    const { problems: others } = await verifyManifest(single, manifest);
    assert.match(
      others.map(({ message }) => message).join("\n"),
      /"single.safetensors" is not in the manifest\n.*no part of/,
    );
    assert.match(others.at(-1)!.message, /tensor "b" is in the manifest, but not in the checkpoint/);
  });

  it("do not let a single changed bit pass", async () => {
    const path = join(folder, "bits.safetensors");
    const file = handMade({ a: u8(40, 1), b: { dtype: "F32", shape: [2, 5], data: noise(40, 2) } });
    writeFileSync(path, file);
    const manifest = await hashCheckpoint(path);
    await fc.assert(
      fc.asyncProperty(fc.nat(file.length * 8 - 1), async (bit) => {
        const changed = file.slice();
        changed[bit >> 3]! ^= 1 << (bit & 7);
        writeFileSync(path, changed);
        const found = await verifyManifest(path, manifest).catch(() => ({
          problems: ["the header is broken"],
        }));
        assert.notDeepEqual(found.problems, []);
      }),
      { seed: 42, numRuns: 30 },
    );
  });

  it("that are not valid are refused with their path", async () => {
    const place = join(folder, "bad.manifest.json");
    writeFileSync(place, "{}");
    await assert.rejects(
      readManifest(place),
      raises("INVALID_MANIFEST", /bad\.manifest\.json.*has no "format"/, { file: place }),
    );
    await assert.rejects(readManifest(join(folder, "none")), raises("NOT_FOUND"));
  });
});

describe("recordDigests", () => {
  it("writes the digests into the headers, also where data has to move for them", async () => {
    const path = join(folder, "recorded.safetensors");
    // Not the order in which a file is written anew.
    const tensors = { small: u8(9, 3), a: { dtype: "F32", shape: [2], data: noise(8, 4) }, z: u8(3, 5) };
    writeFileSync(path, handMade(tensors, { format: "pt" }));
    assert.deepEqual(await recordDigests(path), [path]);
    for (let run = 0; run < 2; run++) {
      const { data, tensors: digests } = await hashCheckpoint(path, { data: true });
      await using checkpoint = await openPath(path);
      assert.deepEqual(manifestInMetadata(checkpoint), {
        tensors: digests,
        dataSha256: data.get("recorded.safetensors"),
      });
      assert.equal(checkpoint.metadata.get("format"), "pt");
      const before = readFileSync(path);
      await recordDigests(path);
      assert.deepEqual(readFileSync(path), before);
    }
    const torch = join(folder, "copy.pt");
    cpSync(fixturePath("torch/state-dict.pt"), torch);
    await assert.rejects(recordDigests(torch), raises("UNSUPPORTED", /no safetensors file/));
  });
});
