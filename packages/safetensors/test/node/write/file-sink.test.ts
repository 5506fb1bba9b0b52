import assert from "node:assert/strict";
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { after, beforeEach, describe, it } from "node:test";
import { open } from "../../../src/checkpoint/open.ts";
import { openFile } from "../../../src/node/file-source.ts";
import { fileSink } from "../../../src/node/write/file-sink.ts";
import { saveFile } from "../../../src/node/write/save-file.ts";
import type { SaveInputs } from "../../../src/save/save.ts";
import type { ByteSource } from "../../../src/source/source.ts";
import { handMade, noise, raises, temporaryFolder } from "../../support.ts";

const root = temporaryFolder();
let folders = 0;
let folder = "";
beforeEach(() => {
  folder = join(root, String(folders++));
  mkdirSync(folder);
});
const umask = process.umask(0o022);
after(() => process.umask(umask));

const path = (name: string): string => join(folder, name);
const listed = (): string[] => readdirSync(folder).sort();
const one: SaveInputs = { w: { dtype: "F32", shape: [2], data: new Float32Array([1, 2]) } };
const valueIn = async (file: string): Promise<unknown> => {
  return [...((await (await open(readFileSync(file))).get("w").data()) as Float32Array)];
};
const posix = { skip: process.platform === "win32" };

