import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { FileGroup } from "../../../src/node/write/file-group.ts";

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "safetensors-group-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

test("files of a group take their places together", async (t) => {
  const folder = temporaryFolder(t);
  const paths = ["a", "b"].map((name) => join(folder, name));
  writeFileSync(paths[1]!, "old");
  const group = new FileGroup();
  for (const path of paths) {
    const sink = await group.add(path);
    await sink.write(text("new"));
    await sink.commit();
  }
  assert.equal(readFileSync(paths[1]!, "utf8"), "old");
  assert.equal(readdirSync(folder).includes("a"), false);
  await group.commit();
  assert.deepEqual(readdirSync(folder).sort(), ["a", "b"]);
  for (const path of paths) assert.equal(readFileSync(path, "utf8"), "new");
});

test("a group that is given up leaves no trace", async (t) => {
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, "b"), "old");
  const group = new FileGroup();
  for (const name of ["a", "b"]) await (await group.add(join(folder, name))).write(text("new"));
  await group.abort();
  assert.deepEqual(readdirSync(folder), ["b"]);
  assert.equal(readFileSync(join(folder, "b"), "utf8"), "old");
});

test("when a file cannot take its place, new ones before it go away and replaced ones stay whole", async (t) => {
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, "replaced"), "old");
  const group = new FileGroup();
  for (const name of ["new", "replaced", "blocked", "after"]) {
    await (await group.add(join(folder, name))).write(text("new"));
  }
  mkdirSync(join(folder, "blocked"));
  writeFileSync(join(folder, "blocked", "something"), "");
  await assert.rejects(group.commit(), { code: "IO" });
  await group.abort();
  assert.deepEqual(readdirSync(folder).sort(), ["blocked", "replaced"]);
  assert.equal(readFileSync(join(folder, "replaced"), "utf8"), "new");
});
