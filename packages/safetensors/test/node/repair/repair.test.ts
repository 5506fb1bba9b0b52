import assert from "node:assert/strict";
import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import fc from "fast-check";
import { openPath } from "../../../src/node/open-path.ts";
import { type RepairOptions, type RepairReport, repairCheckpoint } from "../../../src/node/repair/repair.ts";
import {
  concat,
  fileAround,
  type HandMade,
  handMade,
  noise,
  raises,
  temporaryFolder,
} from "../../support.ts";

const u8 = (length: number, seed: number): HandMade => ({
  dtype: "U8",
  shape: [length],
  data: noise(length, seed),
});
const [a, b, c] = [u8(100, 1), u8(50, 2), u8(25, 3)];

const SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"] as const;
const INDEX = "model.safetensors.index.json";

/** A file, or several by name, in a folder of their own. */
function write(files: Readonly<Record<string, Uint8Array | string>>): string {
  const folder = temporaryFolder();
  for (const [name, bytes] of Object.entries(files)) writeFileSync(join(folder, name), bytes);
  return folder;
}

function shards(
  weightMap: Readonly<Record<string, string>>,
  metadata: object = { total_size: 175 },
): Record<string, Uint8Array | string> {
  return {
    [SHARDS[0]]: handMade({ a, c }, { format: "pt" }),
    [SHARDS[1]]: handMade({ b }, { format: "pt" }),
    [INDEX]: JSON.stringify({ metadata, weight_map: weightMap }),
  };
}

const RIGHT = { a: SHARDS[0], b: SHARDS[1], c: SHARDS[0] };

async function repaired(input: string, options?: RepairOptions): Promise<RepairReport & { output: string }> {
  const output = join(temporaryFolder(), "out");
  return { ...(await repairCheckpoint(input, output, options)), output };
}

/** The data of a checkpoint by name. */
async function contentOf(path: string): Promise<Record<string, Uint8Array>> {
  await using checkpoint = await openPath(path);
  const tensors: Record<string, Uint8Array> = {};
  for (const tensor of checkpoint) tensors[tensor.name] = await tensor.bytes();
  return tensors;
}

const textsOf = (defects: RepairReport["fatal"]): string => defects.map(({ text }) => text).join("\n");

