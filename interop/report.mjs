import { isDeepStrictEqual } from "node:util";

/** Failures shown of one step; the rest is only counted. */
const SHOWN = 20;

/** Counts what was checked in one step, and says what failed. A step that checks nothing has failed. */
export class Report {
  passed = 0;
  failed = 0;

  check(name, ok, detail = "") {
    if (ok) this.passed++;
    else if (++this.failed <= SHOWN) console.log(`  FAILED ${name}${detail && `: ${detail}`}`);
  }

  equal(name, actual, expected) {
    const ok = isDeepStrictEqual(actual, expected);
    this.check(name, ok, ok ? "" : `${show(actual)}, expected ${show(expected)}`);
  }

  /** Runs a check that may throw; then it has failed. */
  async try(name, action) {
    try {
      return await action();
    } catch (error) {
      this.check(name, false, error.stack ?? String(error));
    }
  }
}

/** Runs one step and prints its counts. */
export async function runStep(title, step, context) {
  const report = new Report();
  const start = performance.now();
  await report.try(title, () => step(report, context));
  if (report.passed + report.failed === 0) report.check(title, false, "nothing was checked");
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(`${title}: ${report.passed} passed, ${report.failed} failed (${seconds} s)`);
  return report;
}

function show(value) {
  const text = JSON.stringify(value, (_, part) => (part instanceof Map ? [...part] : part)) ?? String(value);
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}
