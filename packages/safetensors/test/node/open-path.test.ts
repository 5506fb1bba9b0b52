import assert from "node:assert/strict";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { openPath, openWeights } from "../../src/node/open-path.ts";
import { fixture } from "../fixtures.ts";
import { handMade, noise, raises, temporaryFolder } from "../support.ts";

const root = temporaryFolder();
let folders = 0;

/** A folder with one safetensors file for each list of names; the data of a tensor is noise by its number in all. */
function folderOf(
  files: Readonly<Record<string, readonly string[]>>,
  weightMap?: Readonly<Record<string, string>>,
): string {
  const folder = join(root, String(folders++));
  mkdirSync(folder);
  let seed = 0;
  for (const [file, names] of Object.entries(files)) {
    const tensors = names.map((name) => [name, { dtype: "U8", shape: [5], data: noise(5, seed++) }] as const);
    writeFileSync(join(folder, file), handMade(Object.fromEntries(tensors), { format: "pt" }));
  }
  if (weightMap) {
    writeFileSync(join(folder, "model.safetensors.index.json"), JSON.stringify({ weight_map: weightMap }));
  }
  return folder;
}

const openFiles = (): number => (process.platform === "linux" ? readdirSync("/proc/self/fd").length : 0);

describe("openPath", () => {
  it("opens a file, a folder with one file, an index, and a folder with an index", async () => {
    const files = {
      "model-00001-of-00002.safetensors": ["b", "a"],
      "model-00002-of-00002.safetensors": ["c"],
    };
    const [first, second] = Object.keys(files) as [string, string];
    const folder = folderOf(files, { a: first, b: first, c: second });
    for (const [path, names] of [
      [join(folder, first), ["b", "a"]],
      [folderOf({ "x.safetensors": ["b", "a"] }), ["b", "a"]],
      [join(folder, "model.safetensors.index.json"), ["b", "a", "c"]],
      [folder, ["b", "a", "c"]],
      [folderOf(files), ["b", "a", "c"]],
    ] as const) {
      for (const blocking of [false, true]) {
        await using checkpoint = await openPath(path, { blocking });
        assert.deepEqual([...checkpoint.keys()], names);
        assert.deepEqual([...checkpoint.metadata], [["format", "pt"]]);
        for (const [i, name] of names.entries())
          assert.deepEqual(await checkpoint.get(name).bytes(), noise(5, i));
      }
    }
  });

  it("opens an index that names a file beside the numbered ones", async () => {
    const files = { "model-00001-of-00001.safetensors": ["a"], "model_extra_tensors.safetensors": ["mtp"] };
    const folder = folderOf(files, {
      a: "model-00001-of-00001.safetensors",
      mtp: "model_extra_tensors.safetensors",
    });
    await using checkpoint = await openPath(folder);
    assert.deepEqual([...checkpoint.keys()], ["a", "mtp"]);
  });

  it("opens a PyTorch file by its content", async () => {
    const folder = folderOf({});
    writeFileSync(join(folder, "weights.safetensors"), fixture("torch/state-dict.pt"));
    await using checkpoint = await openPath(folder);
    assert.equal(checkpoint.format, "torch");
    assert.ok(checkpoint.size > 0);
    await using explicit = await openWeights(join(folder, "weights.safetensors"), { readers: undefined });
    assert.equal(explicit.format, "torch");
    await assert.rejects(
      openWeights(join(folder, "weights.safetensors"), { readers: [] }),
      raises("NOT_SAFETENSORS"),
    );
  });

  it("opens a thousand files, reads from all, and closes them", async () => {
    const before = openFiles();
    const files: Record<string, string[]> = {};
    const weightMap: Record<string, string> = {};
    for (let i = 1; i <= 1000; i++) {
      const file = `model-${String(i).padStart(5, "0")}-of-01000.safetensors`;
      files[file] = [`layer.${i}`];
      weightMap[`layer.${i}`] = file;
    }
    const checkpoint = await openPath(folderOf(files, weightMap));
    assert.equal(checkpoint.size, 1000);
    const all = await Promise.all([...checkpoint].map((tensor) => tensor.bytes()));
    for (const [i, bytes] of all.entries()) assert.deepEqual(bytes, noise(5, i));
    await checkpoint.close();
    assert.equal(openFiles(), before);
    await assert.rejects(checkpoint.get("layer.7").bytes(), raises("CLOSED", /./, { tensor: "layer.7" }));
  });

  it("names the file that is wrong, and closes the others", async () => {
    const before = openFiles();
    const files = Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`f${i}.safetensors`, [`t${i}`]]));
    const weightMap = Object.fromEntries(Object.entries(files).map(([file, [name]]) => [name!, file]));
    const folder = folderOf(files, weightMap);
    writeFileSync(join(folder, "f17.safetensors"), handMade({}).subarray(0, 9));
    const expected = raises("INVALID_HEADER_LENGTH", /f17\.safetensors: /, { file: "f17.safetensors" });
    await assert.rejects(openPath(folder), expected);
    writeFileSync(
      join(folder, "f17.safetensors"),
      "version https://git-lfs.github.com/spec/v1\noid x\nsize 7\n",
    );
    const pointer = raises("NOT_SAFETENSORS", /f17.*Git LFS/, {
      kind: "git-lfs-pointer",
      file: "f17.safetensors",
    });
    await assert.rejects(openPath(folder), pointer);
    const missing = folderOf({ a: ["a"] }, { a: "a", b: "b" });
    await assert.rejects(openPath(missing), raises("NOT_FOUND", /b/));
    assert.equal(openFiles(), before);
  });

  it("closes the files where index and files disagree", async () => {
    const before = openFiles();
    const folder = folderOf({ f: ["a"], g: ["b"] }, { a: "f", b: "g", c: "g" });
    await assert.rejects(openPath(folder), raises("INDEX_MISMATCH", /"c"/));
    assert.equal(openFiles(), before);
    await using lenient = await openPath(folder, { mode: "lenient" });
    assert.equal(lenient.problems.length, 1);
  });

  it("says what is not there", async () => {
    await assert.rejects(openPath(join(root, "missing")), raises("NOT_FOUND"));
    await assert.rejects(openPath(folderOf({})), raises("NOT_FOUND"));
  });
});
