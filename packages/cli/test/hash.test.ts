import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { safetensors, temporaryFolder } from "./command.ts";
import { evenHeader, writeHeader } from "./files.ts";

const sha256Of = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

test("hash prints lines that sha256sum reads, and digests of tensors", (t) => {
  const file = join(temporaryFolder(t), "model.safetensors");
  writeHeader(file, ...evenHeader(["a", "b"]));
  assert.equal(safetensors(["hash", file]).stdout, `${sha256Of(readFileSync(file))}  ${file}\n`);
  const digest = sha256Of(new Uint8Array(24));
  assert.equal(safetensors(["hash", file, "--tensors"]).stdout, `${digest}  a\n${digest}  b\n`);
  const { results } = JSON.parse(safetensors(["hash", file, "--tensors", "--json"]).stdout);
  assert.deepEqual(results[0].tensors[0], { name: "a", dtype: "F32", shape: [2, 3], sha256: digest });
});

test("hash --write records a manifest, which check --manifest compares with the data", (t) => {
  const file = join(temporaryFolder(t), "model.safetensors");
  const manifest = `${file}.manifest.json`;
  writeHeader(file, ...evenHeader(["a", "b"]));
  assert.equal(safetensors(["hash", file, "--write", "--quiet"]).code, 0);
  assert.ok(existsSync(manifest));
  const right = safetensors(["check", file, "--manifest", manifest]);
  assert.equal(right.code, 0);
  assert.match(right.stdout, /valid .*digests match/);

  const bytes = readFileSync(file);
  bytes[bytes.length - 1] = 1;
  writeFileSync(file, bytes);
  const wrong = safetensors(["check", file, "--manifest", manifest]);
  assert.equal(wrong.code, 1);
  assert.match(wrong.stdout, /the file "model\.safetensors" has other data.*\n.*tensor "b" has other data/);
  assert.equal(safetensors(["check", file, "--manifest", manifest, "--names", "a"]).code, 0);
  const both = safetensors(["check", file, "--manifest", manifest, "--names", "a", "--names", "b"]);
  assert.equal(both.code, 1);
  const neither = safetensors(["check", file, "--manifest", manifest, "--names", "c"]);
  assert.equal(neither.code, 2);
  assert.match(neither.stdout, /could not be checked\n.*no tensor has a name like c\n/);
  assert.equal(safetensors(["check", file, "--manifest", `${manifest}x`]).code, 2);
});

test("hash --metadata records digests in the file, which check --digests compares with the data", (t) => {
  const file = join(temporaryFolder(t), "model.safetensors");
  writeHeader(file, ...evenHeader(["a", "b"], { format: "pt" }));
  assert.equal(safetensors(["hash", file, "--metadata", "--quiet"]).code, 0);
  assert.equal(safetensors(["check", file, "--digests"]).code, 0);
  const bytes = readFileSync(file);
  bytes[bytes.length - 1] = 1;
  writeFileSync(file, bytes);
  assert.match(safetensors(["check", file, "--digests"]).stdout, /tensor "b" has other data/);
});
