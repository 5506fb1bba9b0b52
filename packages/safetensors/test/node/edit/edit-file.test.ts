import assert from "node:assert/strict";
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, it } from "node:test";
import { open } from "../../../src/checkpoint/open.ts";
import { recordDigests } from "../../../src/node/digests/record-digests.ts";
import { type Disk, realDisk } from "../../../src/node/edit/disk.ts";
import { editFile, editFileOn } from "../../../src/node/edit/edit-file.ts";
import { rewriteFile } from "../../../src/node/edit/rewrite.ts";
import { writeTensors } from "../../../src/node/edit/write-tensors.ts";
import { openFile } from "../../../src/node/file-source.ts";
import { saveFile } from "../../../src/node/write/save-file.ts";
import { handMade, noise, raises, temporaryFolder } from "../../support.ts";

const root = temporaryFolder();
const posix = { skip: process.platform === "win32" };
let folders = 0;
let folder = "";
let file = "";
beforeEach(async () => {
  folder = join(root, String(folders++));
  mkdirSync(folder);
  file = path("model.safetensors");
  await saveFile(file, tensors, { metadata: { format: "pt" }, reserve: 200 });
});

const path = (name: string): string => join(folder, name);
const listed = (): string[] => readdirSync(folder).sort();
const tensors = {
  small: { dtype: "F32", shape: [2], data: new Float32Array([1, 2]) },
  large: { dtype: "U8", shape: [70_000], data: noise(70_000) },
  none: { dtype: "I64", shape: [0, 3], data: new Uint8Array(0) },
} as const;
const dataAt = (bytes: Buffer): Buffer => bytes.subarray(8 + Number(bytes.readBigUInt64LE(0)));

/** Names, metadata and data of a file. */
async function content(name: string) {
  const checkpoint = await open(readFileSync(path(name)));
  const data = new Map<string, string>();
  for (const tensor of checkpoint) data.set(tensor.name, Buffer.from(await tensor.bytes()).toString("hex"));
  return { metadata: Object.fromEntries(checkpoint.metadata), data };
}

