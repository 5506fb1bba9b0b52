import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseJsonFiles, readTextFiles } from "../../src/checkpoint/text-files.ts";
import { SafetensorsError } from "../../src/errors.ts";
import { fromBytes } from "../../src/source/memory.ts";
import type { FileStore } from "../../src/source/store.ts";
import { raises } from "../support.ts";

/** A place that can list its files, or cannot, as web servers. */
function storeOf(files: Readonly<Record<string, string | Uint8Array>>, lists: boolean): FileStore {
  return {
    name: "here",
    ...(lists && { list: async () => Object.keys(files) }),
    open: async (file) => {
      const content = files[file];
      if (content === undefined) throw new SafetensorsError("NOT_FOUND", "no such file");
      return fromBytes(typeof content === "string" ? new TextEncoder().encode(content) : content);
    },
  };
}

describe("files of text beside weights", () => {
  for (const lists of [true, false]) {
    it(`are read where they are there, in a place that ${lists ? "lists" : "cannot list"} them`, async () => {
      const store = storeOf({ "config.json": '{"a": 1}', "other.json": "[" }, lists);
      const files = await readTextFiles(store, ["config.json", "params.json"]);
      assert.deepEqual(files, new Map([["config.json", '{"a": 1}']]));
      assert.deepEqual(parseJsonFiles(files), { "config.json": { a: 1 } });
    });
  }

  it("are refused with their names if they are no JSON", () => {
    const broken = [["config.json", "{'a': 1}"]] as const;
    assert.throws(() => parseJsonFiles(broken), raises("INVALID_JSON", /"config\.json" is no JSON/));
  });

  it("are refused with their names if they are no text", async () => {
    const latin = storeOf({ "config.json": Uint8Array.of(0x22, 0xe4, 0x22) }, true);
    await assert.rejects(
      readTextFiles(latin, ["config.json"]),
      raises("INVALID_UTF8", /"config\.json" is no text/),
    );
  });

  it("are refused if they are too large to be a configuration", async () => {
    const source = { size: 2 ** 30, read: async () => new Uint8Array() };
    const store: FileStore = { name: "here", open: async () => source };
    await assert.rejects(readTextFiles(store, ["config.json"]), raises("LIMIT_EXCEEDED", /1073741824 bytes/));
  });

  it("let other errors of the place through", async () => {
    const open = async (): Promise<never> => {
      throw new SafetensorsError("IO", "the disk is gone");
    };
    await assert.rejects(readTextFiles({ name: "here", open }, ["config.json"]), raises("IO", /gone/));
  });
});
