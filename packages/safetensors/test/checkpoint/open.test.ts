import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { type FormatReader, type OpenInput, open } from "../../src/checkpoint/open.ts";
import { readHeader } from "../../src/checkpoint/safetensors.ts";
import { fromBytes } from "../../src/source/memory.ts";
import type { ByteSource } from "../../src/source/source.ts";
import { countedSource } from "../plan/counted-source.ts";
import { concat, fileAround, handMade, noise, raises } from "../support.ts";

const b = noise(12, 2);
const a = noise(8, 3);
const file = handMade(
  { b: { dtype: "F32", shape: [3], data: b }, a: { dtype: "U8", shape: [2, 4], data: a } },
  { format: "pt", k: "\u2028" },
);

async function checkContent(checkpoint: Checkpoint): Promise<void> {
  assert.equal(checkpoint.format, "safetensors");
  assert.equal(checkpoint.size, 2);
  assert.deepEqual([...checkpoint.keys()], ["b", "a"]);
  assert.deepEqual(
    [...checkpoint.metadata],
    [
      ["format", "pt"],
      ["k", "\u2028"],
    ],
  );
  assert.deepEqual(checkpoint.problems, []);
  assert.deepEqual(new Uint8Array(await checkpoint.get("b").bytes()), b);
  assert.deepEqual(new Uint8Array(await checkpoint.get("a").bytes()), a);
}

describe("open", () => {
  const shared = new SharedArrayBuffer(file.length);
  new Uint8Array(shared).set(file);
  const shifted = concat([noise(5), file]);
  const inputs: Readonly<Record<string, OpenInput>> = {
    "an ArrayBuffer": file.slice().buffer,
    "a Uint8Array": file,
    "a Uint8Array at an odd place": shifted.subarray(5),
    "a DataView": new DataView(shifted.buffer, 5),
    "a Buffer": Buffer.concat([file]),
    "a SharedArrayBuffer": shared,
    "a Blob": new Blob([file]),
    "a File": new File([file], "x"),
    "a source": fromBytes(file),
    "a source with nothing but read": {
      size: file.length,
      read: async (offset, length) => file.slice(offset, offset + length),
    },
  };
  for (const [name, input] of Object.entries(inputs)) {
    it(`takes ${name}`, async () => checkContent(await open(input)));
  }

  it("reads nothing but the header", async () => {
    const data = noise(1 << 20);
    const large = handMade({ w: { dtype: "U8", shape: [1 << 20], data } });
    const source = countedSource(large, "read");
    const checkpoint = await open(source);
    assert.ok(source.ranges.every(([offset, length]) => offset + length <= 65_536));
    const before = source.ranges.length;
    [...checkpoint];
    assert.equal(source.ranges.length, before);
    assert.deepEqual(await checkpoint.get("w").bytes(), data);
    assert.equal(source.ranges.length, before + 1);
  });

  it("reads a header larger than the first read", async () => {
    const tensors = Object.fromEntries(
      Array.from({ length: 3000 }, (_, i) => [
        `model.layer.${i}.weight`,
        { dtype: "U8", shape: [1], data: noise(1, i) },
      ]),
    );
    const source = countedSource(handMade(tensors), "read");
    const checkpoint = await open(source);
    assert.ok(source.ranges.length === 2);
    assert.deepEqual([...checkpoint.keys()], Object.keys(tensors));
    assert.deepEqual(await checkpoint.get("model.layer.2999.weight").bytes(), noise(1, 2999));
  });

  it("reads headers of every length around the first read", async () => {
    for (const length of [65_527, 65_528, 65_529]) {
      const header = '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'.padEnd(length);
      const checkpoint = await open(fileAround(header, Uint8Array.of(7)));
      assert.deepEqual([...(await checkpoint.get("a").bytes())], [7]);
    }
  });

  it("says what a wrong file is, with the error of the header as its cause", async () => {
    const html = new TextEncoder().encode("<!doctype html><title>Sign in</title>");
    await assert.rejects(open(html), (error: Error) => {
      raises("HEADER_TOO_LARGE")(error.cause);
      return raises("NOT_SAFETENSORS", /this is an HTML page/, { kind: "html" })(error);
    });
    await assert.rejects(open(new Uint8Array(0)), raises("NOT_SAFETENSORS", /empty file/, { kind: "empty" }));
    await assert.rejects(
      open(new Uint8Array(100)),
      raises("NOT_SAFETENSORS", /zero bytes/, { kind: "zeros" }),
    );
  });

  it("leaves what the header parser names better to it", async () => {
    const cut = file.subarray(0, file.length - 3);
    await assert.rejects(open(cut), raises("TRUNCATED", /3 bytes too short/));
    await assert.rejects(open(file.subarray(0, 50)), raises("INVALID_HEADER_LENGTH"));
    await assert.rejects(open(fileAround('{"a":1}')), raises("INVALID_HEADER"));
  });

  it("passes on the mode", async () => {
    const twice = '{"dtype":"U8","shape":[0],"data_offsets":[0,0]}';
    const doubled = fileAround(`{"a":${twice},"a":${twice}}`);
    await assert.rejects(open(doubled), raises("DUPLICATE_NAME"));
    assert.deepEqual((await open(doubled, { mode: "compat" })).problems, []);
    const { problems } = await open(doubled, { mode: "lenient" });
    assert.deepEqual(
      problems.map(({ code }) => code),
      ["DUPLICATE_NAME"],
    );
  });

  it("heeds a signal", async () => {
    const signal = AbortSignal.abort(new Error("enough"));
    await assert.rejects(open(new Blob([file]), { signal }), /enough/);
  });

  it("notices a source that gives too few bytes", async () => {
    const source: ByteSource = {
      size: file.length,
      name: "mine",
      read: async (_, length) => new Uint8Array(length - 1),
    };
    await assert.rejects(open(source), raises("SHORT_READ", /mine/));
  });

  it("asks other readers first, in order, with the first bytes of the file", async () => {
    const asked: [string, number][] = [];
    const reader = (format: string, mine: boolean): FormatReader => ({
      format,
      recognises: (head) => {
        asked.push([format, head.length]);
        return mine;
      },
      open: async (source) => open(source),
    });
    const readers = [reader("x", false), reader("y", true), reader("z", true)];
    await checkContent(await open(file, { readers }));
    assert.deepEqual(asked, [
      ["x", file.length],
      ["y", file.length],
    ]);
  });
});

