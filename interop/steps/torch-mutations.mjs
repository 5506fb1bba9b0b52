import { join } from "node:path";
import { SafetensorsError } from "safetensors.js";
import { openFile } from "safetensors.js/node";
import { scan } from "safetensors.js/scan";
import { openTorch } from "safetensors.js/torch";
import { runPython, sha256 } from "../python.mjs";

const MUTANTS = 3000;

const OPTIONS = { flatten: true, quantized: "dequantize", sparse: "densify", complex128: "split" };

/** Larger tensors are not read: small files can be made to have them, by strides of 0. */
const MOST_BYTES = 2 ** 22;

const SAME = "with the tensors that torch loads";

/** Why we refuse what torch loads: mostly, other readers could see something else in it. */
const STRICTER = [
  ["INVALID_ARCHIVE", /two (members|records) are named/, "a name twice in the archive"],
  [
    "INVALID_ARCHIVE",
    /local header|end record|central directory|overlaps/,
    "an archive that contradicts itself",
  ],
  ["INVALID_ARCHIVE", /folder|unsafe member name/, "a member that is no plain file"],
  ["INVALID_ARCHIVE", /storages of the pickle/, "more or fewer storages than the pickle says"],
  ["INVALID_ARCHIVE", /compressed data/, "damaged compressed data"],
  ["INVALID_ARCHIVE", /CRC/, "a record that is not what was saved"],
  ["INVALID_ARCHIVE", /not a PyTorch file/, "damage before the pickle"],
  ["UNSUPPORTED", /unknown flags|several disks/, "an archive of an unknown kind"],
  ["UNSUPPORTED", /archive has the version/, "a version that is not a number"],
  ["LIMIT_EXCEEDED", /version has/, "a version that is not a number"],
  ["INVALID_PICKLE", /bytes follow the end/, "bytes after the pickle"],
  ["INVALID_PICKLE", /PROTO/, "a protocol that is not known, or is named late"],
  ["INVALID_PICKLE", /described in two ways/, "a storage of two types or lengths"],
  [
    "INVALID_PICKLE",
    /storage has no class|impossible length|key of a storage/,
    "a storage that torch never writes",
  ],
  ["INVALID_PICKLE", /arguments are not a tuple/, "a call that Python's pickle refuses"],
  ["FORBIDDEN_GLOBAL", /not a storage class/, "a storage that torch never writes"],
  ["INVALID_TENSOR", /offset, a size or a stride/, "numbers that torch does not look at in an empty tensor"],
  ["INVALID_TENSOR", /metadata that is not a dict/, "metadata that torch never writes"],
  ["INVALID_TENSOR", /wrong (index|quantizer|state)/, "parts that torch never writes"],
  ["UNSUPPORTED", /lazy view/, "metadata that torch never writes"],
  ["UNSUPPORTED", /big-endian file/, "a big-endian file with dtypes that torch misreads"],
  ["INVALID_NAME", /neither text nor an int/, "a name that safetensors has not"],
  ["AMBIGUOUS", /same name/, "a name that safetensors has not"],
  ["TENSOR_NOT_FOUND", /./, "no tensors"],
];

/** Changed PyTorch files: where torch loads tensors and we open the file, the same ones; and no scan is clean by mistake. */
export async function mutateTorchFiles(report, { python, work }) {
  const folder = join(work, "torch-mutants");
  const mutants = JSON.parse(runPython(python, "torch_mutants.py", [folder, MUTANTS]));
  const counts = new Map();
  const count = (what) => counts.set(what, (counts.get(what) ?? 0) + 1);
  for (const { file, of, changed, ...theirs } of mutants) {
    const name = `${file} (${of}, ${changed} changed)`;
    const path = join(folder, file);
    const ours = await read(path);
    const found = await scanned(path);
    report.check(`${name}: only our own errors`, ours.error === undefined, ours.error);
    report.check(`${name}: scanned without an error`, found.error === undefined, found.error);
    if (ours.error !== undefined || found.error !== undefined) continue;
    if (theirs.tensors) report.check(`${name}: no false alarm`, found.verdict !== "dangerous", found.verdict);
    if (theirs.tensors && ours.tensors) {
      count(SAME);
      report.equal(`${name}: tensors`, ours.tensors.sort(byName), theirs.tensors.sort(byName));
    } else if (theirs.tensors) {
      const known = STRICTER.find(([code, reason]) => ours.code === code && reason.test(ours.reason));
      report.check(`${name}: torch loads it`, known, `${ours.code}: ${ours.reason}`);
      count(`refused, though torch loads it: ${known?.[2] ?? "for an unknown reason"}`);
    } else if (theirs.unsafe) {
      const because = found.verdict === "clean" ? ` all the same: ${why(theirs.unsafe)}` : "";
      count(`not safe for torch, for us ${found.verdict}${because}`);
      const understood = found.globals.every(({ role }) => role === "interpreted" || role === "inert");
      report.check(`${name}: ${theirs.unsafe}`, found.verdict !== "clean" || understood, "the scan is clean");
    }
  }
  for (const [what, number] of [...counts].sort()) console.log(`  ${number} ${what}`);
  const same = counts.get(SAME) ?? 0;
  report.check("torch loads some of them", same > MUTANTS / 10, `${same} of ${MUTANTS}`);
}

/** What torch does not take: opcodes, names, calls of what was made by a call. */
function why(refusal) {
  const [, name] = /GLOBAL (\S+)/.exec(refusal) ?? [];
  if (name) return `the name ${name}`;
  return /operand/.test(refusal) ? "opcodes beyond those that torch.save writes" : "a call of an object";
}

const byName = (a, b) => (a.name < b.name ? -1 : 1);

/** All tensors of a file, or why there are none. */
async function read(path) {
  const source = await openFile(path);
  try {
    const checkpoint = await openTorch(source, OPTIONS);
    const tensors = [];
    for (const tensor of checkpoint) {
      const { name, dtype, shape, byteLength } = tensor;
      const hash = byteLength > MOST_BYTES ? undefined : sha256(await tensor.bytes());
      tensors.push({ name, dtype, shape: [...shape], sha256: hash });
    }
    return { tensors };
  } catch (error) {
    if (error instanceof SafetensorsError) return { code: error.code, reason: error.reason };
    return { error: error.stack ?? String(error) };
  } finally {
    await source.close();
  }
}

async function scanned(path) {
  const source = await openFile(path);
  try {
    return await scan(source);
  } catch (error) {
    return { error: error.stack ?? String(error) };
  } finally {
    await source.close();
  }
}
