import { runChild, runNode } from "../lib/child.mjs";
import { assertSame, compareRuns, interleave, median } from "../lib/interleave.mjs";
import { touchMemory } from "../lib/machine.mjs";

/** Rows and columns of each weight. */
const SIDE = 4096;

/** What is computed, and the bytes of its result for each value. */
const TASKS = [
  { name: "gptq", title: "GPTQ, 4 bits by 128, to F32", size: 4 },
  { name: "gptq-bf16", title: "GPTQ, 4 bits by 128, to BF16", size: 2 },
  { name: "awq-bf16", title: "AWQ, 4 bits by 128, to BF16", size: 2 },
  { name: "fp8-bf16", title: "F8_E4M3 in blocks of 128 × 128, to BF16", size: 2 },
  { name: "mxfp4-bf16", title: "MXFP4 to BF16", size: 2 },
  { name: "bf16-f32", title: "cast BF16 to F32", size: 4, cast: true },
  { name: "f32-bf16", title: "cast F32 to BF16", size: 2, cast: true },
  { name: "f16-f32", title: "cast F16 to F32", size: 4, cast: true },
  { name: "f32-f16", title: "cast F32 to F16", size: 2, cast: true },
  { name: "f8-f32", title: "cast F8_E4M3 to F32", size: 4, cast: true },
  { name: "f8-bf16", title: "cast F8_E4M3 to BF16", size: 2, cast: true },
  { name: "f32-f8", title: "cast F32 to F8_E4M3", size: 1, cast: true },
  { name: "bf16-f8", title: "cast BF16 to F8_E4M3", size: 1, cast: true },
];

/** The most time of a copy that a cast may take, both of as many bytes read and written. */
const MOST_COPIES = 1 / 0.6;

/**
 * Make a weight of 16.8 million values dense, or cast as many, in memory: against torch and against copying as many bytes
 * as the result has. Each side computes over and over in a process of its own. Casts by one
 * thread have their arrays in the memory of the kernels, those by all processors in shared memory; they are also measured
 * against copies of as many bytes of traffic in the same process.
 */
export function quantRows({ python, runs = 3 }) {
  return TASKS.flatMap((task) => {
    console.error(`quant: ${task.title}`);
    return [...rowsOf(python, task, "one", runs), ...rowsOf(python, task, "all", runs)];
  });
}

function rowsOf(python, { name, title, size, cast }, threads, runs) {
  const sides = {
    ours: () => runNode(["node/quant.mjs", name, threads, String(SIDE)]),
    torch: () => runChild(python, ["python/quant.py", name, threads, String(SIDE)]),
    ...(!cast && {
      copy: () => runChild(python, ["python/quant.py", `copy-${size}`, threads, String(SIDE)]),
    }),
  };
  const measured = interleave(sides, runs, () => touchMemory(1e9));
  const { copy, ...same } = measured;
  assertSame(same, "checksum");
  const time = ({ times }) => median(times);
  const of = threads === "one" ? "one thread" : "all processors";
  const row = (opponent, theirs, goals) =>
    compareRuns(`${title}, ${of}`, { ours: measured.ours, theirs, opponent, time, goals });
  const rows = [row("torch", measured.torch, { ratio: 1 })];
  if (!cast) return [...rows, row("a copy of the result", copy, {})];
  const copied = measured.ours.map(({ copies }) => ({ times: copies }));
  const goals = threads === "one" ? { ratio: MOST_COPIES } : {};
  return [...rows, row("a copy by one thread, same traffic", copied, goals)];
}
