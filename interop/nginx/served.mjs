import { copyFileSync, mkdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { range } from "safetensors.js";
import { runPython, sha256 } from "../python.mjs";
import { mulberry32 } from "../steps/mutate.mjs";

/** In seconds since 1970. */
const FIRST_DATE = 1.7e9;

const SIZES = { U8: 1, F16: 2, F32: 4, I64: 8 };

/** About 8 MB; names and dtypes in an order that is not that of the data. */
const TENSORS = [
  { name: "embedding", dtype: "F16", shape: [1024, 1024] },
  { name: "weight", dtype: "F32", shape: [700, 1031] },
  { name: "bytes", dtype: "U8", shape: [1_500_001] },
  { name: "bias", dtype: "F32", shape: [331] },
  { name: "ids", dtype: "I64", shape: [90, 1001] },
  { name: "scalar", dtype: "F32", shape: [] },
  { name: "nothing", dtype: "F16", shape: [0, 3] },
  { name: "cube", dtype: "F16", shape: [40, 50, 300] },
];

/** Parts to read: two runs of rows, a row, and columns, of which each row gives a few bytes. */
const SLICES = [
  { name: "weight", items: [range(13, 600)], rows: [13, 600], columns: [0, 1031] },
  { name: "embedding", items: [range(1000, 1024)], rows: [1000, 1024], columns: [0, 1024] },
  { name: "ids", items: [77], rows: [77, 78], columns: [0, 1001] },
  { name: "weight", items: [range(100, 300), range(7, 20)], rows: [100, 300], columns: [7, 20] },
];

/**
 * Writes a checkpoint of random bytes, with the reference where there is a Python that has it, else by hand: by nothing
 * that is tested here. Returns its tensors and slices, each with the SHA-256 of its bytes.
 */
export function writeCheckpoint(path, python) {
  let end = 0;
  const tensors = TENSORS.map((tensor) => {
    const length = tensor.shape.reduce((product, size) => product * size, SIZES[tensor.dtype]);
    const start = end;
    end += length;
    return { ...tensor, length, start, end };
  });
  const raw = randomBytes(end, 1);
  if (python) writeByReference(path, tensors, raw, python);
  else writeByHand(path, tensors, raw);
  const bytesOf = ({ start, end }) => raw.subarray(start, end);
  return {
    tensors: new Map(tensors.map((tensor) => [tensor.name, { ...tensor, sha256: sha256(bytesOf(tensor)) }])),
    slices: SLICES.map((slice) => {
      const tensor = tensors.find(({ name }) => name === slice.name);
      return { ...slice, sha256: sha256(cut(bytesOf(tensor), tensor, slice)) };
    }),
  };
}

/** What nginx serves: a copy of the checkpoint for each case, and the little else that some need. */
export function writeFiles(folder, model, cases) {
  const copies = [...cases.map(({ key }) => `files/${key}`), "files/internal", "mirror/mirrors"];
  for (const [index, copy] of copies.entries()) {
    const file = join(folder, copy, "model.safetensors");
    mkdirSync(dirname(file), { recursive: true });
    copyFileSync(model, file);
    utimesSync(file, FIRST_DATE + index, FIRST_DATE + index);
  }
  const compressed = gzipSync(readFileSync(model), { level: 1 });
  writeFileSync(join(folder, "files/gzip-always/model.safetensors.gz"), compressed);
  writeFileSync(join(folder, "files/index.html"), "<!doctype html><title>Our models</title>");
  writeFileSync(join(folder, "users"), "user:{PLAIN}secret\n");
}

/** The bytes of some rows and columns of a matrix. */
function cut(bytes, { shape, dtype }, { rows, columns }) {
  const size = SIZES[dtype];
  const at = (row, column) => (row * shape[1] + column) * size;
  const parts = [];
  for (let row = rows[0]; row < rows[1]; row++)
    parts.push(bytes.subarray(at(row, columns[0]), at(row, columns[1])));
  return Buffer.concat(parts);
}

function writeByReference(path, tensors, bytes, python) {
  const raw = `${path}.raw`;
  writeFileSync(raw, bytes);
  runPython(python, "write_served.py", [], JSON.stringify({ path, raw, tensors }));
}

/** Eight bytes of length, JSON, data (the format's whole specification); spaces align the data. */
function writeByHand(path, tensors, data) {
  const entries = tensors.map(({ name, dtype, shape, start, end }) => [
    name,
    { dtype, shape, data_offsets: [start, end] },
  ]);
  const json = JSON.stringify(Object.fromEntries(entries));
  const header = Buffer.from(json.padEnd(Math.ceil(json.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  writeFileSync(path, Buffer.concat([length, header, data]));
}

function randomBytes(length, seed) {
  const random = mulberry32(seed);
  const words = Uint32Array.from({ length: Math.ceil(length / 4) }, () => random() * 2 ** 32);
  return Buffer.from(words.buffer, 0, length);
}
