import { runChild, runNode } from "../lib/child.mjs";
import { assertSame, compareRuns, interleave, median } from "../lib/interleave.mjs";
import { touchMemory } from "../lib/machine.mjs";

/** Rows and columns of each weight. */
const SIDE = 4096;

/** What is computed, and the bytes of its result for each value. */
const TASKS = [
  { name: "gptq", title: "GPTQ, 4 bits by 128, to F32", size: 4, pool: true },
  { name: "gptq-bf16", title: "GPTQ, 4 bits by 128, to BF16", size: 2, pool: true },
  { name: "awq-bf16", title: "AWQ, 4 bits by 128, to BF16", size: 2, pool: true },
  { name: "fp8-bf16", title: "F8_E4M3 in blocks of 128 × 128, to BF16", size: 2, pool: true },
  { name: "mxfp4-bf16", title: "MXFP4 to BF16", size: 2, pool: true },
  { name: "bf16-f32", title: "cast BF16 to F32", size: 4 },
  { name: "f32-bf16", title: "cast F32 to BF16", size: 2 },
  { name: "f8-bf16", title: "cast F8_E4M3 to BF16", size: 2 },
  { name: "bf16-f8", title: "cast BF16 to F8_E4M3", size: 1 },
];

/**
 * Make a weight of 16.8 million values dense, or cast as many, in memory: against torch and against copying as many bytes
 * as the result has. Each side computes over and over in a process of its own.
 */
export function quantRows({ python, runs = 3 }) {
  return TASKS.flatMap((task) => {
    console.error(`quant: ${task.title}`);
    return task.pool
      ? [...rowsOf(python, task, "one", runs), ...rowsOf(python, task, "all", runs)]
      : rowsOf(python, task, "one", runs);
  });
}

function rowsOf(python, { name, title, size }, threads, runs) {
  const sides = {
    ours: () => runNode(["node/quant.mjs", name, threads, String(SIDE)]),
    torch: () => runChild(python, ["python/quant.py", name, threads, String(SIDE)]),
    copy: () => runChild(python, ["python/quant.py", `copy-${size}`, threads, String(SIDE)]),
  };
  const measured = interleave(sides, runs, () => touchMemory(1e9));
  const { copy, ...same } = measured;
  assertSame(same, "checksum");
  const time = ({ times }) => median(times);
  const of = threads === "one" ? "one thread" : "all processors";
  const row = (opponent, theirs, goals) =>
    compareRuns(`${title}, ${of}`, { ours: measured.ours, theirs, opponent, time, goals });
  return [row("torch", measured.torch, { ratio: 1 }), row("a copy of the result", copy, {})];
}
