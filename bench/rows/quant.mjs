import { createHash } from "node:crypto";
import { closeSync, openSync, readFileSync, readSync, rmSync } from "node:fs";
import { join } from "node:path";
import { runChild, runNode } from "../lib/child.mjs";
import { dataFile, WORK } from "../lib/data.mjs";
import { assertSame, compareRuns, interleave, median } from "../lib/interleave.mjs";
import { settleDisk, touchMemory, warmFile } from "../lib/machine.mjs";

/** Rows and columns of each weight. */
const SIDE = 4096;

/** What is made dense. */
const WEIGHTS = {
  gptq: "GPTQ, 4 bits by 128, to F32",
  "gptq-bf16": "GPTQ, 4 bits by 128, to BF16",
  "awq-bf16": "AWQ, 4 bits by 128, to BF16",
  "fp8-bf16": "F8_E4M3 in blocks of 128 × 128, to BF16",
  "mxfp4-bf16": "MXFP4 to BF16",
};

const CASTS = {
  "bf16-f32": "cast BF16 to F32",
  "f32-bf16": "cast F32 to BF16",
  "f16-f32": "cast F16 to F32",
  "f32-f16": "cast F32 to F16",
  "f8-f32": "cast F8_E4M3 to F32",
  "f8-bf16": "cast F8_E4M3 to BF16",
  "f32-f8": "cast F32 to F8_E4M3",
  "bf16-f8": "cast BF16 to F8_E4M3",
};

const QUANTISED = {
  "fp8-dynamic": "quantise to FP8, a scale for each row",
  "fp8-block": "quantise to FP8, blocks of 128 × 128",
  "gptq-int4-g128": "round to 4 bits by 128, packed as GPTQ",
  gptq: "GPTQ of a weight of 1,024 × 1,024",
};

/** Weights of 34 MB in the file that is cast. */
const CAST_WEIGHTS = 8;

/** The most time of a copy that a cast may take, both of as many bytes read and written. */
const MOST_COPIES = 1.67;

/** The most that a cast from file to file may take, whatever the size of the file. */
const MOST_MEMORY = 200e6;

/** The most codes of GPTQ that may differ: where a value lies between two, the order of additions decides. */
const MOST_DIFFERENT = 1e-4;

/** Makes weights dense, casts and quantises: what each costs in memory, and a cast from file to file. */
export function quantRows({ python, runs = 2 }) {
  return [
    ...computeRows(python, "dequantise", WEIGHTS, runs),
    ...computeRows(python, "cast", CASTS, runs),
    ...fileRows(python, runs),
    ...quantiseRows(python, runs),
  ];
}

/** Each side does all tasks in one process, as torch takes seconds to import. */
function computeRows(python, title, tasks, runs) {
  console.error(`quant: ${title}`);
  const args = [String(SIDE), ...Object.keys(tasks)];
  const measured = interleave(
    {
      ours: () => runNode(["node/quant.mjs", ...args]),
      torch: () => runChild(python, ["python/quant.py", ...args]),
    },
    runs,
    () => touchMemory(1e9),
  );
  return Object.entries(tasks).flatMap(([task, name]) =>
    ["one", "all"].flatMap((threads) => rowsOf(name, task, threads, measured, title === "cast")),
  );
}

function rowsOf(name, task, threads, measured, isCast) {
  const [ours, torch] = ["ours", "torch"].map((side) =>
    measured[side].map((run) => run.measured[task][threads]),
  );
  assertSame({ ours, torch }, "checksum");
  const title = `${name}, ${threads === "one" ? "one thread" : "all processors"}`;
  const row = (opponent, theirs, ratio) =>
    compareRuns(title, { ours, theirs, opponent, time: timeOf, goals: ratio ? { ratio } : {} });
  const copied = ours.map(({ copies }) => ({ times: copies }));
  return isCast
    ? [
        row("torch", torch, 1),
        row("a copy by one thread, same traffic", copied, threads === "one" ? MOST_COPIES : undefined),
      ]
    : [row("torch", torch, 1), row("a copy of the result by one thread", copied)];
}

const timeOf = ({ times }) => median(times);

/** A file of BF16 as one of F32. */
function fileRows(python, runs) {
  console.error("quant: cast a file");
  const source = dataFile(python, "bf16", CAST_WEIGHTS);
  const target = join(WORK, "cast.safetensors");
  const checked = (figures) => ({ ...figures, checksum: hashData(target) });
  const measured = interleave(
    {
      ours: () => checked(runNode(["node/cast-file.mjs", source, target])),
      python: () => checked(runChild(python, ["python/cast_file.py", source, target])),
    },
    runs,
    () => {
      rmSync(target, { force: true });
      settleDisk();
      warmFile(source);
      touchMemory(2e9);
    },
  );
  rmSync(target, { force: true });
  assertSame(measured, "checksum");
  const row = (title, timeOurs, goals) =>
    compareRuns(`cast BF16 to F32, file to file, 268 MB, ${title}`, {
      ours: measured.ours,
      theirs: measured.python,
      opponent: "torch, save_file",
      timeOurs,
      time: ({ work }) => work,
      goals,
    });
  return [
    row("with flush", ({ work }) => work, { peak: MOST_MEMORY }),
    row("without flush", ({ work, flush }) => work - flush, { peak: MOST_MEMORY, ratio: 1 }),
  ];
}

/** The hash of what follows the header: both sides have the tensors in the same order. */
function hashData(path) {
  const buffer = new Uint8Array(4 << 20);
  const fd = openSync(path, "r");
  readSync(fd, buffer, 0, 8, 0);
  let position = 8 + Number(new DataView(buffer.buffer).getBigUint64(0, true));
  const hash = createHash("sha256");
  for (let read = Infinity; read > 0; position += read) {
    read = readSync(fd, buffer, 0, buffer.length, position);
    hash.update(buffer.subarray(0, read));
  }
  closeSync(fd);
  return hash.digest("hex");
}

/** Both by one thread. */
function quantiseRows(python, runs) {
  console.error("quant: quantise");
  const source = dataFile(python, "weights", SIDE);
  const codes = { ours: join(WORK, "ours.codes"), torch: join(WORK, "torch.codes") };
  const measured = interleave(
    {
      ours: () => runNode(["node/quantize.mjs", source, codes.ours]),
      torch: () => runChild(python, ["python/quantize.py", source, codes.torch]),
    },
    runs,
    () => touchMemory(1e9),
  );
  const different = shareOfDifferent(readFileSync(codes.ours), readFileSync(codes.torch));
  if (different > MOST_DIFFERENT) throw new Error(`GPTQ: ${different} of all codes are not those of torch`);
  for (const path of Object.values(codes)) rmSync(path);
  return Object.entries(QUANTISED).map(([task, name]) => {
    const [ours, theirs] = ["ours", "torch"].map((side) => measured[side].map((run) => run.measured[task]));
    if (task !== "gptq") assertSame({ ours, theirs }, "checksum");
    const title = task === "gptq" ? `${name}, ${percent(different)} of codes differ` : `${name}, one thread`;
    return compareRuns(title, { ours, theirs, opponent: "torch", time: timeOf, goals: { ratio: 1 } });
  });
}

function shareOfDifferent(ours, theirs) {
  if (ours.length !== theirs.length) return 1;
  return ours.reduce((sum, code, i) => sum + Number(code !== theirs[i]), 0) / ours.length;
}

function percent(share) {
  return `${(100 * share).toFixed(4)} %`;
}
