import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { it } from "node:test";
import { fileURLToPath } from "node:url";
import { handMade, temporaryFolder } from "../support.ts";
import { tensorOf } from "./checkpoints.ts";

const path = join(temporaryFolder(), "file.safetensors");
writeFileSync(path, handMade({ a: tensorOf("BF16", [4, 5]), b: tensorOf("BF16", [3 << 19]) }));
const program = fileURLToPath(new URL("./exit-program.js", import.meta.url));

for (const ending of ["closed", "finished", "forgotten"]) {
  it(`lets the process end when a pool is ${ending}`, () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [program, path, ending], {
      encoding: "utf8",
      timeout: 30_000,
    });
    assert.deepEqual([status, stdout, stderr], [0, `${ending}: a\n`, ""]);
  });
}

it("starts from code that is given as an option", () => {
  const url = new URL("../../src/workers/index.js", import.meta.url);
  const code = `
    import { openPool } from ${JSON.stringify(url.href)};
    const pool = await openPool(${JSON.stringify(path)}, { workers: 1 });
    console.log((await pool.get("a")).shape.join());
  `;
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", code], {
    encoding: "utf8",
    timeout: 30_000,
  });
  assert.deepEqual([stdout, stderr], ["4,5\n", ""]);
});
