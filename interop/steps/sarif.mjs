import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { fromBytes } from "safetensors.js";
import { scan, toSarif } from "safetensors.js/scan";
import { runPython } from "../python.mjs";

const FIXTURES = fileURLToPath(new URL("../../packages/safetensors/test/fixtures/torch/", import.meta.url));

/** Names that a file can have, or an address. */
const HOSTILE_NAMES = [
  "a b%#?.pt",
  "a:b.pt",
  "C:\\models\\a.pt",
  '\0\n\u001b[31m"\u202e.pt',
  "\ud800.pt",
  "модель/重み.pt",
  "//host/a.pt",
  `${"x".repeat(5000)}.pt`,
  "",
  "https://[::1]:8080/a[0].pt?b=%zz&c=^|#d#e",
  "https://exa mple.org/ä b.pt",
  "https://user:a b@модель.org:80/%20.pt",
  "http://:@",
  "http://a:b:c/d.pt",
  "http://[a/d.pt",
];

/** SARIF logs of scans of every severity, of several files and of hostile names follow the schema of OASIS. */
export async function checkSarif(report, { python, work }) {
  const folder = join(work, "sarif");
  const made = JSON.parse(runPython(python, "make_sarif_files.py", [folder]));
  const reportOf = (path, as = path) => scan(fromBytes(readFileSync(path), as));
  const fixture = (name, as) => reportOf(join(FIXTURES, name), as);
  const madeReports = [];
  for (const name of made) madeReports.push(await reportOf(join(folder, name), name));
  const logs = {
    "no files": [],
    clean: [await fixture("state-dict.pt")],
    dangerous: [await fixture("os-system.pt")],
    incomplete: [await fixture("unknown-class.pt")],
    note: [await scan(fromBytes(new TextEncoder().encode("text\n"), "README.md"))],
    "several files": await Promise.all(
      ["state-dict.pt", "os-system.pt", "nested-eval.pt"].map((name) => fixture(name)),
    ),
    "a file twice": [await fixture("os-system.pt", "a.pt"), await fixture("os-system.pt", "a.pt")],
    "damaged archives": await Promise.all(
      ["script.pt", "bzip2.pt", "tar-properties.pt"].map((name) => fixture(name)),
    ),
    "hostile members": madeReports,
  };
  for (const name of HOSTILE_NAMES)
    logs[`named ${JSON.stringify(name)}`] = [await fixture("os-system.pt", name)];
  const severities = Object.values(logs).flatMap((reports) => reports.flatMap(({ findings }) => findings));
  const seen = [...new Set(severities.map(({ severity }) => severity))].sort();
  report.equal("findings of every severity", seen, ["dangerous", "incomplete", "note"]);
  const path = join(folder, "logs.json");
  const written = Object.entries(logs).map(([name, reports]) => [
    name,
    toSarif(reports, { version: "1.2.3" }),
  ]);
  writeFileSync(path, JSON.stringify(Object.fromEntries(written)));
  const problems = JSON.parse(runPython(python, "validate_sarif.py", [path]));
  report.equal("the validator can say no", problems["a log that is not valid"].length > 0, true);
  for (const name of Object.keys(logs)) report.equal(name, problems[name], []);
}
