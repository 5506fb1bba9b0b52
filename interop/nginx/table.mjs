/** A table of what each case took, according to the log of nginx, and what became of the reads. */
export function showTable(rows) {
  const lines = rows.map(({ key, requests, outcome, seconds }) => [
    key,
    String(requests.length),
    requests.reduce((sum, { bytes }) => sum + bytes, 0).toLocaleString("en"),
    counted(countBy(requests, ({ status }) => status)),
    counted(new Map([["right", outcome.right], ...outcome.codes])),
    seconds.toFixed(1),
  ]);
  const table = [["case", "requests", "bytes", "statuses", "reads", "s"], ...lines];
  const widths = table[0].map((_, column) => Math.max(...table.map((line) => line[column].length)));
  const toRight = new Set([1, 2, 5]);
  const show = (cell, column) =>
    toRight.has(column) ? cell.padStart(widths[column]) : cell.padEnd(widths[column]);
  return table.map((line) => `  ${line.map(show).join("  ").trimEnd()}`).join("\n");
}

function countBy(items, keyOf) {
  const counts = new Map();
  for (const item of items) counts.set(keyOf(item), (counts.get(keyOf(item)) ?? 0) + 1);
  return counts;
}

function counted(counts) {
  return [...counts].map(([what, count]) => `${count}× ${what}`).join(", ");
}
