import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { safetensors, temporaryFolder } from "./command.ts";
import { evenHeader, writeHeader } from "./files.ts";

test("repair cuts off trailing bytes into a new file, and says what it did", (t) => {
  const folder = temporaryFolder(t);
  const [input, output] = [join(folder, "in.safetensors"), join(folder, "out.safetensors")];
  writeHeader(input, evenHeader(["a", "b"])[0], 50);
  const planned = safetensors(["repair", input, "--dry-run"]);
  assert.deepEqual([planned.code, existsSync(output)], [0, false]);
  assert.match(planned.stdout, /can be repaired/);
  const { code, stdout } = safetensors(["repair", input, output]);
  assert.equal(code, 0);
  assert.match(stdout, /repaired\n.*2 bytes follow the last tensor.*\n.*written .*out\.safetensors/);
  assert.equal(safetensors(["check", output]).code, 0);
  const before = readFileSync(input);
  assert.equal(safetensors(["repair", input, input]).code, 2);
  assert.deepEqual(readFileSync(input), before);
  assert.match(safetensors(["repair", output, "--dry-run"]).stdout, /nothing is wrong/);
});

test("repair --salvage names what is lost, and exits with 1", (t) => {
  const folder = temporaryFolder(t);
  const [input, output] = [join(folder, "in.safetensors"), join(folder, "out.safetensors")];
  writeHeader(input, evenHeader(["a", "b"])[0], 40);
  const refused = safetensors(["repair", input, output]);
  assert.deepEqual([refused.code, existsSync(output)], [1, false]);
  assert.match(
    refused.stdout,
    /cannot be repaired\n.*8 bytes too short.*\n.*tensors lost {2}b\n.*1 tensor could be salvaged/,
  );
  const { code, stdout } = safetensors(["repair", input, output, "--salvage", "--json"]);
  assert.equal(code, 1);
  const { status, lost, files } = JSON.parse(stdout);
  assert.deepEqual([status, lost, files[0].output], ["salvaged", ["b"], output]);
  assert.equal(safetensors(["check", output]).code, 0);
  writeFileSync(input, "<html>");
  assert.match(safetensors(["repair", input, output]).stdout, /cannot be repaired\n.*an HTML page/);
});
