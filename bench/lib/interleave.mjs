/** Between the least and the greatest ratio of a quiet machine lies at most this factor. */
const QUIET_SPREAD = 1.5;

/**
 * Measures several sides in turn, A B C A B C …, so that a machine that slows down slows all of them. A first round
 * warms up and is not counted.
 *
 * @param sides functions by name; each runs one process and gives its figures
 * @param before called ahead of every single run with the name of its side
 * @param options `warmUp: false` leaves the first round out, where a run takes minutes
 * @returns the figures of each side, in the order of the runs
 */
export function interleave(sides, runs, before = () => {}, { warmUp = true } = {}) {
  const measured = Object.fromEntries(Object.keys(sides).map((name) => [name, []]));
  for (let round = warmUp ? 0 : 1; round <= runs; round++) {
    for (const [name, side] of Object.entries(sides)) {
      before(name);
      const figures = side();
      if (round > 0) measured[name].push(figures);
    }
  }
  return measured;
}

/**
 * One row of the table: ours against another's, by the runs that lay side by side.
 *
 * @param ours and theirs: figures of each run; `time` takes the milliseconds to compare out of them
 * @param goals `ratio`: the most that the ratio may be; `peak`: the most bytes of memory that ours may take
 */
export function compareRuns(title, { ours, theirs, opponent, time, timeOurs = time, goals = {} }) {
  const mine = ours.map(timeOurs);
  const others = theirs.map(time);
  const ratios = mine.map((value, run) => value / others[run]);
  const [low, high] = [Math.min(...ratios), Math.max(...ratios)];
  return {
    title,
    opponent,
    ours: median(mine),
    theirs: median(others),
    ratio: median(ratios),
    low,
    high,
    noisy: high / low > QUIET_SPREAD,
    peakOurs: greatest(ours),
    peakTheirs: greatest(theirs),
    goals,
    runs: { ours, theirs },
  };
}

/** Greatest peak memory of all runs; undefined where it was not measured. */
function greatest(runs) {
  const peaks = runs.map(({ peak }) => peak).filter((peak) => peak !== undefined);
  return peaks.length > 0 ? Math.max(...peaks) : undefined;
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Throws unless all sides came to the same result. */
export function assertSame(measured, key) {
  const results = Object.entries(measured).flatMap(([name, runs]) => runs.map((run) => [name, run[key]]));
  const odd = results.find(([, result]) => result === undefined || result !== results[0][1]);
  if (odd) throw new Error(`${key}: ${odd[0]} has ${odd[1]}, ${results[0][0]} has ${results[0][1]}`);
}
