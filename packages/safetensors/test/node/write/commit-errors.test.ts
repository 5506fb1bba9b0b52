import assert from "node:assert/strict";
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import { describe, it } from "node:test";
import { saveFile } from "../../../src/node/write/save-file.ts";
import { raises, temporaryFolder } from "../../support.ts";
import { type Before, flushNothing, withDisk } from "./crashing-disk.ts";
import { listed, READERS, visiblePaths, writeGeneration } from "./generations.ts";

const root = temporaryFolder();
let folders = 0;
flushNothing();
const posix = { skip: process.platform === "win32" };

const fresh = (): string => {
  const folder = join(root, String(folders++));
  mkdirSync(folder);
  return folder;
};

async function withTwoFiles(): Promise<string> {
  const folder = fresh();
  await writeGeneration(folder, 1, 2);
  return folder;
}

async function readsAs(folder: string, generation: number, state = ""): Promise<void> {
  for (const read of Object.values(READERS)) assert.equal(await read(folder, "model"), generation, state);
}

const systemError = (code: string): Error => Object.assign(new Error(`${code}: injected`), { code });
const files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
const index = "model.safetensors.index.json";

/** The calls that change names. */
const NAMING = /^(openSync|rename|unlink|link|copyFile)$/;

/** Fails one call: the one with this number of those whose names match. */
function failing(calls: RegExp, number: number, code: string): Before {
  let count = 0;
  return (call) => {
    if (calls.test(call) && count++ === number) throw systemError(code);
  };
}

describe("an error of the disk", () => {
  for (const [call, number, code] of [
    ["writeSync", 0, "ENOSPC"],
    ["writeSync", 3, "EDQUOT"],
    ["writeSync", 8, "EIO"],
    ["fsyncSync", 0, "EIO"],
    ["openSync", 0, "ENOSPC"],
  ] as const) {
    it(`names the file, and leaves what was there and nothing else: ${code} of ${call} ${number}`, async () => {
      const folder = await withTwoFiles();
      const before = listed(folder);
      const disk = failing(new RegExp(`^${call}$`), number, code);
      await assert.rejects(
        withDisk(disk, () => writeGeneration(folder, 2, 2)),
        (error: unknown) => {
          raises("IO", new RegExp(`cannot write .*model.*: ${code}`))(error);
          const { file } = (error as { details: { file: string } }).details;
          return [...files, index].includes(basename(file));
        },
      );
      assert.deepEqual(listed(folder), before);
      await readsAs(folder, 1);
    });
  }

  it("leaves the old file where only one is written", async () => {
    const path = join(fresh(), "model.safetensors");
    const tensor = { dtype: "F32", shape: [1], data: new Float32Array(1) } as const;
    await saveFile(path, { tensor });
    const old = readFileSync(path);
    for (const call of ["writeSync", "fsyncSync", "openSync", "rename"]) {
      const disk = failing(new RegExp(`^${call}$`), 0, "ENOSPC");
      await assert.rejects(
        withDisk(disk, () => saveFile(path, { other: tensor })),
        raises("IO", /cannot write .*model\.safetensors: ENOSPC/, { file: path }),
      );
      assert.deepEqual(readFileSync(path), old);
      assert.deepEqual(listed(join(path, "..")), ["model.safetensors"]);
    }
  });

  it("leaves the old or the new checkpoint, whole, whatever call of a commit fails", async () => {
    const before = await withTwoFiles();
    const seen: number[] = [];
    let messages = 0;
    for (let number = 0, fails = true; fails; number++) {
      const folder = fresh();
      cpSync(before, folder, { recursive: true });
      const disk = failing(NAMING, number, "EIO");
      fails = false;
      const watched: Before = (...args) => {
        try {
          disk(...args);
        } catch (error) {
          fails = true;
          throw error;
        }
      };
      const error = await withDisk(watched, () => writeGeneration(folder, 2, 2)).then(
        () => undefined,
        (reason: Error) => reason,
      );
      const state = `${number}: ${listed(folder)}; ${error?.message}`;
      const generation = await READERS.ours(folder, "model");
      if (error) {
        assert.match(error.message, /IO: cannot .*EIO/, state);
        if (/the next save into .* ends/.test(error.message)) messages++;
        else assert.deepEqual(listed(folder), [...files, index], state);
        assert.equal(generation, /next save/.test(error.message) ? 2 : 1, state);
      }
      await readsAs(folder, generation, state);
      seen.push(generation);
      await writeGeneration(folder, 3, 1, { retire: visiblePaths(folder) });
      assert.deepEqual(listed(folder), ["model.safetensors"], state);
    }
    assert.ok(seen.includes(1) && seen.at(-1) === 2 && messages > 3, `${seen}`);
  });
});

