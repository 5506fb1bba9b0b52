import assert from "node:assert/strict";
import { mkdirSync, readdirSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { locateCheckpoint } from "../../src/node/locate.ts";
import { handMade, noise, raises, temporaryFolder } from "../support.ts";

const root = temporaryFolder();
let folders = 0;

const shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
const torchShards = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"];
const indexOf = (files: readonly string[]): string =>
  JSON.stringify({ weight_map: Object.fromEntries(files.map((file, i) => [`t${i}`, file])) });

/** A folder with files of these names, empty unless their content is told. */
function folderOf(files: readonly string[], contents: Readonly<Record<string, string>> = {}): string {
  const folder = join(root, String(folders++));
  mkdirSync(folder);
  for (const file of files) writeFileSync(join(folder, file), "");
  for (const [file, content] of Object.entries(contents)) writeFileSync(join(folder, file), content);
  return folder;
}

describe("in a folder, locateCheckpoint", () => {
  const cases: Readonly<
    Record<
      string,
      readonly [files: readonly string[], indexes: Record<string, string>, chosen: readonly string[]]
    >
  > = {
    "takes model.safetensors before everything": [
      ["model.safetensors", "other.safetensors", "pytorch_model.bin", ...shards],
      { "model.safetensors.index.json": indexOf(shards) },
      ["model.safetensors"],
    ],
    "takes the usual index before other indexes and files": [
      [...shards, "extra.safetensors", "pytorch_model.bin"],
      { "model.safetensors.index.json": indexOf(shards), "a.safetensors.index.json": indexOf(["a"]) },
      shards,
    ],
    "takes the only index": [shards, { "diffusion.safetensors.index.json": indexOf(shards) }, shards],
    "takes the only file": [
      ["adapter_model.safetensors", "config.json", "README.md"],
      {},
      ["adapter_model.safetensors"],
    ],
    "takes numbered files without an index": [[shards[1]!, shards[0]!], {}, shards],
    "takes safetensors before PyTorch": [["x.safetensors", "pytorch_model.bin"], {}, ["x.safetensors"]],
    "takes PyTorch files where there is nothing else": [
      ["pytorch_model.bin", "x.bin"],
      {},
      ["pytorch_model.bin"],
    ],
    "takes an index of PyTorch files": [
      torchShards,
      { "pytorch_model.bin.index.json": indexOf(torchShards) },
      torchShards,
    ],
    "takes .pt, .pth and .ckpt": [["model.ckpt"], {}, ["model.ckpt"]],
    "passes over hidden files and other endings": [
      [
        ".hidden.safetensors",
        "._model.safetensors",
        "x.safetensors.tmp",
        "y.safetensors.lock",
        "z.SAFETENSORS",
        "m.pth",
      ],
      {},
      ["m.pth"],
    ],
  };
  for (const [name, [files, indexes, chosen]] of Object.entries(cases)) {
    it(name, async () => {
      const folder = folderOf(files, indexes);
      const found = await locateCheckpoint(folder);
      assert.equal(found.folder, folder);
      assert.deepEqual(found.files, chosen);
      assert.equal(
        found.index?.file,
        Object.keys(indexes).length > 0 && chosen.length > 1 ? found.index!.file : undefined,
      );
      if (found.index) assert.deepEqual([...found.index.weightMap.values()], chosen);
    });
  }

  it("looks only for the format that is asked for", async () => {
    const folder = folderOf(["model.safetensors", "pytorch_model.bin"]);
    assert.deepEqual((await locateCheckpoint(folder, "torch")).files, ["pytorch_model.bin"]);
    assert.deepEqual((await locateCheckpoint(folder, "safetensors")).files, ["model.safetensors"]);
    const none = raises("NOT_FOUND", /holds no torch file/);
    await assert.rejects(locateCheckpoint(folderOf(["model.safetensors"]), "torch"), none);
  });

  it("does not guess between several candidates, but names them", async () => {
    const folder = folderOf(["b.safetensors", "a.safetensors"]);
    const expected = raises("AMBIGUOUS", /holds "a\.safetensors", "b\.safetensors"; name the one/, {
      file: folder,
    });
    await assert.rejects(locateCheckpoint(folder), expected);
    const indexes = { "a.safetensors.index.json": "", "b.safetensors.index.json": "" };
    await assert.rejects(
      locateCheckpoint(folderOf([], indexes)),
      raises("AMBIGUOUS", /a\.safetensors\.index\.json/),
    );
    const many = Array.from({ length: 20 }, (_, i) => `${i}.safetensors`);
    await assert.rejects(locateCheckpoint(folderOf(many)), raises("AMBIGUOUS", /and 12 more/));
    await assert.rejects(locateCheckpoint(folderOf([...shards, "x.safetensors"])), raises("AMBIGUOUS"));
    await assert.rejects(locateCheckpoint(folderOf(["a.bin", "b.pt"])), raises("AMBIGUOUS"));
  });

  it("notices that numbered files are missing", async () => {
    const lonely = folderOf(["model-00001-of-00003.safetensors", "model-00003-of-00003.safetensors"]);
    await assert.rejects(locateCheckpoint(lonely), raises("INDEX_MISMATCH", /2 files .* 3/));
    await assert.rejects(locateCheckpoint(folderOf([shards[0]!])), raises("INDEX_MISMATCH", /1 files .* 2/));
    assert.deepEqual((await locateCheckpoint(join(folderOf([shards[0]!]), shards[0]!))).files, [shards[0]]);
  });

  it("says when there is nothing", async () => {
    const empty = folderOf(["config.json"]);
    await assert.rejects(
      locateCheckpoint(empty),
      raises("NOT_FOUND", /no safetensors and no PyTorch file/, { file: empty }),
    );
    const missing = join(root, "missing");
    await assert.rejects(locateCheckpoint(missing), raises("NOT_FOUND", /missing/, { file: missing }));
  });

  it("reports a bad index with its name", async () => {
    const name = "model.safetensors.index.json";
    await assert.rejects(
      locateCheckpoint(folderOf([], { [name]: "{" })),
      raises("INVALID_INDEX", /model\.saf/, { file: name }),
    );
    const unsafe = folderOf([], { [name]: '{"weight_map":{"a":"../x"}}' });
    await assert.rejects(locateCheckpoint(unsafe), raises("UNSAFE_FILE_NAME", /"\.\.\/x"/));
    const large = folderOf([name]);
    truncateSync(join(large, name), 2 ** 28 + 1);
    const limit = raises("LIMIT_EXCEEDED", /268435457 bytes/, { limit: "MAX_INDEX_BYTES" });
    await assert.rejects(locateCheckpoint(large), limit);
  });

  it("works where files are links, as in the cache of the Hub", {
    skip: process.platform === "win32",
  }, async () => {
    const folder = folderOf([]);
    writeFileSync(join(root, "blob"), handMade({}));
    for (const name of shards) symlinkSync(join(root, "blob"), join(folder, name));
    assert.deepEqual((await locateCheckpoint(folder)).files, shards);
  });
});

describe("for a file, locateCheckpoint", () => {
  it("takes it, whatever its name", async () => {
    const folder = folderOf([], {
      "a.index.json": String.fromCharCode(123, 0, 0, 0, 0, 0, 0, 0, 123),
      empty: "",
      text: "hi",
    });
    for (const name of ["a.index.json", "empty", "text"]) {
      assert.deepEqual(await locateCheckpoint(join(folder, name)), { folder, files: [name] });
    }
    writeFileSync(join(folder, "w"), handMade({ w: { dtype: "U8", shape: [9], data: noise(9) } }));
    assert.deepEqual((await locateCheckpoint(join(folder, "w"))).files, ["w"]);
  });

  it("reads it as an index if it is JSON, whatever its name", async () => {
    const folder = folderOf([], { one: indexOf(["b", "a"]), two: ` \n${indexOf(["b", "a"])}`, three: "{}" });
    for (const name of ["one", "two"]) {
      const found = await locateCheckpoint(join(folder, name));
      assert.deepEqual([found.folder, found.files, found.index?.file], [folder, ["a", "b"], name]);
    }
    await assert.rejects(
      locateCheckpoint(join(folder, "three")),
      raises("INVALID_INDEX", /weight_map/, { file: "three" }),
    );
  });

  it("leaves no file open", { skip: process.platform !== "linux" }, async () => {
    const folder = folderOf([], { file: "text", index: indexOf(["a"]) });
    const open = (): number => readdirSync("/proc/self/fd").length;
    await locateCheckpoint(join(folder, "index"));
    const before = open();
    for (let i = 0; i < 20; i++) {
      await locateCheckpoint(join(folder, "file"));
      await locateCheckpoint(join(folder, "index"));
    }
    assert.equal(open(), before);
  });
});
