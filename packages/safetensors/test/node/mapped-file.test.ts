import assert from "node:assert/strict";
import { constants } from "node:buffer";
import { spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { open } from "../../src/checkpoint/open.ts";
import { openMapped } from "../../src/node/mapped-file.ts";
import { save } from "../../src/save/save.ts";
import { memorySink } from "../../src/save/sink.ts";

const hasTransfer = "transfer" in ArrayBuffer.prototype;

describe("openMapped", () => {
  let folder = "";
  let path = "";
  const content = Uint8Array.from({ length: 100_000 }, (_, i) => (i * 7919) % 251);

  before(() => {
    folder = mkdtempSync(join(tmpdir(), "mapped-"));
    path = join(folder, "file");
    writeFileSync(path, content);
  });
  after(() => rmSync(folder, { recursive: true }));

  it("gives views of any range, and copies", async () => {
    const source = await openMapped(path);
    assert.equal(source.size, content.length);
    for (const [offset, length] of [
      [0, 100_000],
      [4096, 1],
      [4097, 8191],
      [99_999, 1],
      [5, 0],
    ] as const) {
      assert.deepEqual(source.view!(offset, length), content.subarray(offset, offset + length));
      assert.deepEqual(await source.read(offset, length), content.subarray(offset, offset + length));
    }
    await source.close?.();
  });

  it("refuses ranges outside", async () => {
    const source = await openMapped(path);
    assert.throws(() => source.view!(99_999, 2), { code: "OUT_OF_RANGE" });
    await source.close?.();
  });

  it("is private: writing into a view leaves the file and later maps as they were", async () => {
    const source = await openMapped(path);
    source.view!(0, 10).fill(255);
    const again = await openMapped(path);
    assert.deepEqual(again.view!(0, 10), content.subarray(0, 10));
    await source.close?.();
    await again.close?.();
  });

  it("keeps views alive, or empties them, when it is closed; never lets them dangle", async () => {
    const source = await openMapped(path);
    const view = source.view!(1000, 50);
    await source.close?.();
    if (hasTransfer) assert.equal(view.length, 0);
    else assert.deepEqual(view, content.subarray(1000, 1050));
    assert.throws(() => source.view!(0, 1), { code: "CLOSED" });
  });

  it("opens a checkpoint whose tensors are views of the map", async () => {
    const sink = memorySink();
    await save(sink, { w: { dtype: "F32", shape: [3], data: Float32Array.of(1, 2, 3) } });
    const file = join(folder, "w.safetensors");
    writeFileSync(file, sink.bytes());
    const checkpoint = await open(await openMapped(file));
    assert.deepEqual(await checkpoint.get("w").data(), Float32Array.of(1, 2, 3));
    await checkpoint.close();
  });

  it("takes empty files, and says what is wrong with others", async () => {
    const empty = join(folder, "empty");
    writeFileSync(empty, "");
    truncateSync(empty, 0);
    assert.equal((await openMapped(empty)).size, 0);
    await assert.rejects(openMapped(join(folder, "missing")), { code: "NOT_FOUND" });
    await assert.rejects(openMapped(folder), { code: "IO" });
  });

  it("gives views across the buffers that they share", async () => {
    const GIB = 2 ** 30;
    const large = join(folder, "large");
    const marks = [0, GIB - 1, GIB, 2 * GIB - 1, 2 * GIB, 4 * GIB - 1, 4 * GIB, 4 * GIB + 4999];
    const fd = openSync(large, "w");
    for (const mark of marks) writeSync(fd, Uint8Array.of(1 + (mark % 251)), 0, 1, mark);
    closeSync(fd);
    const source = await openMapped(large);
    for (const [offset, length] of [
      [0, GIB],
      [GIB - 1, GIB],
      [2 * GIB - 1, 2],
      [2 * GIB - 1, 2 * GIB + 2],
      [2 * GIB + 5, 2 * GIB + 4995],
      [4 * GIB, 5000],
    ] as const) {
      const view = source.view!(offset, length);
      assert.equal(view.length, length);
      // Typed arrays count from the start of their buffer: data that is aligned in the file must be so there.
      assert.equal(view.byteOffset % 4096, offset % 4096);
      for (const mark of marks.filter((mark) => mark >= offset && mark < offset + length)) {
        assert.equal(view[mark - offset], 1 + (mark % 251), `byte ${mark} from ${offset}`);
      }
    }
    const longest = (): Uint8Array => source.view!(1, 4 * GIB + 4999);
    if (constants.MAX_LENGTH > 4 * GIB) assert.equal(longest()[4 * GIB + 4998], 1 + (marks.at(-1)! % 251));
    else assert.throws(longest, { code: "UNSUPPORTED" });
    await source.close?.();
    rmSync(large);
  });

  it("ends a map when it is closed, once", () => {
    const lines = countEnds(`
      mapping.view(0, 5);
      mapping.close();
      mapping.close();
      await collect();
      console.log(ends);
    `);
    assert.deepEqual(lines, ["1"]);
  });

  it("ends a map with views in use by emptying them, or waits for the last of them", () => {
    const lines = countEnds(`
      let view = mapping.view(0, 5);
      mapping.close();
      await collect();
      console.log(ends, view.length);
      view = undefined;
      await collect();
      console.log(ends);
    `);
    assert.deepEqual(lines, [hasTransfer ? "1 0" : "0 5", "1"]);
  });

  it("waits for the last view when the source is gone", () => {
    const lines = countEnds(`
      let view = mapping.view(0, 5);
      mapping.release();
      await collect();
      console.log(ends, view.length);
      view = undefined;
      await collect();
      console.log(ends);
    `);
    assert.deepEqual(lines, ["0 5", "1"]);
  });

  it("never ends a map that was handed on in part, and goes on with another buffer", () => {
    for (const between of ["", "console.log(mapping.view(0, 5).length);"]) {
      const lines = countEnds(`
        let view = mapping.view(0, 5);
        structuredClone(view, { transfer: [view.buffer] });
        ${between}
        mapping.close();
        view = undefined;
        await collect();
        console.log(ends);
      `);
      assert.deepEqual(lines, between ? ["5", "0"] : ["0"]);
    }
  });

  it("releases the maps of sources and views that are dropped, and not before", {
    skip: process.platform !== "linux" && "only Linux lists the maps of a process",
  }, () => {
    const [most, left, byte, end] = runCollecting(
      `
      import { readFileSync } from "node:fs";
      import { openMapped } from ${moduleUrl("mapped-file")};
      const path = process.argv[1];
      const count = () => readFileSync("/proc/self/maps", "utf8").split("\\n").filter((line) => line.endsWith(path)).length;
      // A function of its own, so that no variable holds on to the last one.
      const openAndDrop = async () => (await openMapped(path)).view(1, 10);
      let view = await openAndDrop();
      for (let i = 0; i < 50; i++) await openAndDrop();
      console.log(count());
      await collect(() => count() === 1);
      console.log(count());
      console.log(view[0]);
      view = undefined;
      await collect(() => count() === 0);
      console.log(count());
    `,
      [path],
    ).map(Number);
    assert.ok(most! > 1, "no maps were seen");
    assert.deepEqual([left, byte, end], [1, content[1], 0]);
  });
});

/** Runs steps on a `mapping` whose map only counts how often it `ends`. */
function countEnds(steps: string): string[] {
  return runCollecting(
    `
    import { Mapping } from ${moduleUrl("map/mapping")};
    let ends = 0;
    const map = { view: (_, length) => new ArrayBuffer(length), unmap: () => void ends++ };
    const mapping = new Mapping(map, "file", 10);
    ${steps}
  `,
    [],
  );
}

/** The address of a module of src/node, as a literal. */
function moduleUrl(name: string): string {
  return JSON.stringify(new URL(`../../src/node/${name}.js`, import.meta.url).href);
}

/** Runs a script in a process where garbage is collected on demand, by `await collect()`; gives the lines it printed. */
function runCollecting(script: string, args: readonly string[]): string[] {
  const collect = `
    const collect = async (isDone = () => false) => {
      for (let i = 0; i < 10 && !isDone(); i++) {
        global.gc();
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    };
  `;
  const command = ["--expose-gc", "--input-type=module", "-e", collect + script, ...args];
  const { stdout, stderr, status } = spawnSync(process.execPath, command, { encoding: "utf8" });
  assert.equal(status, 0, stderr);
  return stdout.trim().split("\n");
}