describe("editFile", () => {
  it("writes only the header where the new one fits", async () => {
    const before = readFileSync(file);
    const { ino } = statSync(file);
    const changes = { setMetadata: { a: "b" }, rename: new Map([["small", "tiny"]]) };
    const result = await editFile(file, changes);
    assert.equal(result.how, "in-place");
    const after = readFileSync(file);
    assert.equal(statSync(file).ino, ino);
    assert.deepEqual(dataAt(after), dataAt(before));
    assert.deepEqual([result.path, result.byteLength], [file, before.length]);
    const text = after.toString("latin1", 8, after.length - dataAt(after).length);
    assert.equal(result.room, text.length - text.trimEnd().length);
    const { metadata, data } = await content("model.safetensors");
    assert.deepEqual(metadata, { a: "b", format: "pt" });
    assert.deepEqual([...data.keys()], ["none", "tiny", "large"]);
    assert.deepEqual(listed(), ["model.safetensors"]);
  });

  it("writes the file anew where it does not fit, with room for the next time", async () => {
    const { data } = await content("model.safetensors");
    const { ino } = statSync(file);
    const long = { setMetadata: { a: "x".repeat(500) } };
    const result = await editFile(file, long, { reserve: 300 });
    assert.equal(result.how, "rewritten");
    assert.ok(result.room >= 300 && result.room < 308, String(result.room));
    assert.notEqual(statSync(file).ino, ino);
    assert.equal(statSync(file).size, result.byteLength);
    assert.deepEqual((await content("model.safetensors")).data, data);
    const next = await editFile(file, { setMetadata: { b: "y".repeat(290) } });
    assert.deepEqual([next.how, next.room], ["in-place", result.room - 297]);
    assert.deepEqual(listed(), ["model.safetensors"]);
  });

  it("keeps modes and links", posix, async () => {
    chmodSync(file, 0o640);
    symlinkSync("model.safetensors", path("link"));
    for (const size of [10, 1000]) {
      const result = await editFile(path("link"), { setMetadata: { a: "x".repeat(size) } });
      assert.deepEqual([result.how, result.path], [size === 10 ? "in-place" : "rewritten", file]);
      assert.ok(lstatSync(path("link")).isSymbolicLink());
      assert.equal(statSync(file).mode & 0o7777, 0o640);
      assert.equal((await content("link")).metadata.a?.length, size);
    }
    assert.deepEqual(listed(), ["link", "model.safetensors"]);
  });

  it("takes files of any name", posix, async () => {
    const odd = path("a:b\\\n\u202e .safetensors");
    writeFileSync(odd, readFileSync(file));
    assert.equal((await editFile(odd, { setMetadata: { a: "b" } })).how, "in-place");
    assert.equal(listed().length, 2);
  });

  it("writes to an output, and leaves the input alone", async () => {
    const before = readFileSync(file);
    for (const [size, how] of [
      [10, "copied"],
      [1000, "rewritten"],
    ] as const) {
      const changes = { setMetadata: { a: "x".repeat(size) }, removeMetadata: ["format"] };
      const output = path(`${how}.safetensors`);
      const result = await editFile(file, changes, { output });
      assert.deepEqual([result.how, result.path, result.byteLength], [how, output, statSync(output).size]);
      assert.deepEqual(readFileSync(file), before);
      const { metadata, data } = await content(`${how}.safetensors`);
      assert.deepEqual(metadata, { a: "x".repeat(size) });
      assert.deepEqual(data, (await content("model.safetensors")).data);
    }
    assert.deepEqual(listed(), ["copied.safetensors", "model.safetensors", "rewritten.safetensors"]);
  });

  it("takes an output that is the input for no output", posix, async () => {
    symlinkSync("model.safetensors", path("link"));
    const result = await editFile(file, { setMetadata: { a: "b" } }, { output: path("link") });
    assert.deepEqual([result.how, result.path], ["in-place", file]);
    assert.ok(lstatSync(path("link")).isSymbolicLink());
  });

  it("does nothing without changes, except to make room that is asked for", async () => {
    const before = readFileSync(file);
    assert.equal((await editFile(file, {})).how, "unchanged");
    assert.equal((await editFile(file, {}, { reserve: 200 })).how, "unchanged");
    assert.deepEqual(readFileSync(file), before);
    const { how, room } = await editFile(file, {}, { reserve: 1000 });
    assert.deepEqual([how, room >= 1000], ["rewritten", true]);
  });

  it("says without writing what it would do", async () => {
    const before = readFileSync(file);
    const short = { setMetadata: { a: "b" } };
    const long = { setMetadata: { a: "b".repeat(1000) } };
    for (const [changes, output] of [
      [short, undefined],
      [long, undefined],
      [short, path("new")],
      [long, path("new")],
    ] as const) {
      const planned = await editFile(file, changes, { output, dryRun: true });
      assert.deepEqual(readFileSync(file), before);
      assert.deepEqual(listed(), ["model.safetensors"]);
      const to = output ?? file;
      const done = await editFile(file, changes, { output });
      assert.deepEqual(done, planned);
      assert.equal(statSync(to).size, done.byteLength);
      writeFileSync(file, before);
      if (output) rmSync(output);
    }
  });

  it("says what is wrong with the file, the changes, or the place", async () => {
    const named = { file };
    const change = (changes: Parameters<typeof editFile>[1]) => editFile(file, changes);
    await assert.rejects(change({ removeMetadata: ["x"] }), raises("INVALID_NAME", /"x"/, named));
    await assert.rejects(change({ rename: new Map([["x", "y"]]) }), raises("TENSOR_NOT_FOUND", /"x"/, named));
    writeFileSync(path("other"), "PK\u0003\u0004 and so on");
    await assert.rejects(editFile(path("other"), {}), raises("NOT_SAFETENSORS"));
    await assert.rejects(editFile(path("missing"), {}), raises("NOT_FOUND"));
    const output = join(folder, "missing", "file");
    await assert.rejects(editFile(file, { setMetadata: { a: "b" } }, { output }), /NOT_FOUND|IO/);
    assert.deepEqual(listed(), ["model.safetensors", "other"]);
  });

  it("does not write over what another program has written meanwhile", async () => {
    const disk: Disk = {
      ...realDisk,
      link(from, to) {
        realDisk.link(from, to);
        const fd = realDisk.open(file);
        realDisk.write(fd, Uint8Array.of(0x21), 40);
        realDisk.close(fd);
      },
    };
    const changes = { setMetadata: { a: "b" } };
    await assert.rejects(
      editFileOn(disk, file, changes, {}),
      raises("SOURCE_CHANGED", /written to/, { file }),
    );
    assert.equal(readFileSync(file)[40], 0x21);
    assert.deepEqual(listed(), ["model.safetensors"]);
  });

  it("lets edits at the same time come one after the other, or refuses one", async () => {
    const keys = ["a", "b", "c", "d"];
    const results = await Promise.allSettled(
      keys.map((key) => editFile(file, { setMetadata: { [key]: "1" } })),
    );
    const { metadata } = await content("model.safetensors");
    for (const [i, result] of results.entries()) {
      if (result.status === "fulfilled") assert.equal(metadata[keys[i]!], "1");
      else if (result.reason.code !== "SOURCE_CHANGED") raises("IO", /another edit/)(result.reason);
    }
    assert.ok(Object.keys(metadata).length > 1);
    assert.deepEqual(listed(), ["model.safetensors"]);
  });

  it("is seen by those who have the file open", async () => {
    const source = await openFile(file);
    const checkpoint = await open(source);
    await new Promise((resolve) => setTimeout(resolve, 20));
    await editFile(file, { setMetadata: { a: "b" } });
    await assert.rejects(checkpoint.get("small").bytes(), raises("SOURCE_CHANGED"));
    await source.close();
  });
});

