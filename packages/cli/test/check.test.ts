import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { safetensors, temporaryFolder, torchFixture } from "./command.ts";
import { evenHeader, writeHeader } from "./files.ts";

/** A folder with a valid file, two broken ones, and a page. */
function folderOfFiles(folder: string): Record<"good" | "cut" | "twice" | "page" | "missing", string> {
  const path = (name: string): string => join(folder, name);
  writeHeader(path("good.safetensors"), ...evenHeader(["a", "b"]));
  writeHeader(path("cut.safetensors"), evenHeader(["a", "b"])[0], 47);
  const entry = '"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}';
  writeHeader(path("twice.safetensors"), `{${entry},${entry},"__metadata__":{"k":"1","k":"2"}}`, 4);
  writeFileSync(path("page.safetensors"), "<html><title>404</title></html>");
  return {
    good: path("good.safetensors"),
    cut: path("cut.safetensors"),
    twice: path("twice.safetensors"),
    page: path("page.safetensors"),
    missing: path("missing.safetensors"),
  };
}

test("check exits with 0 for valid, 1 for invalid, 2 for what cannot be checked", (t) => {
  const { good, cut, page, missing } = folderOfFiles(temporaryFolder(t));
  assert.equal(safetensors(["check", good]).code, 0);
  assert.equal(safetensors(["check", good, good]).code, 0);
  assert.equal(safetensors(["check", cut]).code, 1);
  assert.equal(safetensors(["check", page]).code, 1);
  assert.equal(safetensors(["check", missing]).code, 2);
  assert.equal(safetensors(["check", good, missing]).code, 2);
  assert.equal(safetensors(["check", missing, cut, good]).code, 1);
  assert.equal(safetensors(["check"]).code, 2);
  assert.equal(safetensors(["check", good, "--mode", "lenient"]).code, 2);
});

test("check lists every problem of a file, with its code and what to do", (t) => {
  const { twice, cut } = folderOfFiles(temporaryFolder(t));
  const { stdout, stderr } = safetensors(["check", twice, cut]);
  assert.equal(stderr, "");
  assert.match(stdout, /twice\.safetensors: invalid\n {2}DUPLICATE_KEY: .*\n {2}DUPLICATE_NAME: .*\n/);
  assert.match(stdout, /cut\.safetensors: invalid\n {2}TRUNCATED: .*\n.*get it again/);
  assert.match(stdout, /0 valid, 2 invalid\n$/);
});

test("check says of names that are no UTF-8 that they are none", (t) => {
  const path = join(temporaryFolder(t), "names.safetensors");
  writeHeader(path, ...evenHeader(["a?"]));
  const bytes = readFileSync(path);
  bytes[bytes.indexOf("?")] = 0xff;
  writeFileSync(path, bytes);
  const { code, stdout } = safetensors(["check", path]);
  assert.equal(code, 1);
  assert.match(stdout, /names\.safetensors: invalid\n {2}INVALID_UTF8/);
});

test("check --mode compat takes what the reference takes", (t) => {
  const { twice, cut } = folderOfFiles(temporaryFolder(t));
  assert.equal(safetensors(["check", twice, "--mode", "strict"]).code, 1);
  assert.equal(safetensors(["check", twice, "--mode", "compat"]).code, 0);
  assert.equal(safetensors(["check", cut, "--mode", "compat"]).code, 1);
});

test("check --quiet prints only what is wrong", (t) => {
  const { good, cut } = folderOfFiles(temporaryFolder(t));
  assert.equal(safetensors(["check", good, "--quiet"]).stdout, "");
  const { stdout } = safetensors(["check", good, cut, "--quiet"]);
  assert.match(stdout, /cut\.safetensors: invalid/);
  assert.doesNotMatch(stdout, /good/);
});

test("check --json gives a result for each path, and a summary", (t) => {
  const { good, cut, missing } = folderOfFiles(temporaryFolder(t));
  const { results, summary } = JSON.parse(safetensors(["check", good, cut, missing, "--json"]).stdout);
  assert.deepEqual(summary, { valid: 1, invalid: 1, unchecked: 1 });
  const files = ["good.safetensors"];
  assert.deepEqual(results[0], {
    path: good,
    status: "valid",
    format: "safetensors",
    files,
    tensors: 2,
    bytes: 48,
    problems: [],
  });
  assert.equal(results[1].status, "invalid");
  assert.equal(results[1].problems[0].code, "TRUNCATED");
  assert.match(results[1].problems[0].message, /1 bytes? too short/);
  assert.equal(results[2].status, "unchecked");
  assert.equal(results[2].problems[0].code, "NOT_FOUND");
});

test("check takes an index and its files as one", (t) => {
  const folder = temporaryFolder(t);
  const files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"] as const;
  writeHeader(join(folder, files[0]), ...evenHeader(["a", "b"]));
  writeHeader(join(folder, files[1]), ...evenHeader(["c"]));
  const indexPath = join(folder, "model.safetensors.index.json");
  const writeIndex = (weightMap: object): void =>
    writeFileSync(indexPath, JSON.stringify({ metadata: {}, weight_map: weightMap }));

  writeIndex({ a: files[0], b: files[0], c: files[1] });
  assert.match(safetensors(["check", folder]).stdout, /valid {2}safetensors, 2 files, 3 tensors/);
  writeIndex({ a: files[0], b: files[1], d: files[1] });
  const { code, stdout } = safetensors(["check", indexPath]);
  assert.equal(code, 1);
  assert.equal(stdout.match(/INDEX_MISMATCH/g)?.length, 4);
  writeIndex({ a: "../model.safetensors" });
  assert.match(safetensors(["check", indexPath]).stdout, /UNSAFE_FILE_NAME/);
});

test("check reads PyTorch files without running anything, and names what is dangerous", () => {
  assert.equal(safetensors(["check", torchFixture("state-dict.pt")]).code, 0);
  for (const [file, global] of [
    ["os-system.pt", "os.system"],
    ["nested-eval.pt", "eval"],
    ["named-exec.pt", "exec"],
  ] as const) {
    const { code, stdout } = safetensors(["check", torchFixture(file)]);
    assert.equal(code, 1);
    assert.match(stdout, new RegExp(`FORBIDDEN_GLOBAL: .*${global}`));
    assert.match(stdout, /Do not load it with torch\.load/);
  }
});
