import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { renameInIndex } from "../../src/save/edit-index.ts";
import { raises } from "../support.ts";

const renamed = (text: string, rename: Record<string, string>): string =>
  new TextDecoder().decode(renameInIndex(new TextEncoder().encode(text), new Map(Object.entries(rename))));

describe("renameInIndex", () => {
  it("changes names, and leaves all else as it is written", () => {
    const text = `{ "weight_map" : {"a":"x.safetensors", "\\u0062" :"a"},\n"metadata":{"a":1e30,"total_size":1.50},"other":["a"]}\n`;
    assert.equal(
      renamed(text, { a: '"é', b: "a", c: "d" }),
      text.replace('{"a":"x', '{"\\"é":"x').replace('"\\u0062"', '"a"'),
    );
    assert.equal(renamed(text, {}), text);
  });

  it("refuses what is no index", () => {
    assert.throws(() => renamed("{}", {}), raises("INVALID_INDEX"));
    assert.throws(() => renamed('{"weight_map":{"a":"../x"}}', {}), raises("UNSAFE_FILE_NAME"));
  });
});