describe("fileSink", () => {
  it("shows nothing under the target's name before the commit, and the whole file after it", async () => {
    const sink = await fileSink(path("out"));
    await sink.write(Uint8Array.of(1, 2));
    await sink.write(new Uint8Array(0));
    await sink.write(Uint8Array.of(3));
    assert.ok(!existsSync(path("out")));
    assert.equal(listed().length, 1);
    assert.match(listed()[0]!, /^\.out\.\d+-\d+-[0-9a-f]{8}-[0-9a-f]{12}\.tmp$/);
    await sink.commit();
    assert.deepEqual(listed(), ["out"]);
    assert.deepEqual([...readFileSync(path("out"))], [1, 2, 3]);
  });

  it("leaves no trace after abort, and the old file as it was", async () => {
    writeFileSync(path("out"), "old");
    const sink = await fileSink(path("out"));
    await sink.write(noise(100_000));
    assert.equal(readFileSync(path("out"), "utf8"), "old");
    await sink.abort();
    await sink.abort();
    assert.deepEqual(listed(), ["out"]);
    assert.equal(readFileSync(path("out"), "utf8"), "old");
  });

  it("keeps a file that somebody else made meanwhile only until the commit", async () => {
    const sink = await fileSink(path("out"));
    await sink.write(Uint8Array.of(1));
    writeFileSync(path("out"), "other");
    await sink.commit();
    assert.deepEqual([...readFileSync(path("out"))], [1]);
  });

  it("lets two sinks write the same target at once: the last to commit wins, whole", async () => {
    const [first, second] = [await fileSink(path("out")), await fileSink(path("out"))];
    await first.write(noise(1000, 1));
    await second.write(noise(1000, 2));
    await second.commit();
    await first.commit();
    assert.deepEqual(new Uint8Array(readFileSync(path("out"))), noise(1000, 1));
    assert.deepEqual(listed(), ["out"]);
  });

  it("gives a new file the mode that the umask allows", posix, async () => {
    for (const [mask, mode] of [
      [0o077, 0o600],
      [0o022, 0o644],
      [0o002, 0o664],
      [0o000, 0o666],
    ] as const) {
      process.umask(mask);
      try {
        await saveFile(path(`m${mode}`), one);
      } finally {
        process.umask(0o022);
      }
      assert.equal(statSync(path(`m${mode}`)).mode & 0o7777, mode, mask.toString(8));
    }
  });

  it("gives a replaced file its old mode, whatever the umask", posix, async () => {
    for (const mode of [0o600, 0o640, 0o444, 0o666, 0o755]) {
      writeFileSync(path("out"), "old");
      chmodSync(path("out"), mode);
      await saveFile(path("out"), one);
      assert.equal(statSync(path("out")).mode & 0o7777, mode, mode.toString(8));
      assert.deepEqual(await valueIn(path("out")), [1, 2]);
    }
  });

  it(
    "writes through links: to a file, to one that is not there yet, and over several links",
    posix,
    async () => {
      mkdirSync(path("far"));
      writeFileSync(path("far/file"), "old");
      symlinkSync(path("far/file"), path("absolute"));
      symlinkSync("far/file", path("relative"));
      symlinkSync("far/new", path("dangling"));
      symlinkSync("dangling2", path("chain"));
      symlinkSync("far/newer", path("dangling2"));
      for (const [link, target] of [
        ["absolute", "far/file"],
        ["relative", "far/file"],
        ["dangling", "far/new"],
        ["chain", "far/newer"],
      ] as const) {
        const before = readlinkSync(path(link));
        await saveFile(path(link), one);
        assert.equal(readlinkSync(path(link)), before);
        assert.ok(lstatSync(path(target)).isFile(), target);
        assert.deepEqual(await valueIn(path(target)), [1, 2]);
      }
      assert.deepEqual(readdirSync(path("far")).sort(), ["file", "new", "newer"]);
    },
  );

  it("follows links to folders as the system does", posix, async () => {
    // b/link leads to "../out", seen from the folder b really is in: c/out, though it is reached as a/out.
    mkdirSync(path("c/b"), { recursive: true });
    symlinkSync("c/b", path("a"));
    symlinkSync("../out", path("c/b/link"));
    await saveFile(path("a/link"), one);
    assert.deepEqual(listed(), ["a", "c"]);
    assert.deepEqual(await valueIn(path("c/out")), [1, 2]);
  });

  it("refuses links that lead in a circle", posix, async () => {
    symlinkSync("y", path("x"));
    symlinkSync("x", path("y"));
    await assert.rejects(fileSink(path("x")), raises("IO", /leads back to itself/, { file: path("x") }));
    assert.deepEqual(listed(), ["x", "y"]);
  });

  it("replaces nothing but files", posix, async () => {
    mkdirSync(path("folder"));
    await assert.rejects(saveFile(path("folder"), one), raises("IO", /folder is not a file/));
    await assert.rejects(saveFile("/dev/null", one), raises("IO", /\/dev\/null is not a file/));
    assert.ok(statSync("/dev/null").isCharacterDevice());
    assert.deepEqual(listed(), ["folder"]);
    assert.deepEqual(
      readdirSync("/dev").filter((name) => name.includes("null.")),
      [],
    );
  });

  it("does not change other names of the file it replaces", posix, async () => {
    writeFileSync(path("out"), "old");
    linkSync(path("out"), path("backup"));
    await saveFile(path("out"), one);
    assert.equal(readFileSync(path("backup"), "utf8"), "old");
  });

  it("says where it cannot write", async () => {
    const missing = path("missing/out");
    await assert.rejects(saveFile(missing, one), raises("NOT_FOUND", /missing/, { file: missing }));
    writeFileSync(path("file"), "x");
    await assert.rejects(saveFile(path("file/out"), one), /IO: cannot write|NOT_FOUND/);
    assert.deepEqual(listed(), ["file"]);
  });

  it("leaves no litter in a folder that may not be written to", posix, async () => {
    chmodSync(root, 0o755);
    writeFileSync(path("out"), "old");
    chmodSync(path("out"), 0o666);
    chmodSync(folder, 0o555);
    const root_ = process.geteuid?.() === 0;
    if (root_) process.seteuid!(65_534);
    try {
      await assert.rejects(
        saveFile(path("out"), one),
        raises("IO", /cannot write .*EACCES/, { file: path("out") }),
      );
    } finally {
      if (root_) process.seteuid!(0);
      chmodSync(folder, 0o755);
    }
    assert.deepEqual(listed(), ["out"]);
    assert.equal(readFileSync(path("out"), "utf8"), "old");
  });

  it("says when it cannot put the file in its place, which is not done then", async () => {
    const sink = await fileSink(path("out"));
    await sink.write(Uint8Array.of(1));
    mkdirSync(path("out"));
    await assert.rejects(sink.commit(), raises("IO", /cannot write .*out/, { file: path("out") }));
    await sink.abort();
    assert.deepEqual(listed(), ["out"]);
    assert.ok(statSync(path("out")).isDirectory());
  });

  it("says which file it could not write", async () => {
    const sink = await fileSink(path("out"));
    await sink.commit();
    // The file has been closed, which stands for every reason that a write may fail for.
    assert.throws(
      () => sink.write(Uint8Array.of(1)),
      raises("IO", /cannot write .*out/, { file: path("out") }),
    );
  });
});

