import assert from "node:assert/strict";
import { it, describe as suite } from "node:test";
import { parseCuts } from "../../src/consolidate/cuts.ts";
import { fixture } from "../fixtures.ts";
import { describe, fixtureFiles, sorted, withRanks } from "./stores.ts";

interface Expected {
  readonly made: string;
  readonly tensors: readonly { readonly name: string }[];
}

const text = (name: string): string => new TextDecoder().decode(fixture(`consolidate/${name}`));
const EXPECTED: Readonly<Record<string, Expected>> = JSON.parse(text("expected.json"));

suite("files that the originals wrote", () => {
  const cases = [
    { folder: "dcp", kind: "dcp", ranks: 4 },
    { folder: "dcp-floats", kind: "dcp", ranks: 4 },
    { folder: "dcp-files", kind: "dcp", ranks: 4 },
    { folder: "deepseek", kind: "deepseek", ranks: 2 },
    { folder: "vllm", kind: "vllm", ranks: 2, cuts: parseCuts(text("vllm/cuts.json")) },
  ];
  for (const { folder, kind, ranks, cuts } of cases) {
    const { made, tensors } = EXPECTED[folder]!;
    it(`${folder}: ${made}`, async () => {
      await withRanks(fixtureFiles(folder), { cuts }, async (opened) => {
        assert.equal(opened.kind, kind);
        assert.equal(opened.report.ranks, ranks);
        assert.deepEqual(opened.report.unusedRules, []);
        assert.deepEqual(await describe(opened.checkpoint), sorted(tensors));
        assert.deepEqual([...opened.checkpoint.metadata.keys()], kind === "dcp" ? ["format"] : []);
      });
    });
  }

  it("gives the same whatever their order", async () => {
    const files = Object.fromEntries(Object.entries(fixtureFiles("dcp-files")).reverse());
    const names = await withRanks(files, {}, ({ checkpoint }) => [...checkpoint.keys()]);
    const usual = await withRanks(fixtureFiles("dcp-files"), {}, ({ checkpoint }) => [...checkpoint.keys()]);
    assert.deepEqual(names, usual);
  });

  it("reads PyTorch's files under other names", async () => {
    const files = Object.entries(fixtureFiles("dcp")).map(([, bytes], i) => [
      `${"abcd"[i]}.safetensors`,
      bytes,
    ]);
    await withRanks(Object.fromEntries(files), {}, async ({ kind, checkpoint }) => {
      assert.equal(kind, "dcp");
      assert.deepEqual(await describe(checkpoint), sorted(EXPECTED.dcp!.tensors));
    });
  });
});