describe("repairCheckpoint of a file", () => {
  it("cuts off what follows the data, and leaves the input alone", async () => {
    const file = concat([handMade({ a, b }, { format: "pt" }), noise(5)]);
    const folder = write({ "x.safetensors": file });
    const input = join(folder, "x.safetensors");
    const planned = await repairCheckpoint(input, undefined);
    assert.equal(planned.status, "repaired");
    assert.equal(planned.saved, undefined);
    const output = join(folder, "y.safetensors");
    const { status, repairable, fatal, saved } = await repairCheckpoint(input, output);
    assert.deepEqual([status, fatal], ["repaired", []]);
    assert.match(textsOf(repairable), /^5 bytes follow the last tensor.*the new file has none$/);
    assert.deepEqual(
      saved!.files.map(({ path }) => path),
      [output],
    );
    assert.deepEqual(await contentOf(output), { a: a.data, b: b.data });
    await using checkpoint = await openPath(output);
    assert.equal(checkpoint.metadata.get("format"), "pt");
    assert.deepEqual(readFileSync(input), Buffer.from(file));
    await assert.rejects(repairCheckpoint(input, input), raises("IO", /is the input itself/));
    assert.deepEqual(readFileSync(input), Buffer.from(file));
  });

  it("salvages the whole tensors of a file that is cut, if told to", async () => {
    const file = handMade({ a, b, c });
    const folder = write({ "x.safetensors": file.subarray(0, file.length - 26) });
    const input = join(folder, "x.safetensors");
    const refused = await repaired(input);
    assert.deepEqual([refused.status, refused.lost, refused.tensors], ["refused", ["b", "c"], 1]);
    assert.match(textsOf(refused.fatal), /26 bytes too short.*get it again/);
    assert.throws(() => readdirSync(refused.output));
    const salvaged = await repaired(input, { salvage: true });
    assert.deepEqual([salvaged.status, salvaged.lost], ["salvaged", ["b", "c"]]);
    assert.deepEqual(await contentOf(salvaged.output), { a: a.data });
  });

  it("salvages just the tensors that end before the cut, wherever it is", async () => {
    const file = handMade({ a, b, c });
    const dataStart = file.length - 175;
    const folder = write({});
    const input = join(folder, "x.safetensors");
    await fc.assert(
      fc.asyncProperty(fc.nat(file.length - 1), async (size) => {
        writeFileSync(input, file.subarray(0, size));
        const { status, lost, saved, output } = await repaired(input, { salvage: true });
        const whole = [100, 150, 175].filter((end) => dataStart + end <= size).length;
        assert.equal(status, whole > 0 ? "salvaged" : "refused");
        if (size >= dataStart) assert.deepEqual(lost, ["a", "b", "c"].slice(whole));
        const expected = Object.entries({ a, b, c }).map(([name, { data }]) => [name, data] as const);
        if (saved) assert.deepEqual(await contentOf(output), Object.fromEntries(expected.slice(0, whole)));
      }),
      { seed: 42, numRuns: 20 },
    );
  });

  it("refuses holes, overlaps, names that are there twice, and what is no safetensors file", async () => {
    const entry = (name: string, begin: number, end: number): string =>
      `"${name}":{"dtype":"U8","shape":[${end - begin}],"data_offsets":[${begin},${end}]}`;
    const cases: readonly (readonly [Uint8Array, RegExp])[] = [
      [
        fileAround(`{${entry("a", 0, 4)},${entry("b", 5, 8)}}`, noise(8)),
        /leaves a hole.*nothing tells where/,
      ],
      [fileAround(`{${entry("a", 0, 4)},${entry("b", 3, 8)}}`, noise(8)), /overlaps.*nothing tells where/],
      [fileAround(`{${entry("a", 0, 4)},${entry("a", 4, 8)}}`, noise(8)), /twice.*nothing tells which/],
      [concat([handMade({ a }).subarray(0, 10), Uint8Array.of(0xff), handMade({ a }).subarray(11)]), /UTF-8/],
      [handMade({ a }).subarray(0, 30), /bytes/],
      [Buffer.from("<html><title>404</title></html>"), /an HTML page titled "404"/],
      [new Uint8Array(0), /empty/],
    ];
    for (const [bytes, message] of cases) {
      const folder = write({ "x.safetensors": bytes });
      for (const salvage of [false, true]) {
        const { status, fatal, output, tensors } = await repaired(join(folder, "x.safetensors"), { salvage });
        assert.deepEqual([status, tensors], ["refused", 0]);
        assert.match(textsOf(fatal), message);
        assert.throws(() => readdirSync(output));
      }
    }
  });

  it("writes nothing where nothing is wrong, and says when there is no such file", async () => {
    const folder = write({ "x.safetensors": handMade({ a }) });
    const { status, output, saved } = await repaired(join(folder, "x.safetensors"));
    assert.deepEqual([status, saved], ["sound", undefined]);
    assert.throws(() => readdirSync(output));
    await assert.rejects(repaired(join(folder, "none")), raises("NOT_FOUND"));
    await assert.rejects(repaired(temporaryFolder()), raises("NOT_FOUND", /no safetensors files/));
  });
});

