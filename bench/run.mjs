// Measures the library side by side with the Python originals: npm run bench. See README.md for how to read it.
import { rmSync } from "node:fs";
import { parseArgs } from "node:util";
import { ensureVenv } from "../interop/venv.mjs";
import { prepare } from "../scripts/prepare.mjs";
import { checkDiskSpace, WORK } from "./lib/data.mjs";
import { describeMachine } from "./lib/machine.mjs";
import { printTable } from "./lib/table.mjs";
import { coldRows } from "./rows/cold.mjs";
import { convertRows } from "./rows/convert.mjs";
import { cutRows } from "./rows/cut.mjs";
import { largeRows } from "./rows/large.mjs";
import { loadRows } from "./rows/load.mjs";
import { millionRows } from "./rows/million.mjs";
import { oneRows } from "./rows/one.mjs";
import { openRows } from "./rows/open.mjs";
import { quantRows } from "./rows/quant.mjs";
import { remoteRows } from "./rows/remote.mjs";
import { reshapeRows } from "./rows/reshape.mjs";
import { scanRows } from "./rows/scan.mjs";
import { shardRows } from "./rows/shard.mjs";
import { smallRows } from "./rows/small.mjs";

const GROUPS = {
  open: openRows,
  one: oneRows,
  load: loadRows,
  cut: cutRows,
  remote: remoteRows,
  cold: coldRows,
  convert: convertRows,
  small: smallRows,
  reshape: reshapeRows,
  scan: scanRows,
  shard: shardRows,
  quant: quantRows,
  large: largeRows,
  million: millionRows,
};

/** Those that are measured only when they are asked for: they take long. */
const ON_REQUEST = ["large", "million"];

const USAGE = `npm run bench -- [options]
  --only GROUPS   some of ${Object.keys(GROUPS).join(",")} (default: all but ${ON_REQUEST.join(" and ")})
  --large         also convert 4 GB, for its memory
  --runs N        measured runs of each side (default: from 10 for open to 1 for million)
  --size GB       size of the large checkpoint (default: 1)
  --json          print everything measured as JSON instead of the table
  --clean         delete the files made for measuring, and stop`;

const { options, groups } = readArguments();
if (options.clean) {
  rmSync(WORK, { recursive: true, force: true });
  process.exit();
}
await prepare();
checkDiskSpace(groups, options.size);
const python = ensureVenv();
const machine = describeMachine(python);
const rows = [];
for (const group of groups) {
  rows.push(...(await GROUPS[group]({ python, size: options.size, runs: options.runs })));
}
if (options.json) console.log(JSON.stringify({ machine, rows }, undefined, 2));
else printTable(machine, rows);

function readArguments() {
  try {
    const { values } = parseArgs({
      options: {
        only: { type: "string" },
        large: { type: "boolean" },
        runs: { type: "string" },
        size: { type: "string", default: "1" },
        json: { type: "boolean" },
        clean: { type: "boolean" },
      },
    });
    const groups =
      values.only?.split(",") ?? Object.keys(GROUPS).filter((group) => !ON_REQUEST.includes(group));
    if (values.large && !groups.includes("large")) groups.push("large");
    const unknown = groups.find((group) => !Object.hasOwn(GROUPS, group));
    if (unknown !== undefined) throw new Error(`there are no rows named "${unknown}"`);
    const size = Number(values.size);
    if (!(size >= 0.01 && size <= 100)) throw new Error("--size is a number of GB from 0.01 to 100");
    const runs = values.runs === undefined ? undefined : Number(values.runs);
    if (runs !== undefined && !(Number.isInteger(runs) && runs > 0))
      throw new Error("--runs is a whole number");
    return { options: { ...values, size, runs }, groups };
  } catch (error) {
    console.error(`${error.message}\n\n${USAGE}`);
    process.exit(2);
  }
}