describe("saveFile", () => {
  const large = handMade({ w: { dtype: "U8", shape: [9 << 20], data: noise(9 << 20) } }, { format: "pt" });

  it("writes tensors, and checkpoints with their metadata", async () => {
    await saveFile(path("one"), one, { metadata: { k: "v" } });
    assert.deepEqual([...(await open(readFileSync(path("one")))).metadata], [["k", "v"]]);
    const checkpoint = await open(large);
    for (const [options, expected] of [
      [{}, { format: "pt" }],
      [{ metadata: undefined }, { format: "pt" }],
      [{ metadata: { k: "v" } }, { k: "v" }],
      [{ metadata: {} }, {}],
    ] as const) {
      await saveFile(path("copy"), checkpoint, options);
      const copy = await open(readFileSync(path("copy")));
      assert.deepEqual(Object.fromEntries(copy.metadata), expected);
      assert.ok(Buffer.compare(await copy.get("w").bytes(), noise(9 << 20)) === 0);
    }
    const plain = await open(handMade({}));
    await saveFile(path("plain"), plain);
    assert.equal(readFileSync(path("plain"), "latin1"), "\b\0\0\0\0\0\0\0{}      ");
  });

  it("leaves the old file and no litter where a source fails midway", async () => {
    writeFileSync(path("out"), "old");
    let reads = 0;
    const source: ByteSource = {
      size: large.length,
      async read(offset, length) {
        if (reads++ > 2) throw new Error("the network");
        return large.slice(offset, offset + length);
      },
    };
    await assert.rejects(saveFile(path("out"), await open(source)), /the network/);
    await assert.rejects(
      saveFile(path("out"), { w: { dtype: "U8", shape: [9], data: new Uint8Array(8) } }),
      /SIZE_MIS/,
    );
    await assert.rejects(
      saveFile(path("out"), one, { signal: AbortSignal.abort(new Error("enough")) }),
      /enough/,
    );
    await assert.rejects(saveFile(path("new"), one, { alignment: 3 }), raises("INVALID_TENSOR"));
    assert.deepEqual(listed(), ["out"]);
    assert.equal(readFileSync(path("out"), "utf8"), "old");
  });

  it("leaves no litter where the inputs themselves fail", async () => {
    const failing: SaveInputs = {
      [Symbol.iterator]: () => {
        throw new Error("mine");
      },
    };
    await assert.rejects(saveFile(path("out"), failing), /mine/);
    const checkpoint = await open(large);
    checkpoint[Symbol.iterator] = () => {
      throw new Error("yours");
    };
    await assert.rejects(saveFile(path("out"), checkpoint), /yours/);
    assert.deepEqual(listed(), []);
  });

  it("can write over the file that it reads from", posix, async () => {
    writeFileSync(path("model"), large);
    const source = await openFile(path("model"));
    const checkpoint = await open(source);
    await saveFile(path("model"), checkpoint, { metadata: { changed: "yes" } });
    assert.ok(Buffer.compare(await checkpoint.get("w").bytes(), noise(9 << 20)) === 0);
    await checkpoint.close();
    const changed = await open(readFileSync(path("model")));
    assert.deepEqual([...changed.metadata], [["changed", "yes"]]);
    assert.ok(Buffer.compare(await changed.get("w").bytes(), noise(9 << 20)) === 0);
    assert.deepEqual(listed(), ["model"]);
  });
});
