// Runs the checks of files.mjs and portable.mjs in the runtime that runs this. The context comes as JSON, so do the results.
import { writeFileSync } from "node:fs";
import process from "node:process";
import { runChecks } from "./describe.mjs";
import { files } from "./files.mjs";
import { portable } from "./portable.mjs";

const context = JSON.parse(process.argv[2]);
const results = await runChecks({ ...portable, ...files }, context);
writeFileSync(context.results, JSON.stringify(results));
