import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  closeSync,
  ftruncateSync,
  openSync,
  readdirSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { FileSource, openFile } from "../../src/node/file-source.ts";
import { openPath } from "../../src/node/open-path.ts";
import { noise, raises, temporaryFolder } from "../support.ts";

const folder = temporaryFolder();
let files = 0;
const fileOf = (bytes: Uint8Array): string => {
  const path = join(folder, `${files++}.bin`);
  writeFileSync(path, bytes);
  return path;
};

/** Options of the two ways to open a file. */
const WAYS = [{ blocking: false }, { blocking: true }];

const MiB = 2 ** 20;
/** Larger than one piece and than four, and no multiple of a piece. */
const large = noise(70 * MiB + 12_345);
const largePath = fileOf(large);

/** A file of 5 GB that takes no room: marks of eight bytes lie around its large powers of two. */
const sparsePath = join(folder, "sparse.bin");
const SPARSE_SIZE = 5 * 2 ** 30;
const MARKS = [0, 2 ** 31 - 4, 2 ** 31 + 4, 2 ** 32 - 4, 2 ** 32 + 4, 2 ** 32 + 2 ** 29, SPARSE_SIZE - 8];
const markOf = (place: number): Uint8Array => noise(8, place % 65_521);
const sparse = openSync(sparsePath, "w");
ftruncateSync(sparse, SPARSE_SIZE);
for (const place of MARKS) writeSync(sparse, markOf(place), 0, 8, place);
closeSync(sparse);

for (const blocking of [false, true]) {
  describe(`openFile with blocking ${blocking}`, () => {
    const use = async (path: string, action: (source: FileSource) => Promise<void>): Promise<void> => {
      const source = await openFile(path, { blocking });
      try {
        await action(source);
      } finally {
        await source.close();
      }
    };

    it("reads exact ranges of small files", async () => {
      const bytes = noise(1000);
      const path = fileOf(bytes);
      await use(path, async (source) => {
        assert.deepEqual([source.size, source.name], [1000, path]);
        for (const [offset, length] of [
          [0, 1000],
          [0, 0],
          [1000, 0],
          [999, 1],
          [17, 400],
        ] as const) {
          assert.deepEqual(await source.read(offset, length), bytes.slice(offset, offset + length));
          const target = new Uint8Array(length + 2).fill(0xaa);
          await source.readInto(offset, target.subarray(1, length + 1));
          assert.deepEqual(target.subarray(1, length + 1), bytes.subarray(offset, offset + length));
          assert.deepEqual([target[0], target.at(-1)], [0xaa, 0xaa]);
        }
        (await source.read(0, 4)).fill(0);
        assert.deepEqual(await source.read(0, 4), bytes.slice(0, 4));
      });
    });

    it("refuses what is not inside, before taking memory for it", async () => {
      await use(sparsePath, async (source) => {
        for (const [offset, length] of [
          [SPARSE_SIZE, 1],
          [SPARSE_SIZE + 1, 0],
          [0, SPARSE_SIZE + 1],
          [-1, 1],
          [1, -1],
          [0.5, 1],
          [0, Number.NaN],
          [Number.NaN, 0],
          [2 ** 53, 0],
          [1, 2 ** 53 - 1],
        ] as const) {
          const expected = raises("OUT_OF_RANGE", /sparse\.bin has 5368709120/, { at: offset });
          await assert.rejects(async () => source.read(offset, length), expected);
        }
        const expected = raises("OUT_OF_RANGE");
        await assert.rejects(async () => source.readInto(SPARSE_SIZE - 7, new Uint8Array(8)), expected);
      });
    });

    it("reads large ranges in pieces", async () => {
      await use(largePath, async (source) => {
        assert.ok(Buffer.compare(await source.read(0, large.length), large) === 0);
        const [offset, length] = [12_345, 35 * MiB + 1];
        const found = await source.read(offset, length);
        assert.ok(Buffer.compare(found, large.subarray(offset, offset + length)) === 0);
      });
    });

    it("reads across 2 and 4 GB", async () => {
      await use(sparsePath, async (source) => {
        assert.equal(source.size, SPARSE_SIZE);
        for (const place of MARKS) assert.deepEqual(await source.read(place, 8), markOf(place));
        const start = 2 ** 32 - 20 * MiB;
        const target = new Uint8Array(40 * MiB);
        await source.readInto(start, target);
        for (const place of [2 ** 32 - 4, 2 ** 32 + 4]) {
          assert.deepEqual(target.slice(place - start, place - start + 8), markOf(place));
        }
      });
    });

    it("serves a thousand reads at once", async () => {
      await use(largePath, async (source) => {
        const places = Array.from({ length: 1000 }, (_, i) => (i * 73_849) % (large.length - 5000));
        const found = await Promise.all(places.map((place, i) => source.read(place, 1 + i * 4)));
        for (const [i, place] of places.entries()) {
          assert.ok(Buffer.compare(found[i]!, large.subarray(place, place + 1 + i * 4)) === 0, `read ${i}`);
        }
      });
    });

    it("notices that the file has become shorter", async () => {
      const path = fileOf(large.subarray(0, 20 * MiB));
      await use(path, async (source) => {
        truncateSync(path, 17 * MiB);
        const short = raises("SHORT_READ", /ends at byte 17825792, 1048576 bytes short/, {
          at: 17 * MiB,
          file: path,
        });
        await assert.rejects(async () => source.read(2 * MiB, 16 * MiB), short);
        await assert.rejects(async () => source.readInto(17 * MiB, new Uint8Array(MiB)), short);
        const changed = raises("SOURCE_CHANGED", /had 20971520 bytes and now has 17825792/, { file: path });
        await assert.rejects(async () => source.read(16 * MiB, MiB), changed);
      });
    });

    it("can be closed, even twice, and then reads nothing", async () => {
      const path = fileOf(noise(10));
      const source = await openFile(path, { blocking });
      await source.close();
      await source.close();
      const expected = raises("CLOSED", /0|[1-9]\.bin has been closed/, { file: path });
      await assert.rejects(async () => source.read(0, 1), expected);
      await assert.rejects(async () => source.readInto(0, new Uint8Array(1)), expected);
      await assert.rejects(async () => source.readInto(0, new Uint8Array(0)), expected);
    });

    it("heeds a signal", async () => {
      await use(largePath, async (source) => {
        const signal = AbortSignal.abort(new Error("enough"));
        await assert.rejects(async () => source.read(0, 10, { signal }), /enough/);
        await assert.rejects(async () => source.readInto(0, new Uint8Array(10), { signal }), /enough/);
      });
    });
  });
}

