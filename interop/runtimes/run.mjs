import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";
import { makeInputs } from "./inputs.mjs";
import { serve } from "./server.mjs";

const SMOKE = fileURLToPath(new URL("smoke.mjs", import.meta.url));
const PATIENCE = 60_000;

/**
 * Runs all checks in every runtime. Gives for each its name and the checks' outcomes: name -> undefined if it passed,
 * else what is wrong. What Python wrote decides; where it says nothing, the first runtime does.
 */
export async function runRuntimes(runtimes, work) {
  const input = join(work, "input");
  const { expected, ...choice } = await makeInputs(input);
  const files = await serve(input);
  const redirects = await serve(input, { target: files.url });
  const outcomes = [];
  let first;
  try {
    for (const [number, runtime] of runtimes.entries()) {
      const output = join(work, `output-${number}`);
      rmSync(output, { recursive: true, force: true });
      mkdirSync(output);
      const context = { ...choice, url: files.url, moved: `${redirects.url}moved/`, input, output };
      const results = await runSmoke(runtime, { ...context, results: `${output}.json` });
      first ??= results;
      outcomes.push({ name: runtime.name, checks: judgeAll(results, first, expected) });
    }
  } finally {
    files.close();
    redirects.close();
  }
  return outcomes;
}

/** Compares the results of all checks. A check that is missing has failed. */
export function judgeAll(results, first, expected) {
  const names = new Set([...Object.keys(first), ...Object.keys(expected)]);
  return Object.fromEntries(
    Array.from(names, (name) => [name, judge(results[name], first[name], expected[name])]),
  );
}

function judge(result, first, expected) {
  if (!result) return "it did not run";
  if (result.error !== undefined) return result.error;
  if (expected !== undefined && !isDeepStrictEqual(result.value, expected)) {
    return `${firstDifference(result.value, expected)} by the fixtures`;
  }
  if (isDeepStrictEqual(result.value, first?.value)) return undefined;
  return `${firstDifference(result.value, first?.value)} in the first runtime`;
}

/** Where two values differ, in a few words. */
function firstDifference(found, wanted, path = "") {
  if (typeof found === "object" && typeof wanted === "object" && found && wanted) {
    for (const key of new Set([...Object.keys(found), ...Object.keys(wanted)])) {
      if (!isDeepStrictEqual(found[key], wanted[key])) {
        return firstDifference(found[key], wanted[key], `${path}/${key}`);
      }
    }
  }
  return `${path}: ${JSON.stringify(found)}, but ${JSON.stringify(wanted)}`;
}

/** Runs smoke.mjs; without results every check counts as not run, and what the runtime printed is shown. */
async function runSmoke({ name, program, options }, context) {
  const child = spawn(program, [...options, SMOKE, JSON.stringify(context)], {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: PATIENCE,
  });
  let printed = "";
  child.stdout.on("data", (text) => (printed += text));
  child.stderr.on("data", (text) => (printed += text));
  const status = await new Promise((resolve) => {
    child.on("error", (error) => resolve(String(error)));
    child.on("close", (code, signal) => resolve(code ?? signal));
  });
  if (status === 0) return JSON.parse(readFileSync(context.results, "utf8"));
  console.log(`${name} ended with ${status}:\n${printed}`);
  return {};
}
