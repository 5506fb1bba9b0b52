import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { DTYPE_ORDER, DTYPES } from "safetensors.js";
import { convertToNumpy, fileSink } from "safetensors.js/node";
import { writeNpy, writeNpz } from "safetensors.js/numpy";
import { compareTensor, withCheckpoint } from "../compare.mjs";
import { runPython, sha256 } from "../python.mjs";
import { FIXTURES, readExpected } from "./goldens.mjs";
import { mulberry32 } from "./mutate.mjs";

/** Shapes without dimensions, without elements and with odd sizes. */
const SHAPES = [[], [0], [3, 0], [0, 3], [1], [7], [2, 3, 4], [1, 1, 1, 1, 12]];

/** Members above this number need ZIP64. */
const MANY = 65_536;

/** A PyTorch file that is converted for NumPy: two of its tensors are tied. */
const CONVERTED = "tied.pt";

/** NumPy's files read by us, and ours by NumPy. */
export async function checkNumpy(report, { python, work }) {
  const folder = join(work, "numpy");
  runPython(python, "make_numpy_fixtures.py", [folder]);
  const expected = readExpected(folder);
  report.equal("numpy/expected.json", expected, readExpected(join(FIXTURES, "numpy")));
  for (const [file, { tensors, refused }] of Object.entries(expected)) {
    // Nothing in an archive of nothing tells what it is an archive of.
    if (file === "nothing.npz") continue;
    if (refused) await checkRefusal(report, join(folder, file), file, refused);
    else await report.try(file, () => compareFile(report, join(folder, file), file, tensors));
  }
  await writeForNumpy(report, python, join(work, "written-numpy"));
}

async function compareFile(report, path, file, tensors) {
  await withCheckpoint(path, async (checkpoint) => {
    report.equal(
      `${file}: names`,
      [...checkpoint.keys()],
      tensors.map(({ name }) => name),
    );
    for (const tensor of tensors) await compareTensor(report, file, checkpoint, tensor);
  });
}

async function checkRefusal(report, path, file, code) {
  const error = await withCheckpoint(path, () => undefined).catch((error) => error);
  report.equal(`${file} is refused`, error?.code ?? error?.message, code);
}

async function writeForNumpy(report, python, folder) {
  await mkdir(folder);
  const files = filesToWrite();
  for (const [file, { tensors, ...options }] of files) {
    const sink = await fileSink(join(folder, file));
    await (file.endsWith(".npz") ? writeNpz(sink, tensors, options) : writeNpy(sink, tensors.arr_0, options));
  }
  await convertToNumpy(join(FIXTURES, "torch", CONVERTED), join(folder, "converted.npz"));
  const found = JSON.parse(runPython(python, "read_npz.py", [folder]));
  for (const [file, { tensors }] of files) {
    const { arrays, damaged, names } = found[file];
    if (file.endsWith(".npz")) report.equal(`${file}: checksums, names`, [damaged, names], [null, true]);
    const described = Object.entries(tensors).map(([name, { dtype, shape, data }]) => {
      return [name, { dtype: numpyName(dtype), shape, sha256: sha256(data) }];
    });
    report.equal(file, Object.entries(arrays), described);
  }
  const { tensors } = readExpected(join(FIXTURES, "torch"))[CONVERTED];
  const described = tensors.map(({ name, dtype, shape, sha256 }) => {
    return [name, { dtype: numpyName(dtype), shape, sha256 }];
  });
  report.equal("converted.npz", found["converted.npz"].arrays, Object.fromEntries(described));
}

/** File name → tensors: each dtype in all shapes, hard names, many arrays. */
function filesToWrite() {
  const random = mulberry32(13);
  const tensorOf = (dtype, shape) => {
    const length = shape.reduce((product, size) => product * size, DTYPES[dtype].bits / 8);
    const data = Uint8Array.from({ length }, () => random() * (dtype === "BOOL" ? 2 : 256));
    return { dtype, shape, data };
  };
  const files = new Map();
  for (const dtype of DTYPE_ORDER) {
    if (DTYPES[dtype].bits < 8) continue;
    const tensors = Object.fromEntries(SHAPES.map((shape) => [`[${shape}]`, tensorOf(dtype, shape)]));
    files.set(`${dtype}.npz`, { tensors, bits: true });
    files.set(`${dtype}.npy`, { tensors: { arr_0: tensorOf(dtype, [5, 3]) }, bits: true, crc32 });
  }
  const names = ["", "a", "A", "a/b", "with space", "ä", "\ue000", "😀", '"', "\u2028", "x".repeat(1000)];
  const one = tensorOf("U8", [1]);
  files.set("names.npz", { tensors: Object.fromEntries(names.map((name) => [name, one])) });
  files.set("nothing.npz", { tensors: {} });
  const many = Array.from({ length: MANY }, (_, number) => [`t${number}`, one]);
  files.set("many.npz", { tensors: Object.fromEntries(many), crc32 });
  return files;
}

/** The dtype with which NumPy shows it: bits of what NumPy has no name for are unsigned integers. */
function numpyName(dtype) {
  const { bits, kind } = DTYPES[dtype];
  const isKnown = !/^(BF16|F8_)/.test(dtype);
  const letter = isKnown ? { bool: "b", unsigned: "u", signed: "i", float: "f", complex: "c" }[kind] : "u";
  return `${bits === 8 ? "|" : "<"}${letter}${bits / 8}`;
}
