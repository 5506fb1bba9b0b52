/** Prints outcomes as a table of checks and runtimes, then what is wrong. Gives the number of failures. */
export function printOutcomes(outcomes) {
  const checks = Object.keys(outcomes[0].checks);
  const first = Math.max(...checks.map((check) => check.length));
  const widths = outcomes.map(({ name }) => Math.max(name.length, 6));
  const line = (title, cells) =>
    [title.padEnd(first), ...cells.map((cell, i) => cell.padEnd(widths[i]))].join("  ").trimEnd();
  console.log(
    line(
      "",
      outcomes.map(({ name }) => name),
    ),
  );
  for (const check of checks) {
    console.log(
      line(
        check,
        outcomes.map(({ checks }) => (checks[check] === undefined ? "ok" : "FAILED")),
      ),
    );
  }
  const failures = outcomes.flatMap(({ name, checks }) =>
    Object.entries(checks).flatMap(([check, problem]) =>
      problem === undefined ? [] : `${name}, ${check}: ${problem}`,
    ),
  );
  for (const failure of failures) console.log(`\n${failure}`);
  return failures.length;
}