describe("a checkpoint", () => {
  it("finds tensors by their exact name", async () => {
    const checkpoint = await open(file);
    assert.ok(checkpoint.has("a") && checkpoint.has("b"));
    for (const name of ["", "A", "a ", "__proto__", "constructor", "__metadata__", "toString"]) {
      assert.ok(!checkpoint.has(name), name);
      assert.throws(
        () => checkpoint.get(name),
        raises("TENSOR_NOT_FOUND", /there is no tensor named "/, { tensor: name }),
      );
    }
    assert.throws(() => checkpoint.get("\u202e"), /"\\u202e"/);
  });

  it("is an iterable of tensors in the order of the file", async () => {
    const checkpoint = await open(file);
    const listed = Array.from(checkpoint, ({ name, dtype, shape }) => [name, dtype, shape]);
    assert.deepEqual(listed, [
      ["b", "F32", [3]],
      ["a", "U8", [2, 4]],
    ]);
    assert.deepEqual([...checkpoint].length, 2);
  });

  it("may have names that are dangerous in plain objects", async () => {
    const names = ["__proto__", "constructor", "hasOwnProperty", ""];
    const entry = (at: number) => `{"dtype":"U8","shape":[1],"data_offsets":[${at},${at + 1}]}`;
    const json = `{${names.map((name, i) => `"${name}":${entry(i)}`).join()},"__metadata__":{"__proto__":"x"}}`;
    const checkpoint = await open(fileAround(json, noise(4)));
    assert.deepEqual([...checkpoint.keys()], names);
    for (const [i, name] of names.entries()) {
      assert.deepEqual(await checkpoint.get(name).bytes(), noise(4).subarray(i, i + 1));
    }
    assert.equal(checkpoint.metadata.get("__proto__"), "x");
    assert.equal(checkpoint.metadata.get("constructor"), undefined);
  });

  it("says what to use for paths, addresses and other things", async () => {
    for (const input of ["model.safetensors", new Response("x"), null, 5]) {
      await assert.rejects(open(input as never), raises("UNSUPPORTED", /cannot be opened: open takes/));
    }
  });

  it("closes its source, also at the end of `await using`", async () => {
    let closed = 0;
    const source = (): ByteSource => ({ ...fromBytes(file), close: () => void closed++ });
    await (await open(source())).close();
    assert.equal(closed, 1);
    {
      await using checkpoint = await open(source());
      assert.equal(checkpoint.size, 2);
    }
    assert.equal(closed, 2);
    await (await open(file)).close();
  });

  it("opens without its data: 100,000 tensors without one view", async () => {
    const entry = '{"dtype":"U8","shape":[0],"data_offsets":[0,0]}';
    const json = `{${Array.from({ length: 100_000 }, (_, i) => `"${i}":${entry}`).join()}}`;
    const checkpoint = await open(fileAround(json));
    assert.equal(checkpoint.size, 100_000);
    assert.ok(checkpoint.has("99999"));
  });
});

describe("readHeader", () => {
  it("gives the header alone", async () => {
    const header = await readHeader(fromBytes(file));
    assert.deepEqual(header.find("a"), { name: "a", dtype: "U8", shape: [2, 4], dataOffsets: [12, 20] });
    assert.equal(header.byteLength, file.length - 20);
  });
});
