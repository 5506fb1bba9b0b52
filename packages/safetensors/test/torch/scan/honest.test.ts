import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import type { Finding } from "../../../src/torch/scan/index.ts";
import { fixture, fixturePath } from "../../fixtures.ts";
import { scanned } from "./scanned.ts";

/** Files that are not what they should be; the verdicts of all others are clean. */
const NOT_CLEAN: Readonly<Record<string, readonly [verdict: string, code: string]>> = {
  "os-system.pt": ["dangerous", "forbidden-global"],
  "posix-system.pt": ["dangerous", "forbidden-global"],
  "posix-system-4.pt": ["dangerous", "forbidden-global"],
  "named-exec.pt": ["dangerous", "forbidden-global"],
  "nested-eval.pt": ["dangerous", "forbidden-global"],
  "unknown-class.pt": ["incomplete", "unknown-global"],
  "unknown-subclass.pt": ["incomplete", "unknown-global"],
  "missing-storage.pt": ["incomplete", "storage-size"],
  "short-storage.pt": ["incomplete", "storage-size"],
};

/** What keeps an honest file from being clean: nobody can vouch for it. */
function isExcused(file: string, { code, global }: Finding): boolean {
  if (code === "unknown-global") return global!.startsWith("company.");
  if (code === "contains-code") return file.includes("script") || file.endsWith(".mar");
  return code === "compressed" && /bzip2|xz/.test(file);
}

const files = ["torch", "scan"].flatMap((folder) =>
  readdirSync(fixturePath(folder), { recursive: true, encoding: "utf8" })
    .filter((file) => /\.\w+$/.test(file) && !file.endsWith(".json"))
    .map((file) => `${folder}/${file.replaceAll("\\", "/")}`),
);

test("there are files to look at", () => assert.ok(files.length > 90, `${files.length}`));

for (const file of files) {
  const [verdict, code] = NOT_CLEAN[file.replace("torch/", "")] ?? [];
  test(`${file} is ${verdict ?? "clean, or what is not is known"}`, async () => {
    const report = await scanned(fixture(file));
    if (verdict !== undefined) {
      assert.equal(report.verdict, verdict, JSON.stringify(report.findings));
      assert.ok(report.findings.some((finding) => finding.code === code));
    } else {
      const bad = report.findings.filter((one) => one.severity !== "note" && !isExcused(file, one));
      assert.deepEqual(bad, []);
      assert.notEqual(report.verdict, "dangerous");
    }
  });
}

test("the report lists names and members", async () => {
  const { globals, scanned: members } = await scanned(fixture("scan/training.ckpt"));
  assert.deepEqual(members, ["", "training/data.pkl"]);
  const names = new Map(globals.map(({ name, role, called }) => [name, [role, called]]));
  assert.deepEqual(names.get("torch._utils._rebuild_tensor_v2"), ["interpreted", true]);
  assert.deepEqual(names.get("argparse.Namespace"), ["inert", true]);
  assert.ok(!globals.some(({ role }) => role === "unknown" || role === "forbidden"));
  const model = await scanned(fixture("scan/model.nemo"));
  assert.ok(model.scanned.some((member) => member === "model_weights.ckpt > archive/data.pkl"));
});