describe("openFile", () => {
  it("says what it cannot open", async () => {
    const missing = join(folder, "missing");
    for (const options of WAYS) {
      await assert.rejects(openFile(missing, options), raises("NOT_FOUND", /missing/, { file: missing }));
      // Windows says of both that they are not there or not allowed.
      await assert.rejects(openFile(join(largePath, "x"), options), /IO: cannot open|NOT_FOUND/);
      await assert.rejects(openFile(folder, options), /IO: .*(is not a file|cannot open)/);
      await assert.rejects(openFile(`${largePath}\0`, options), raises("IO"));
      await assert.rejects(openPath(missing, options), raises("NOT_FOUND", /missing/, { file: missing }));
    }
  });

  it("does not wait for a pipe", { skip: process.platform === "win32" }, async () => {
    const pipe = join(folder, "pipe");
    execFileSync("mkfifo", [pipe]);
    for (const options of WAYS)
      await assert.rejects(openFile(pipe, options), raises("IO", /is not a file/, { file: pipe }));
  });

  it("leaves no file open where it fails, nor after close", {
    skip: process.platform !== "linux",
  }, async () => {
    const open = (): number => readdirSync("/proc/self/fd").length;
    await openFile(folder).catch(() => {});
    const before = open();
    for (let i = 0; i < 20; i++) {
      for (const options of WAYS) {
        await openFile(folder, options).catch(() => {});
        await (await openFile(largePath, options)).close();
      }
    }
    assert.equal(open(), before);
  });

  it("gives nothing to write into once a read has failed", async () => {
    const controller = new AbortController();
    const source = await openFile(largePath);
    const target = new Uint8Array(large.length);
    const read = source.readInto(0, target, { signal: controller.signal });
    controller.abort(new Error("enough"));
    await assert.rejects(async () => read, /enough/);
    target.fill(0);
    await new Promise((resolve) => setTimeout(resolve, 30));
    assert.ok(target.every((byte) => byte === 0));
    await source.close();
  });

  it("finishes a read that was under way when it was closed", async () => {
    const source = await openFile(largePath);
    const read = source.read(0, large.length);
    await source.close();
    assert.ok(Buffer.compare(await read, large) === 0);
  });

  it("tells errors of the system with the path", async () => {
    const gone = Object.assign(new Error("EIO: i/o error, read"), { code: "EIO" });
    const handle = {
      fd: 1e6,
      read: () => Promise.reject(gone),
      close: async () => {},
    } as unknown as FileHandle;
    for (const file of [handle, 1e6]) {
      const source = new FileSource("disk", file, { size: 100, mtimeMs: 0 });
      const expected = raises("IO", /cannot read disk: E(IO|BADF)/, { file: "disk" });
      await assert.rejects(async () => source.read(0, 10), expected);
      await assert.rejects(async () => source.readInto(0, new Uint8Array(10)), expected);
    }
  });

  it("opens an empty file", async () => {
    const source = await openFile(fileOf(new Uint8Array(0)));
    assert.deepEqual(await source.read(0, 0), new Uint8Array(0));
    await source.close();
  });
});
