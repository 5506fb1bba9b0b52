import { runChild, runNode } from "../lib/child.mjs";
import { dataFile } from "../lib/data.mjs";
import { assertSame, compareRuns, interleave, median } from "../lib/interleave.mjs";
import { warmFile } from "../lib/machine.mjs";

/** The cuts of a Llama, in the language of transformers. */
const PLAN = {
  embed_tokens: "embedding_rowwise",
  "layers.*.self_attn.q_proj": "colwise",
  "layers.*.self_attn.k_proj": "colwise",
  "layers.*.self_attn.v_proj": "colwise",
  "layers.*.self_attn.o_proj": "rowwise",
  "layers.*.mlp.gate_proj": "colwise",
  "layers.*.mlp.up_proj": "colwise",
  "layers.*.mlp.down_proj": "rowwise",
  lm_head: "colwise",
};

/** Bytes of a layer of the model that `make_data.py` makes, and of its embeddings. */
const LAYER_BYTES = 2 * (4 * 2048 ** 2 + 3 * 2048 * 5632 + 2 * 2048);
const EMBEDDING_BYTES = 2 * 32_000 * 2048;

/** Least part of what is read that is to be of use. */
const USEFUL = 0.95;

/**
 * One rank of a checkpoint of twice the size, each side in a process of its own, which keeps the whole share. All sides
 * must have the same bytes.
 */
export function shardRows({ python, size, runs = 3 }) {
  const path = dataFile(python, "model", 2 * size);
  const bytes = 2 * size * 1e9 - (2 * size > 0.5 ? EMBEDDING_BYTES : 0);
  // The last one has some of its tensors only.
  const layers = Math.ceil(bytes / LAYER_BYTES);
  const worlds = [
    ["tp 2", { tp: 2 }, 1],
    ["tp 4", { tp: 4 }, 1],
    ["tp 8", { tp: 8 }, 5],
    ...(layers >= 4 ? [["pp 4", { pp: 4 }, 1]] : []),
  ];
  return worlds.flatMap(([title, world, rank]) => {
    console.error(`shard: ${title}`);
    const task = JSON.stringify({ world, rank, plan: PLAN, layers });
    const ours = (source, way) => () => runNode(["--expose-gc", "node/shard.mjs", path, source, way, task]);
    const theirs = (framework) => () => runChild(python, ["python/shard.py", path, framework, task]);
    const sides = {
      fileRead: ours("file", "read"),
      exactRead: ours("exact", "read"),
      fileLoad: ours("file", "load"),
      mappedRead: ours("mapped", "read"),
      numpy: theirs("numpy"),
      torch: theirs("pt"),
    };
    const measured = interleave(sides, runs, () => warmFile(path));
    assertSame(measured, "checksum");
    const shareOf = ([{ usefulBytes, bytesRead }]) =>
      `${((100 * usefulBytes) / bytesRead).toFixed(1)} % of use${usefulBytes / bytesRead < USEFUL ? " MISSED" : ""}`;
    const row = (what, mine, other, opponent, time) =>
      compareRuns(`rank of ${title}, ${what}`, {
        ours: measured[mine],
        theirs: measured[other],
        opponent,
        time,
        goals: {},
      });
    const first = (run) => run.first;
    const later = ({ again }) => median(again);
    return [
      row(
        `file, only what is asked for (${shareOf(measured.exactRead)})`,
        "exactRead",
        "numpy",
        "get_slice, numpy",
        later,
      ),
      row(
        `file, readShare() (${shareOf(measured.fileRead).replace(" MISSED", "")})`,
        "fileRead",
        "numpy",
        "get_slice, numpy",
        later,
      ),
      row("file, readShare()", "fileRead", "torch", "get_slice, torch", later),
      row("file, load()", "fileLoad", "numpy", "get_slice, numpy", later),
      row("mapped, readShare()", "mappedRead", "numpy", "get_slice, numpy", later),
      row("file, readShare(), first call", "fileRead", "numpy", "get_slice, numpy", first),
    ];
  });
}
