import { runChild, runNode } from "../lib/child.mjs";
import { dataFile } from "../lib/data.mjs";
import { assertSame, compareRuns, interleave, median } from "../lib/interleave.mjs";
import { ensurePeers } from "../lib/peers.mjs";

const TENSORS = [100, 1_000, 10_000, 100_000, 500_000];

/** Repeats in one process, for the figures of a process that has done it before. */
const REPEATS = 3;

/** Readers in JavaScript, and the most tensors whose header they take: the hub's client has a limit of 25 MB. */
const PEERS = { hub: "@huggingface/hub", "jax-js": "@jax-js/loaders" };
const MOST = { hub: 100_000, "jax-js": Number.POSITIVE_INFINITY };

/** From here on the header, and not the start of a program, is what is measured. */
const LEAST_FOR_PEERS = 10_000;

/** Open a file and list its names: the cost of the header. */
export function openRows({ python, runs = 10 }) {
  ensurePeers();
  return TENSORS.flatMap((count) => {
    console.error(`open: ${count} tensors`);
    const path = dataFile(python, "header", count);
    const peers = Object.keys(PEERS).filter((peer) => count >= LEAST_FOR_PEERS && count <= MOST[peer]);
    const sides = (repeats) => ({
      ours: () => runNode(["node/open.mjs", path, "ours", String(repeats)]),
      theirs: () => runChild(python, ["python/open.py", path, String(repeats)]),
      ...Object.fromEntries(
        peers.map((peer) => [peer, () => runNode(["node/open.mjs", path, peer, String(repeats)])]),
      ),
    });
    // The largest headers take seconds, and fewer runs for a steady figure.
    const times = count > 100_000 ? Math.ceil(runs / 2) : runs;
    const fresh = interleave(sides(0), times);
    const warm = interleave(sides(REPEATS), Math.ceil(times / 3));
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
    const later = ({ again }) => median(again);
    return [
      row("first call", fresh, "theirs", "safe_open, numpy", first, { ratio: 0.5 }),
      row("later calls", warm, "theirs", "safe_open, numpy", later, { ratio: 0.5 }),
      row("whole process", fresh, "theirs", "safe_open, numpy", ({ wall }) => wall),
      ...peers.flatMap((peer) => [
        row("first call", fresh, peer, PEERS[peer], first),
        row("later calls", warm, peer, PEERS[peer], later),
      ]),
    ];
  });
}
