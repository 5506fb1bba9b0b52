import { spawnSync } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { DTYPE_ORDER, DTYPES, fromBytes, openSafetensors, range, reshape, transpose } from "safetensors.js";
import { saveTorch } from "safetensors.js/node";
import { memorySink, save } from "safetensors.js/save";
import { runPython, sha256 } from "../python.mjs";
import { readExpected } from "./goldens.mjs";
import { mulberry32 } from "./mutate.mjs";

const COMMAND = fileURLToPath(new URL("../../packages/cli/bin/safetensors.js", import.meta.url));

/** Shapes without dimensions, without elements and with odd sizes; sizes whose numbers take one, two and four bytes. */
const SHAPES = [[], [0], [3, 0], [0, 4], [1], [2, 3, 4], [1, 1, 1, 1, 12], [300], [70_000]];

/** Numbers of entries around the batches in which Python writes a dict. */
const COUNTS = [0, 1, 2, 999, 1000, 1001, 2000];

/** PyTorch files written by us: what torch loads from them in each way, and what it would have written itself. */
export async function writeTorchFiles(report, { python, work }) {
  const folder = join(work, "written-torch");
  await mkdir(folder);
  const random = mulberry32(11);
  const files = filesToWrite(random);
  files.set("views.pt", { tensors: await views(random) });
  for (const [file, { tensors, aliases }] of files) await saveTorch(join(folder, file), tensors, { aliases });
  const tied = convertThereAndBack(report, work, folder);

  const found = JSON.parse(runPython(python, "read_torch_back.py", [folder]));
  for (const [file, read] of Object.entries(found)) {
    report.check(`${file}: is loaded`, read.error === undefined, read.error);
    if (read.error !== undefined) continue;
    report.check(`${file}: is a plain dict of contiguous tensors`, read.plain && read.contiguous);
    report.check(`${file}: is what torch.save writes`, read.same);
  }
  for (const [file, { tensors, aliases = {} }] of files) {
    const expected = await describe(tensors, aliases);
    for (const [way, rows] of Object.entries(found[file]?.tensors ?? {}))
      report.equal(`${file}, ${way}`, rows, expected);
    report.equal(`${file}: tied`, found[file]?.aliases, groupsOf(aliases));
  }
  const originals = readExpected(join(work, "torch"));
  for (const [file, source] of tied) {
    const byName = (rows = []) => [...rows].sort((a, b) => (a.name < b.name ? -1 : 1));
    const sorted = (groups = []) => groups.map((group) => [...group].sort()).sort();
    const { tensors, aliases } = originals[source];
    const expected = byName(tensors).map(({ name, dtype, shape, sha256 }) => ({
      name,
      dtype,
      shape,
      sha256,
    }));
    report.equal(`${file}: tensors`, byName(found[file]?.tensors?.["weights only"]), expected);
    report.equal(`${file}: tied`, sorted(found[file]?.aliases), sorted(aliases));
  }
}

/** File name → tensors: each dtype in all shapes it can have, hard names, many tensors. */
function filesToWrite(random) {
  const files = new Map();
  const mixed = {};
  for (const dtype of DTYPE_ORDER.filter((name) => !name.startsWith("F6_"))) {
    const tensors = {};
    for (const shape of SHAPES) {
      // A tensor of torch has pairs of 4-bit floats along its last dimension.
      if (dtype !== "F4" || (shape.at(-1) ?? 1) % 2 === 0)
        tensors[`[${shape}]`] = randomTensor(random, dtype, shape);
    }
    files.set(`${dtype}.pt`, { tensors });
    mixed[dtype] = tensors["[2,3,4]"];
  }
  files.set("mixed.pt", { tensors: mixed, aliases: { packed: "F4", tied: "F32", "other ü": "F32" } });
  const names = [
    "",
    "a",
    "ä",
    "\ue000",
    "😀",
    "\0",
    '"',
    "\\",
    "/",
    "\n",
    "storage",
    "cpu",
    "0",
    "__metadata__",
  ];
  files.set("names.pt", { tensors: names.map((name) => [name, randomTensor(random, "U8", [1])]) });
  for (const count of COUNTS) {
    const tensors = Array.from({ length: count }, (_, i) => [
      `layer.${i}`,
      randomTensor(random, "BF16", [i % 5]),
    ]);
    files.set(`${count} tensors.pt`, { tensors });
  }
  return files;
}

function randomTensor(random, dtype, shape) {
  const bits = shape.reduce((product, size) => product * size, DTYPES[dtype].bits);
  const data = Uint8Array.from({ length: bits / 8 }, () => random() * (dtype === "BOOL" ? 2 : 256));
  return { dtype, shape, data };
}

/** Tensors of another checkpoint, cut and turned in every way. */
async function views(random) {
  const sink = memorySink();
  await save(sink, {
    x: randomTensor(random, "F32", [6, 8, 10]),
    y: randomTensor(random, "BF16", [512, 700]),
  });
  const checkpoint = await openSafetensors(fromBytes(sink.bytes()));
  const [x, y] = [checkpoint.get("x"), checkpoint.get("y")];
  return [
    ["whole", x],
    ["row", x.slice(2)],
    ["element", x.slice(1, 2, 3)],
    ["nothing", x.slice(range(3, 3))],
    ["steps", x.slice(range(null, null, 2), "...", range(9, null, -3))],
    ["rows by number", x.slice([5, 0, 0])],
    ["transposed", transpose(x)],
    ["large transposed", transpose(y)],
    ["reshaped", reshape(x, [48, -1])],
    ["column", y.slice("...", 699)],
  ];
}

/** What torch is to find: `describe` of make_torch_fixtures.py. */
async function describe(tensors, aliases) {
  const rows = [];
  for (const [name, tensor] of Array.isArray(tensors) ? tensors : Object.entries(tensors)) {
    const { dtype, shape } = tensor;
    const hash = sha256(tensor.data instanceof Uint8Array ? tensor.data : await tensor.bytes());
    const others = Object.keys(aliases).filter((alias) => aliases[alias] === name);
    for (const one of [name, ...others.sort()])
      rows.push({ name: one, dtype, shape: [...shape], sha256: hash });
  }
  return rows;
}

function groupsOf(aliases) {
  return [...new Set(Object.values(aliases))].map((name) => [
    name,
    ...Object.keys(aliases)
      .filter((alias) => aliases[alias] === name)
      .sort(),
  ]);
}

/** PyTorch to safetensors and back with the command: ties are to be there again. Gives each new file with its original. */
function convertThereAndBack(report, work, folder) {
  const run = (...args) => spawnSync(process.execPath, [COMMAND, "convert", ...args], { encoding: "utf8" });
  const made = [];
  for (const [file, source] of [
    ["tied.pt", "tied.pt"],
    ["sharded-tied", "sharded-tied/pytorch_model.bin.index.json"],
    ["dtypes.pt", "dtypes.pt"],
  ]) {
    const between = join(work, `${file}.between${file.endsWith(".pt") ? ".safetensors" : "/"}`);
    const output = `back from ${file.replace(".pt", "")}.pt`;
    const there = run(join(work, "torch", file), between);
    report.check(`${file} becomes safetensors`, there.status === 0, there.stderr);
    const back = run(between, join(folder, output));
    report.check(`${file} becomes PyTorch again`, back.status === 0, back.stderr);
    made.push([output, source]);
  }
  return made;
}
