const LEVELS = "▁▂▃▄▅▆▇█";

/** Counts as a row of bars; an empty part stays empty, so that a single value still shows. */
export function sparkline(counts: readonly number[]): string {
  const most = Math.max(...counts, 1);
  return counts
    .map((count) => (count === 0 ? " " : LEVELS[Math.ceil((count / most) * LEVELS.length) - 1]!))
    .join("");
}