describe("writeTensors", () => {
  it("writes data where it lies", async () => {
    const before = await content("model.safetensors");
    const large = noise(70_000, 9);
    let last = 0;
    await writeTensors(
      file,
      { ...tensors, large: { ...tensors.large, data: large } },
      { onProgress: (done, total) => (last = done / total) },
    );
    const after = await content("model.safetensors");
    assert.equal(last, 1);
    assert.deepEqual(after.metadata, before.metadata);
    before.data.set("large", Buffer.from(large).toString("hex"));
    assert.deepEqual(after.data, before.data);
    assert.deepEqual(listed(), ["model.safetensors"]);
  });

  it("writes tensors that are longer than is worked on at once", async () => {
    const size = 2_500_001;
    const long = (seed: number) => ({ dtype: "U8", shape: [size], data: noise(size, seed) }) as const;
    await saveFile(file, { a: tensors.small, long: long(1), z: long(2) });
    const before = await content("model.safetensors");
    const written = long(3);
    await writeTensors(file, { long: written });
    before.data.set("long", Buffer.from(written.data).toString("hex"));
    const after = await content("model.safetensors");
    for (const [name, data] of before.data) assert.ok(after.data.get(name) === data, name);
  });

  it("takes tensors of another file, and streams", async () => {
    const other = await open(
      handMade({ w: { dtype: "F32", shape: [2], data: new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]) } }),
    );
    await writeTensors(file, [["small", other.get("w")]]);
    assert.equal((await content("model.safetensors")).data.get("small"), "0102030405060708");
    const data = async function* () {
      yield new Uint8Array(3);
      yield new Uint8Array(5).fill(255);
    };
    await writeTensors(file, { small: { dtype: "F32", shape: [2], data } });
    assert.equal((await content("model.safetensors")).data.get("small"), "000000ffffffffff");
  });

  it("refuses what does not fit before it writes anything", async () => {
    const before = readFileSync(file);
    const small = (dtype: "F32" | "I32", shape: number[], data: Uint8Array) => ({
      large: tensors.large,
      small: { dtype, shape, data },
    });
    const eight = new Uint8Array(8);
    const refused = async (given: Parameters<typeof writeTensors>[1], expected: object) => {
      await assert.rejects(writeTensors(file, given), expected as Error);
      assert.deepEqual(readFileSync(file), before);
      assert.deepEqual(listed(), ["model.safetensors"]);
    };
    const mismatch = raises("SIZE_MISMATCH", /F32 of shape \[2\] in the file/, { file, tensor: "small" });
    await refused(small("I32", [2], eight), mismatch);
    await refused(small("F32", [1, 2], eight), mismatch);
    await refused(small("F32", [2], new Uint8Array(7)), raises("SIZE_MISMATCH", /8 bytes, but 7/));
    const stream = { dtype: "F32", shape: [2], data: [new Uint8Array(7)] } as const;
    await refused({ large: tensors.large, small: stream }, raises("SIZE_MISMATCH", /"small".*only 7/));
    await refused({ nope: tensors.small }, raises("TENSOR_NOT_FOUND", /"nope"/));
    await refused(
      [
        ["small", tensors.small],
        ["small", tensors.small],
      ],
      raises("DUPLICATE_NAME"),
    );
    const failing = async function* () {
      yield new Uint8Array(1);
      throw Object.assign(new Error("no such input"), { code: "ENOENT" });
    };
    const own = writeTensors(file, { small: { ...tensors.small, data: failing } });
    await assert.rejects(own, { name: "Error", message: "no such input" });
    const stopping = new AbortController();
    const stopper = function* () {
      stopping.abort();
      yield new Uint8Array(8);
    };
    const late = writeTensors(
      file,
      { small: { ...tensors.small, data: stopper } },
      { signal: stopping.signal },
    );
    await assert.rejects(late, { name: "AbortError" });
    assert.deepEqual(readFileSync(file), before);
    const stopped = writeTensors(file, tensors, { signal: AbortSignal.abort(new Error("enough")) });
    await assert.rejects(stopped, /enough/);
    assert.deepEqual(listed(), ["model.safetensors"]);
  });
});

