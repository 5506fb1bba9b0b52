import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { measureCommand } from "../command.mjs";
import { runPython } from "../python.mjs";

/** So many take well under a minute; a million, of which the names fill more than one header: `node interop/million.mjs`. */
const COUNT = 200_000;

/** A checkpoint of very many tensors: a clean scan, and every tensor converted, as the reference reads them. */
export function checkManyTensors(report, { python, work, count = COUNT }) {
  const folder = join(work, "many-tensors");
  mkdirSync(join(folder, "converted"), { recursive: true });
  const [source, output] = [join(folder, "model.pt"), join(folder, "converted")];
  const expected = JSON.parse(runPython(python, "many_tensors.py", ["make", String(count), source]));

  const scan = measureCommand("scan", source, "--json");
  report.equal("scan: exit code", scan.status, 0);
  report.equal("scan: verdict", JSON.parse(scan.stdout).results[0].verdict, "clean");
  const convert = measureCommand("convert", source, output);
  report.equal("convert: exit code", convert.status, 0);
  const found = JSON.parse(runPython(python, "many_tensors.py", ["read", output]));
  report.equal("as many tensors", found.tensors, count);
  report.equal("names, dtypes, shapes and bytes of all of them", found.digest, expected.digest);
  report.equal("the index names the same", found.indexed, found.files > 1 ? count : null);

  for (const [name, { seconds, peak }] of Object.entries({ scan, convert })) {
    const megabytes = (peak / 1e6).toFixed(0);
    console.log(
      `  ${name} of ${count.toLocaleString("en")} tensors: ${seconds.toFixed(1)} s, ${megabytes} MB`,
    );
  }
}
