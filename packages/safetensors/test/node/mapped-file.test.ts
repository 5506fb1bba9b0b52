import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
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
    assert.deepEqual(view, hasTransfer ? new Uint8Array(0) : content.subarray(1000, 1050));
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

  it("releases the maps of sources and views that are dropped", () => {
    // In a process of its own, where the garbage collector can be called and the maps be counted.
    const script = `
      import { readFileSync } from "node:fs";
      import { openMapped } from ${JSON.stringify(new URL("../../src/node/mapped-file.js", import.meta.url).href)};
      const path = process.argv[1];
      const count = () => readFileSync("/proc/self/maps", "utf8").split("\\n").filter((line) => line.endsWith(path)).length;
      // A function of its own, so that no variable holds on to the last one.
      const openAndDrop = async () => {
        const source = await openMapped(path);
        if (source.view(0, 10).length !== 10) throw new Error("no view");
      };
      for (let i = 0; i < 50; i++) await openAndDrop();
      const most = count();
      for (let i = 0; i < 20 && count() > 0; i++) {
        global.gc();
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      console.log(most, count());
    `;
    const args = ["--expose-gc", "--input-type=module", "-e", script, path];
    const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
    const [most, left] = stdout.trim().split(" ").map(Number);
    assert.ok(most! > 0, `no map was seen: ${stderr}`);
    assert.equal(left, 0);
  });
});
