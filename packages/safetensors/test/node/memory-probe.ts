import { setTimeout as pause } from "node:timers/promises";
import { openPath } from "../../src/node/open-path.ts";

/**
 * Run as a process of its own: reads all of a checkpoint, and writes as JSON by how many bytes the memory of the process
 * at its peak was above what it was after opening, and how many bytes came.
 *
 * Arguments: path, budget in bytes, then any of `blocking`, `slow` (a consumer that takes longer than the reads) and `late` (one
 * that lets as much be read ahead as may be, before it goes on).
 */
const [path, budget, ...modes] = process.argv.slice(2);
const checkpoint = await openPath(path!, { blocking: modes.includes("blocking") });
const before = process.memoryUsage.rss();
let bytes = 0;
for await (const tensor of checkpoint.read({ budget: Number(budget), borrowed: true })) {
  if (bytes === 0 && modes.includes("late")) await pause(700);
  bytes += tensor.bytes.length;
  if (modes.includes("slow")) await pause(1);
}
await checkpoint.close();
console.log(JSON.stringify({ bytes, growth: process.resourceUsage().maxRSS * 1024 - before }));
