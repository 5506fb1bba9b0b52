import assert from "node:assert/strict";
import { readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { Spool } from "../../src/node/quantize/spool.ts";
import { temporaryFolder } from "../support.ts";

const part = (text: string) => {
  const bytes = new TextEncoder().encode(text);
  return [`tensor ${text}`, { dtype: "U8", shape: [bytes.length], bytes }] as const;
};

/** Leaves a spool with three results, the second without tensors. */
async function leave(folder: string, work = "work"): Promise<{ data: string; list: string }> {
  const spool = await Spool.open(join(folder, "out.spool"), work);
  await spool.add("a", [part("first"), part("second")], { error: 0.5 });
  await spool.add("b", [], { note: "ü" });
  await spool.add("c", [part("third")], null);
  await spool.close(true);
  const list = readdirSync(folder).find((name) => name.endsWith(".json"))!;
  return { data: join(folder, list.slice(0, -".json".length)), list: join(folder, list) };
}

/** What is taken up: items with the text of their tensors. */
async function taken(folder: string, work = "work"): Promise<Record<string, string[]>> {
  const spool = await Spool.open(join(folder, "out.spool"), work);
  const { items, source } = await spool.read();
  const found: Record<string, string[]> = {};
  for (const [item, tensors] of items) {
    found[item] = [];
    for (const tensor of tensors) found[item].push(Buffer.from(await tensor.bytes()).toString());
  }
  await source.close();
  await spool.close(false);
  return found;
}

const ALL = { a: ["first", "second"], b: [], c: ["third"] };

test("results are taken up by the same work, and by no other", async () => {
  const folder = temporaryFolder();
  await leave(folder);
  const spool = await Spool.open(join(folder, "out.spool"), "work");
  assert.deepEqual(
    [...spool.entries].map(({ note }) => note),
    [{ error: 0.5 }, { note: "ü" }, null],
  );
  await spool.close(true);
  assert.deepEqual(await taken(folder), ALL);
  assert.deepEqual(readdirSync(folder), []);
  await leave(folder);
  assert.deepEqual(await taken(folder, "other"), {});
  assert.deepEqual(readdirSync(folder), []);
});

test("a spool that somebody writes is left alone", async () => {
  const folder = temporaryFolder();
  const one = await Spool.open(join(folder, "out.spool"), "work");
  await one.add("a", [part("mine")], null);
  assert.deepEqual(await taken(folder), {});
  await one.close(true);
  assert.deepEqual(await taken(folder), { a: ["mine"] });
});

test("results go on behind those that were whole", async () => {
  const folder = temporaryFolder();
  const { data } = await leave(folder);
  truncateSync(data, 13);
  const spool = await Spool.open(join(folder, "out.spool"), "work");
  assert.deepEqual(
    [...spool.entries].map(({ item }) => item),
    ["a", "b"],
  );
  await spool.add("d", [part("fourth")], null);
  await spool.close(true);
  assert.deepEqual(await taken(folder), { a: ["first", "second"], b: [], d: ["fourth"] });
});

test("of data and lists that are damaged, only what is whole is taken up", async () => {
  const folder = temporaryFolder();
  await fc.assert(
    fc.asyncProperty(
      fc.boolean(),
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
      fc.boolean(),
      async (...how) => {
        const [isData, place, flip, isCut] = how;
        const { data, list } = await leave(folder);
        const path = isData ? data : list;
        const bytes = readFileSync(path);
        const at = place % bytes.length;
        bytes[at]! ^= flip;
        writeFileSync(path, isCut ? bytes.subarray(0, at) : bytes);
        const found = await taken(folder);
        const items = Object.keys(found);
        assert.deepEqual(items, ["a", "b", "c"].slice(0, items.length));
        for (const item of items) assert.deepEqual(found[item], ALL[item as keyof typeof ALL]);
        assert.ok(items.length < 3 || (isCut && at === bytes.length - 1));
        assert.deepEqual(readdirSync(folder), []);
      },
    ),
    { seed: 42, numRuns: 30 },
  );
});

test("lists of something else are dropped", async () => {
  const folder = temporaryFolder();
  const { list } = await leave(folder);
  const [first] = readFileSync(list, "utf8").split("\n");
  const zeros = "0".repeat(64);
  for (const line of [
    "null",
    `${zeros} null`,
    `${zeros} {}`,
    `${zeros} {"item":"a","tensors":[null],"end":0}`,
    `${zeros} {"item":"a","tensors":[{"name":"x","dtype":"U8","shape":[1e300],"at":0}],"end":1e300}`,
    `${zeros} {"item":"a","tensors":[{"name":"x","dtype":"toString","shape":[1],"at":0}],"end":1}`,
    `${zeros} ${"[".repeat(100_000)}`,
  ]) {
    const { list } = await leave(folder);
    writeFileSync(list, `${first}\n${line}\n`);
    assert.deepEqual(await taken(folder), {}, line.slice(0, 100));
  }
});
