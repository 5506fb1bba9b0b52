import { runChild, runNode } from "../lib/child.mjs";
import { dataFile } from "../lib/data.mjs";
import { assertSame, compareRuns, interleave, median } from "../lib/interleave.mjs";
import { ensurePeers } from "../lib/peers.mjs";

const TENSORS = [100, 1_000, 10_000, 100_000, 500_000];

/** Seconds of repeats in one process, for the figures of one that has done it before: the engine compiles for most of the first. */
const LATER = 2;

/**
 * Others in JavaScript, and for how many tensors: from 10,000 on the header, and not the start of a program, is what is
 * measured; the hub's client takes no header of more than 25 MB.
 */
const PEERS = {
  json: { title: "JSON.parse alone, a limit", least: 0, most: Number.POSITIVE_INFINITY },
  hub: { title: "@huggingface/hub", least: 10_000, most: 100_000 },
  "jax-js": { title: "@jax-js/loaders", least: 10_000, most: Number.POSITIVE_INFINITY },
};

/** Open a file and list its names: the cost of the header. */
export function openRows({ python, runs = 10 }) {
  ensurePeers();
  return TENSORS.flatMap((count) => {
    console.error(`open: ${count} tensors`);
    const path = dataFile(python, "header", count);
    const peers = Object.keys(PEERS).filter(
      (peer) => count >= PEERS[peer].least && count <= PEERS[peer].most,
    );
    const sides = (seconds) => ({
      ours: () => runNode(["node/open.mjs", path, "ours", String(seconds)]),
      theirs: () => runChild(python, ["python/open.py", path, String(seconds)]),
      ...Object.fromEntries(
        peers.map((peer) => [peer, () => runNode(["node/open.mjs", path, peer, String(seconds)])]),
      ),
    });
    // The largest headers take seconds, and fewer runs for a steady figure.
    const times = count > 100_000 ? Math.ceil(runs / 2) : runs;
    const fresh = interleave(sides(0), times);
    const warm = interleave(sides(LATER), Math.ceil(times / 3));
    assertSame(fresh, "names");
    assertSame(warm, "names");

    const title = `open and list ${count.toLocaleString("en")} tensors`;
    const row = (what, measured, other, opponent, time, goals) =>
      compareRuns(`${title}, ${what}`, {
        ours: measured.ours,
        theirs: measured[other],
        opponent,
        time,
        goals,
      });
    const first = (run) => run.first;
    // Without the first half, during which the engine still compiles.
    const later = ({ again }) => median(again.slice(-Math.ceil(again.length / 2)));
    return [
      row("first call", fresh, "theirs", "safe_open, numpy", first, { ratio: 0.5 }),
      row("later calls", warm, "theirs", "safe_open, numpy", later, { ratio: 0.5 }),
      compareRuns(`${title}, ${PEERS.json.title}, first call`, {
        ours: fresh.json,
        theirs: fresh.theirs,
        opponent: "safe_open, numpy",
        time: first,
      }),
      row("whole process", fresh, "theirs", "safe_open, numpy", ({ wall }) => wall),
      ...peers.flatMap((peer) => [
        row("first call", fresh, peer, PEERS[peer].title, first),
        row("later calls", warm, peer, PEERS[peer].title, later),
      ]),
    ];
  });
}
