// Runs the checks of files.mjs and everywhere.mjs in the runtime that runs this. The context comes as JSON, so do the results.
import { writeFileSync } from "node:fs";
import process from "node:process";
import { runChecks } from "./describe.mjs";
import { everywhere } from "./everywhere.mjs";
import { files } from "./files.mjs";

const context = JSON.parse(process.argv[2]);
const results = await runChecks({ ...everywhere, ...files }, context);
writeFileSync(context.results, JSON.stringify(results));
