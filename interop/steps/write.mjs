import { readdirSync, readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { DTYPE_ORDER, DTYPES } from "safetensors.js";
import { saveFile } from "safetensors.js/node";
import { withCheckpoint } from "../compare.mjs";
import { runPython, sha256 } from "../python.mjs";
import { mulberry32 } from "./mutate.mjs";

/** Shapes without dimensions, without elements and with odd sizes. */
const SHAPES = [[], [0], [3, 0], [0, 3], [1], [7], [3, 1, 5], [2, 3, 4], [1, 1, 1, 1, 12], [64, 16]];

/** What the Python side cannot load: torch has no six-bit floats, numpy also none of 8 and 4 bits. */
const UNKNOWN = { torch: /^F6_/, numpy: /^(F6_|F8_|F4)/, deserialize: /^$/ };

/** Files written by us: what the reference reads out of them, and the header it would have written itself. */
export async function writeForReference(report, { python, work }) {
  const folder = join(work, "written");
  await mkdir(folder);
  const files = filesToWrite();
  for (const [file, { tensors, metadata }] of files) {
    await saveFile(join(folder, file), tensors, metadata ? { metadata } : {});
  }
  const found = JSON.parse(runPython(python, "read_back.py", [folder]));
  for (const [file, { tensors, metadata }] of files) {
    const read = found[file];
    report.equal(`${file}: names`, Object.keys(read.tensors).sort(), Object.keys(tensors).sort());
    report.equal(`${file}: metadata`, read.metadata, metadata ?? null);
    compareHeader(report, join(folder, file), read, tensors);
    for (const [name, tensor] of Object.entries(tensors)) {
      compareTensor(report, `${file}: ${name}`, read.tensors[name], tensor);
    }
  }
  await copyReferenceFiles(report, join(work, "reference"), join(work, "copied"));
}

function compareTensor(report, name, read, { dtype, shape, data }) {
  report.equal(name, { dtype: read.dtype, shape: read.shape }, { dtype, shape });
  for (const [reader, unknown] of Object.entries(UNKNOWN)) {
    const isKnown = !unknown.test(dtype);
    const ok = isKnown ? read[reader] === sha256(data) : read[reader].startsWith("unsupported");
    report.check(`${name} through ${reader}`, ok, read[reader]);
  }
}

function compareHeader(report, path, read, tensors) {
  const knowsAll = Object.values(tensors).every(({ dtype }) => !dtype.startsWith("F6_"));
  report.check(`${path}: the reference can write these dtypes`, (read.header !== null) === knowsAll);
  if (read.header === null) return;
  const header = Buffer.from(read.header, "base64");
  const ours = readFileSync(path).subarray(0, header.length);
  report.equal(`${path}: header`, ours.toString("latin1"), header.toString("latin1"));
}

/** File name -> tensors and metadata: each dtype in all shapes it can have, then all dtypes in one file. */
function filesToWrite() {
  const random = mulberry32(7);
  const files = new Map();
  const mixed = {};
  for (const dtype of DTYPE_ORDER) {
    const tensors = {};
    for (const shape of SHAPES) {
      const bits = shape.reduce((product, size) => product * size, DTYPES[dtype].bits);
      // An F4 of odd last dimension fills its bytes, but torch has no shape for it.
      if (bits % 8 !== 0 || (dtype === "F4" && shape.at(-1) % 2 !== 0)) continue;
      const data = Uint8Array.from({ length: bits / 8 }, () => random() * (dtype === "BOOL" ? 2 : 256));
      tensors[`[${shape}]`] = { dtype, shape, data };
    }
    files.set(`${dtype}.safetensors`, { tensors, metadata: { format: "pt" } });
    if (!dtype.startsWith("F6_")) mixed[`tensor ${dtype}`] = tensors["[2,3,4]"];
  }
  files.set("mixed.safetensors", { tensors: mixed });
  files.set("nothing.safetensors", {
    tensors: {},
    metadata: { "ünïcödé 😀": 'quote " backslash \\ newline \n' },
  });
  const names = ["", "a", "A", "ä", "\ue000", "😀", "\0", '"', "\\", "/", "\u2028", "\x7f", "constructor"];
  const one = { dtype: "U8", shape: [1], data: Uint8Array.of(7) };
  files.set("names.safetensors", { tensors: Object.fromEntries(names.map((name) => [name, one])) });
  return files;
}

/** A checkpoint that is read and saved again is the same file, byte for byte, as the reference wrote it. */
async function copyReferenceFiles(report, from, to) {
  await mkdir(to);
  for (const file of readdirSync(from)) {
    await report.try(`copy of ${file}`, () =>
      withCheckpoint(join(from, file), async (checkpoint) => {
        await saveFile(join(to, file), checkpoint);
        // The order of several metadata entries is random in the reference: then the headers may differ.
        const [theirs, ours] = [from, to].map((folder) => readFileSync(join(folder, file)));
        const start = checkpoint.metadata.size > 1 ? 8 + Number(theirs.readBigUInt64LE(0)) : 0;
        const same = ours.length === theirs.length && ours.subarray(start).equals(theirs.subarray(start));
        report.check(`copy of ${file}`, same, "the bytes differ");
      }),
    );
  }
}
