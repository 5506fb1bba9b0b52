import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { measureCommand } from "../command.mjs";
import { runPython } from "../python.mjs";

/** Bytes of the one storage, unpacked. */
const SIZE = 500e6;

/** The most memory that its conversion may take: half of what is held by anybody who unpacks it as a whole. */
const MOST_MEMORY = 250 * 2 ** 20;

/** A checkpoint that was zipped again with compression is unpacked as it is written: in far less memory than its size. */
export function checkDeflated(report, { python, work }) {
  const folder = join(work, "deflated");
  mkdirSync(folder);
  const [source, output] = [join(folder, "model.pt"), join(folder, "model.safetensors")];
  runPython(python, "make_deflated.py", [source, String(SIZE)]);

  const { status, stderr, seconds, peak } = measureCommand("convert", source, output);
  report.equal("converted", { status, stderr }, { status: 0, stderr: "" });
  const megabytes = `${(peak / 1e6).toFixed(0)} MB`;
  report.check("memory", peak < MOST_MEMORY, megabytes);
  console.log(`  convert of ${SIZE / 1e6} MB: ${seconds.toFixed(1)} s, ${megabytes}`);

  const files = JSON.stringify([{ source, output, stateDict: "" }]);
  const [{ equal, problems }] = JSON.parse(runPython(python, "compare_converted.py", [], files));
  report.equal(
    "what torch loads",
    { equal: equal.sort(), problems },
    { equal: ["norm", "weight"], problems: [] },
  );
  rmSync(folder, { recursive: true });
}
