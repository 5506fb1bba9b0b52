import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runPython } from "../python.mjs";

/** The fixtures of the library's tests. */
export const FIXTURES = fileURLToPath(new URL("../../packages/safetensors/test/fixtures/", import.meta.url));

/** The committed goldens against the originals; leaves fresh PyTorch files in work/torch for later steps. */
export async function checkGoldens(report, { python, work }) {
  for (const script of [
    "format_cases.py",
    "make_cast_goldens.py",
    "make_dtype_goldens.py",
    "make_index_goldens.py",
    "make_zip64_golden.py",
  ]) {
    await report.try(script, () => {
      runPython(python, script, ["--check"]);
      report.check(script, true);
    });
  }
  runPython(python, "make_torch_fixtures.py", [join(work, "torch")]);
  const fresh = readExpected(join(work, "torch"));
  const committed = readExpected(join(FIXTURES, "torch"));
  report.equal("torch/expected.json: files", Object.keys(fresh), Object.keys(committed));
  for (const [file, entry] of Object.entries(committed)) {
    // The names in a pickle also depend on the versions of Python and of torch.
    const { globals: _, ...expected } = entry;
    const { globals: __, ...found } = fresh[file] ?? {};
    report.equal(`torch/expected.json: ${file}`, found, expected);
  }
}

/** What torch finds in each file of a folder that make_torch_fixtures.py wrote. */
export function readExpected(folder) {
  return JSON.parse(readFileSync(join(folder, "expected.json"), "utf8"));
}
