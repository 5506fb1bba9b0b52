import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { copyTorch, safetensors, temporaryFolder } from "./command.ts";
import { writeHeader } from "./files.ts";

/** A file with one F32 tensor of these values. */
function writeFloats(path: string, values: readonly number[], metadata?: Record<string, string>): void {
  const data = Float32Array.from(values);
  const header = {
    ...(metadata && { __metadata__: metadata }),
    w: { dtype: "F32", shape: [values.length], data_offsets: [0, data.byteLength] },
  };
  writeHeader(path, header, 0);
  writeFileSync(path, Buffer.from(data.buffer), { flag: "a" });
}

test("diff exits with 0 for the same, 1 for different, 2 for what cannot be compared", (t) => {
  const folder = temporaryFolder(t);
  const path = (name: string): string => join(folder, name);
  writeFloats(path("a.safetensors"), [1, 2, 4], { format: "pt" });
  writeFloats(path("b.safetensors"), [1, 2.5, 4]);
  const [a, b] = [path("a.safetensors"), path("b.safetensors")];

  const same = safetensors(["diff", a, a]);
  assert.deepEqual([same.code, same.stdout], [0, "same: 1 tensor identical\n"]);

  const different = safetensors(["diff", a, b]);
  assert.equal(different.code, 1);
  assert.match(different.stdout, /~ {2}metadata {2}format +pt → nothing\n/);
  assert.match(
    different.stdout,
    /~ {2}w .*F32 \[3] .*1 of 3 differ \(33\.3 %\); by up to 0\.5 at \[1], relative 0\.2\n/,
  );
  assert.match(different.stdout, /different: 1 tensor of other values, 1 metadata key changed\n$/);

  const close = safetensors(["diff", a, b, "--rtol", "0.2", "--no-metadata", "--json"]);
  assert.equal(close.code, 0);
  const json = JSON.parse(close.stdout);
  assert.deepEqual([json.same, json.a, json.counts], [true, a, { close: 1 }]);
  assert.deepEqual(json.tensors, [
    {
      name: "w",
      a: { dtype: "F32", shape: [3] },
      b: { dtype: "F32", shape: [3] },
      status: "close",
      values: { elements: 3, different: 1, beyond: 0, nan: 0, worst: 1, maxAbsolute: 0.5, maxRelative: 0.2 },
    },
  ]);

  writeFileSync(path("cut.safetensors"), "short");
  for (const args of [
    [a, path("none.safetensors")],
    [a, path("cut.safetensors")],
    [a, b, "--names", "x*"],
    [a, b, "--atol", "-1"],
  ]) {
    assert.equal(safetensors(["diff", ...args]).code, 2, args.join(" "));
  }
});

test("diff compares formats with each other", (t) => {
  const folder = temporaryFolder(t);
  const torch = copyTorch("state-dict.pt", folder);
  const converted = join(folder, "model.safetensors");
  assert.equal(safetensors(["convert", torch, converted]).code, 0);
  const { code, stdout } = safetensors(["diff", torch, converted, "--no-metadata", "--quiet"]);
  assert.deepEqual([code, stdout], [0, ""]);
});