describe("repairCheckpoint of several files", () => {
  it("finds nothing wrong where nothing is", async () => {
    const folder = write(shards(RIGHT));
    assert.equal((await repaired(folder)).status, "sound");
    assert.equal((await repaired(join(folder, INDEX))).status, "sound");
  });

  it("makes an index that is wrong anew, and keeps what lies in which file", async () => {
    const cases: readonly (readonly [Record<string, Uint8Array | string>, RegExp])[] = [
      [shards({ a: SHARDS[0], b: SHARDS[1] }), /^the index lacks "c"$/],
      [shards({ ...RIGHT, c: SHARDS[1] }), /^the index places "c" in the wrong file$/],
      [shards(RIGHT, { total_size: 3 }), /^the index says that the tensors have 3 bytes, they have 175$/],
      [{ ...shards(RIGHT), [INDEX]: "{" }, /^the index is not valid.*a new one is made/],
      [shards({ ...RIGHT, a: "../x" }), /^the index names the file .*a new one is made/],
      [shards({ a: SHARDS[0], c: SHARDS[0] }), /their names say 2; a new one is made/],
    ];
    for (const [files, message] of cases) {
      const { status, repairable, output, lost } = await repaired(write(files));
      assert.match(textsOf(repairable), message);
      assert.deepEqual([status, lost], ["repaired", []]);
      assert.deepEqual(readdirSync(output).sort(), [...SHARDS, INDEX]);
      assert.deepEqual(await contentOf(output), { a: a.data, b: b.data, c: c.data });
      assert.deepEqual(await contentOf(join(output, SHARDS[1])), { b: b.data });
      const { metadata } = JSON.parse(readFileSync(join(output, INDEX), "utf8"));
      assert.equal(metadata.total_size, 175);
    }
  });

  it("makes an index that is missing", async () => {
    const folder = write(shards(RIGHT));
    rmSync(join(folder, INDEX));
    const { status, repairable, output } = await repaired(folder);
    assert.equal(status, "repaired");
    assert.match(textsOf(repairable), /there is no index/);
    assert.deepEqual(Object.keys(await contentOf(join(output, INDEX))).sort(), ["a", "b", "c"]);
  });

  it("does not guess at a file that is missing, but salvages the rest", async () => {
    const folder = write(shards(RIGHT));
    rmSync(join(folder, SHARDS[1]));
    const refused = await repaired(folder);
    assert.deepEqual([refused.status, refused.lost], ["refused", ["b"]]);
    assert.match(textsOf(refused.fatal), /^it is missing\nno file has "b", which the index names$/);
    const salvaged = await repaired(folder, { salvage: true });
    assert.deepEqual([salvaged.status, salvaged.lost], ["salvaged", ["b"]]);
    assert.deepEqual(Object.keys(await contentOf(salvaged.output)).sort(), ["a", "c"]);
    // Without the index nobody knows what was in it.
    rmSync(join(folder, INDEX));
    const unknown = await repaired(folder);
    assert.equal(unknown.status, "refused");
    assert.match(textsOf(unknown.fatal), /names say that there are 2 files, but 1 is here/);
    renameSync(join(folder, SHARDS[0]), join(folder, "model-00001-of-00003.safetensors"));
    writeFileSync(join(folder, SHARDS[1]), handMade({ b }));
    assert.match(textsOf((await repaired(folder)).fatal), /not one numbered set/);
  });

  it("repairs each file as if it were alone", async () => {
    const files = shards(RIGHT);
    files[SHARDS[0]] = concat([files[SHARDS[0]] as Uint8Array, noise(3)]);
    const { status, repairable, output } = await repaired(write(files));
    assert.equal(status, "repaired");
    assert.equal(repairable[0]!.file, SHARDS[0]);
    assert.deepEqual(await contentOf(output), { a: a.data, b: b.data, c: c.data });
    files[SHARDS[0]] = handMade({ a, c }).subarray(0, -1);
    const cut = await repaired(write(files), { salvage: true });
    assert.deepEqual([cut.status, cut.lost], ["salvaged", ["c"]]);
    assert.deepEqual(await contentOf(cut.output), { a: a.data, b: b.data });
  });

  it("keeps of a tensor in two files the one that the index names, or either if they are the same", async () => {
    const files = shards({ ...RIGHT, c: SHARDS[1] });
    files[SHARDS[1]] = handMade({ b, c: u8(25, 99) });
    const { status, repairable, output } = await repaired(write(files));
    assert.equal(status, "repaired");
    assert.match(textsOf(repairable), /"c" is in both .*; the index says "model-00002/);
    assert.deepEqual((await contentOf(output)).c, u8(25, 99).data);

    delete files[INDEX];
    const differ = await repaired(write(files), { salvage: true });
    assert.deepEqual([differ.status, differ.lost], ["salvaged", ["c"]]);
    assert.match(textsOf(differ.fatal), /they differ; nothing tells which/);
    assert.deepEqual(Object.keys(await contentOf(differ.output)).sort(), ["a", "b"]);

    files[SHARDS[1]] = handMade({ b, c });
    const same = await repaired(write(files));
    assert.equal(same.status, "repaired");
    assert.match(textsOf(same.repairable), /with the same bytes; one is kept/);
  });

  it("asks which checkpoint is meant where there are several", async () => {
    const folder = write({ "x.safetensors": handMade({ a }), "y.safetensors": handMade({ b }) });
    await assert.rejects(repaired(folder), raises("AMBIGUOUS", /"x", "y"/));
    const one = write({ "x.safetensors": concat([handMade({ a }), noise(2)]) });
    const { output } = await repaired(one);
    assert.deepEqual(readdirSync(output), ["x.safetensors"]);
  });
});