describe("replacing a checkpoint", () => {
  it("copies where there are no hard links", async () => {
    const folder = await withTwoFiles();
    const disk: Before = (call) => {
      if (call === "link") throw systemError("EPERM");
    };
    await withDisk(disk, () => writeGeneration(folder, 2, 2));
    assert.deepEqual(listed(folder), [...files, index]);
    await readsAs(folder, 2);
  });

  it("follows links, also to another file system, and keeps modes", posix, async () => {
    for (const isFar of [false, true]) {
      const folder = await withTwoFiles();
      const blobs = fresh();
      const [first, second] = files.map((name) => join(folder, name)) as [string, string];
      chmodSync(first, 0o640);
      chmodSync(second, 0o600);
      renameSync(first, join(blobs, "blob"));
      symlinkSync(join(blobs, "blob"), first);
      const disk: Before = (call, [from, to]) => {
        const folders = [from, to].map((path) => String(path).startsWith(`${blobs}/`));
        if (isFar && /^(link|rename)$/.test(call) && folders[0] !== folders[1]) throw systemError("EXDEV");
      };
      await withDisk(disk, () => writeGeneration(folder, 2, 2));
      assert.deepEqual(listed(folder), [...files, index]);
      assert.deepEqual(listed(blobs), ["blob"]);
      assert.ok(lstatSync(first).isSymbolicLink());
      assert.equal(statSync(first).mode & 0o777, 0o640);
      assert.equal(statSync(second).mode & 0o777, 0o600);
      await readsAs(folder, 2);
    }
  });

  it("removes nothing but what is named", async () => {
    const folder = await withTwoFiles();
    for (const name of ["model-00001-of-00009.safetensors", "model.bin", "notes.txt"]) {
      writeFileSync(join(folder, name), "x");
    }
    const retire = [...files, index, "gone.safetensors"].map((name) => join(folder, name));
    await writeGeneration(folder, 2, 3, { retire });
    const expected = [1, 2, 3].map((number) => `model-0000${number}-of-00003.safetensors`);
    assert.deepEqual(
      listed(folder),
      ["model-00001-of-00009.safetensors", ...expected, "model.bin", index, "notes.txt"].sort(),
    );
    await writeGeneration(folder, 3, 3, { retire: [...expected, index].map((name) => join(folder, name)) });
    await readsAs(folder, 3);
  });

  it("refuses to remove files elsewhere, before anything is written", async () => {
    const folder = fresh();
    const retire = [join(root, "elsewhere.safetensors")];
    writeFileSync(retire[0]!, "x");
    await assert.rejects(writeGeneration(folder, 1, 2, { retire }), raises("IO", /is not in the folder/));
    assert.deepEqual(listed(folder), []);
    assert.ok(existsSync(retire[0]!));
  });

  it("leaves no note of itself in the index", async () => {
    const folder = await withTwoFiles();
    const first = readFileSync(join(folder, index));
    assert.deepEqual(JSON.parse(first.toString()).metadata, { total_size: 192 });
    await writeGeneration(folder, 1, 2, { retire: visiblePaths(folder) });
    assert.deepEqual(readFileSync(join(folder, index)), first);
  });

  it("does not do what the index of a stranger asks for", async () => {
    const named = {
      place: "00000000",
      id: "0123456789ab",
      arrivals: [],
      drop: ["notes.safetensors", "other.txt"],
    };
    const id = named.id;
    for (const [unfinished, weightMap] of [
      [named, undefined],
      [{ ...named, drop: ["../notes.safetensors"] }, undefined],
      [{ ...named, drop: [7], id: 7 }, undefined],
      [null, undefined],
      [named, { a: `notes.new-${id}.safetensors` }],
    ] as const) {
      const folder = await withTwoFiles();
      for (const name of ["notes.safetensors", `notes.new-${id}.safetensors`, "other.txt"]) {
        writeFileSync(join(folder, name), name);
      }
      const old = JSON.parse(readFileSync(join(folder, index), "utf8"));
      const forged = {
        metadata: { "safetensors.js": { unfinished } },
        weight_map: weightMap ?? old.weight_map,
      };
      writeFileSync(join(folder, index), JSON.stringify(forged));
      const before = listed(folder);
      await writeGeneration(folder, 2, 2);
      assert.deepEqual(listed(folder), before);
      assert.equal(readFileSync(join(folder, "notes.safetensors"), "utf8"), "notes.safetensors");
      assert.equal(await READERS.ours(folder, "model"), 2);
    }
  });
});
