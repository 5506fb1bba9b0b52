const HEAD = ["", "against", "ours", "other", "ratio", "range", "goal", "memory", "other", "goal"];

/** Prints the machine, a line for each row, and what to think of it. */
export function printTable(machine, rows) {
  const cells = [HEAD, ...rows.map(toCells)];
  const widths = HEAD.map((_, column) => Math.max(...cells.map((line) => line[column].length)));
  console.log(`\n${machine.hardware}; ${machine.system}; Node ${machine.node}; Python ${machine.python}`);
  console.log(
    "Times are medians. Ratio: ours / other, the median of pairs of runs; below 1 we are faster. Memory: the peak.\n",
  );
  for (const line of cells) {
    // Text to the left, figures to the right.
    const padded = line.map((cell, at) => (at < 2 ? cell.padEnd(widths[at]) : cell.padStart(widths[at])));
    console.log(padded.join("  ").trimEnd());
  }
  const noisy = rows.filter((row) => row.noisy).length;
  const load = machine.loadBefore.toFixed(1);
  console.log(
    `\nLoad average before: ${load}. Rows marked ~ varied by more than half: ${noisy} of ${rows.length}.`,
  );
  if (noisy > 0) console.log("Let no row marked ~ decide anything: measure it again on a quiet machine.");
}

function toCells(row) {
  return [
    row.title,
    row.opponent,
    milliseconds(row.ours),
    milliseconds(row.theirs),
    `${row.noisy ? "~" : ""}${row.ratio.toFixed(2)}`,
    `${row.low.toFixed(2)}–${row.high.toFixed(2)}`,
    verdict(row.goals.ratio, row.ratio, String),
    megabytes(row.peakOurs),
    megabytes(row.peakTheirs),
    verdict(row.goals.peak, row.peakOurs, megabytes),
  ];
}

function verdict(goal, value, show) {
  return goal === undefined ? "" : `≤ ${show(goal)} ${value <= goal ? "met" : "MISSED"}`;
}

function milliseconds(value) {
  return value < 100
    ? `${value.toPrecision(2)} ms`
    : value < 10_000
      ? `${value.toFixed(0)} ms`
      : `${(value / 1000).toFixed(1)} s`;
}

function megabytes(bytes) {
  return bytes === undefined ? "" : `${(bytes / 1e6).toFixed(0)} MB`;
}