describe("digests in the metadata", () => {
  const DIGESTS = ["format", "sha256.data", "sha256.tensors"];
  const keys = async (): Promise<string[]> =>
    Object.keys((await content("model.safetensors")).metadata).sort();
  beforeEach(async () => {
    await recordDigests(file);
    assert.deepEqual(await keys(), DIGESTS);
  });

  it("go with the data that they are of, in the same edit", async () => {
    await writeTensors(file, { none: tensors.none, small: { ...tensors.small, data: new Float32Array(2) } });
    assert.deepEqual(await keys(), ["format"]);
    assert.deepEqual((await content("model.safetensors")).data.get("small"), "0".repeat(16));
  });

  it("go where tensors are renamed, dropped, replaced or added", async () => {
    const whole = readFileSync(file);
    for (const changes of [
      { rename: new Map([["small", "tiny"]]) },
      { drop: ["none"] },
      { replace: { small: tensors.small } },
      { add: { more: tensors.small } },
    ]) {
      writeFileSync(file, whole);
      await rewriteFile(file, changes);
      assert.deepEqual(await keys(), ["format"], Object.keys(changes)[0]);
    }
    writeFileSync(file, whole);
    await editFile(file, { rename: new Map([["small", "tiny"]]) });
    assert.deepEqual(await keys(), ["format"]);
  });

  it("stay where the data does, also in a new file, unless it gets another order", async () => {
    const long = { setMetadata: { long: "x".repeat(5000) } };
    assert.equal((await editFile(file, long)).how, "rewritten");
    assert.deepEqual(await keys(), ["format", "long", ...DIGESTS.slice(1)]);
    const { small, large } = tensors;
    const first = { ...small, data: new Uint8Array(small.data.buffer) };
    const unordered = handMade({ large, first }, { "sha256.data": "d", "sha256.tensors": "{}" });
    writeFileSync(file, unordered);
    assert.equal((await editFile(file, long)).how, "rewritten");
    assert.deepEqual(await keys(), ["long"]);
  });
});

describe("rewriteFile", () => {
  it("drops, replaces, renames and adds", async () => {
    const { data } = await content("model.safetensors");
    const result = await rewriteFile(file, {
      drop: ["none"],
      replace: { small: { dtype: "U8", shape: [1], data: Uint8Array.of(5) } },
      rename: new Map([["small", "tiny"]]),
      add: { none: { dtype: "U8", shape: [2], data: Uint8Array.of(6, 7) } },
      removeMetadata: ["format"],
    });
    assert.equal(result.how, "rewritten");
    assert.equal(result.byteLength, statSync(file).size);
    const after = await content("model.safetensors");
    assert.deepEqual(after.metadata, {});
    assert.deepEqual(
      after.data,
      new Map([
        ["large", data.get("large")!],
        ["none", "0607"],
        ["tiny", "05"],
      ]),
    );
    await rewriteFile(file, { drop: /^l/ }, { output: path("out") });
    assert.deepEqual([...(await content("out")).data.keys()], ["none", "tiny"]);
    assert.deepEqual(listed(), ["model.safetensors", "out"]);
  });

  it("refuses what cannot be, and leaves the file", async () => {
    const before = readFileSync(file);
    const refused = (changes: Parameters<typeof rewriteFile>[1], expected: object) =>
      assert.rejects(rewriteFile(file, changes), expected as Error);
    await refused({ drop: ["x"] }, raises("TENSOR_NOT_FOUND", /"x" to drop/, { file }));
    await refused({ drop: /^x/ }, raises("TENSOR_NOT_FOUND", /no tensor is chosen/));
    await refused({ replace: { x: tensors.small } }, raises("TENSOR_NOT_FOUND", /"x" to replace/));
    await refused({ add: { small: tensors.small } }, raises("DUPLICATE_NAME", /"small" cannot be added/));
    await refused(
      { drop: ["small"], rename: new Map([["small", "tiny"]]) },
      raises("TENSOR_NOT_FOUND", /to rename/),
    );
    await refused(
      { rename: new Map([["small", "tiny"]]), add: { tiny: tensors.small } },
      raises("DUPLICATE_NAME"),
    );
    assert.deepEqual(readFileSync(file), before);
    assert.deepEqual(listed(), ["model.safetensors"]);
  });
});
