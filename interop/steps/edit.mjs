import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DTYPE_ORDER, DTYPES } from "safetensors.js";
import { editCheckpoint, editFile, rewriteFile, saveFile, writeTensors } from "safetensors.js/node";
import { runPython, sha256 } from "../python.mjs";
import { mulberry32 } from "./mutate.mjs";

/** Bytes of room in the headers of the files that are edited. */
const ROOM = 300;
const SHORT = {
  setMetadata: { "ünïcödé 😀": '\n"' },
  removeMetadata: ["note"],
  rename: new Map([["F32", "\u2028"]]),
};
const LONG = { ...SHORT, setMetadata: { long: "x".repeat(5000) } };

/** Files of ours, edited in every way: what the reference reads out of them afterwards. */
export async function checkEdits(report, { python, work }) {
  const folder = join(work, "edited");
  mkdirSync(folder);
  const random = mulberry32(11);
  const tensors = Object.fromEntries(
    DTYPE_ORDER.filter((dtype) => !dtype.startsWith("F6_")).map((dtype) => [dtype, tensor(dtype, random)]),
  );
  const metadata = { format: "pt", note: "" };
  const expected = new Map();
  const edit = async (file, how, action, change) => {
    const path = join(folder, file);
    await saveFile(path, tensors, { metadata, reserve: ROOM });
    const result = await action(path);
    if (how) report.equal(`${file} is ${how}`, result.how, how);
    const after = { metadata: { ...metadata }, tensors: { ...tensors } };
    change(after);
    expected.set(file, after);
  };

  await edit("in-place.safetensors", "in-place", (path) => editFile(path, SHORT), changed(SHORT));
  await edit("rewritten.safetensors", "rewritten", (path) => editFile(path, LONG), changed(LONG));
  const output = join(folder, "copied.safetensors");
  await edit(
    "input.safetensors",
    "copied",
    (path) => editFile(path, SHORT, { output }),
    () => {},
  );
  expected.set("copied.safetensors", expected.get("in-place.safetensors"));
  const others = { F16: tensor("F16", random), U8: tensor("U8", random), BOOL: tensor("BOOL", random) };
  await edit(
    "tensors.safetensors",
    undefined,
    (path) => writeTensors(path, others),
    (after) => Object.assign(after.tensors, others),
  );
  await edit(
    "other-tensors.safetensors",
    "rewritten",
    (path) => rewriteFile(path, { drop: ["F32"], add: { new: others.U8 } }),
    ({ tensors }) => {
      delete tensors.F32;
      tensors.new = others.U8;
    },
  );
  await editShards(folder, tensors, expected);

  const found = JSON.parse(runPython(python, "read_back.py", [folder]));
  report.equal("files", Object.keys(found).sort(), [...expected.keys()].sort());
  for (const [file, { metadata, tensors }] of expected) {
    const read = found[file];
    report.equal(`${file}: metadata`, read.metadata, metadata);
    report.equal(`${file}: names`, Object.keys(read.tensors).sort(), Object.keys(tensors).sort());
    for (const [name, { dtype, shape, data }] of Object.entries(tensors)) {
      const { dtype: itsDtype, shape: itsShape, deserialize } = read.tensors[name];
      const its = { dtype: itsDtype, shape: itsShape, sha256: deserialize };
      report.equal(`${file}: ${name}`, its, { dtype, shape, sha256: sha256(data) });
    }
  }
}

/** Two files with an index, one with room in its header and one without, edited as one. */
async function editShards(folder, tensors, expected) {
  const all = Object.entries(tensors);
  const weightMap = {};
  const shards = [all.slice(0, 3), all.slice(3)].map((entries, index) => {
    const file = `model-0000${index + 1}-of-00002.safetensors`;
    for (const [name] of entries) weightMap[name] = file;
    return { file, own: Object.fromEntries(entries) };
  });
  for (const [index, { file, own }] of shards.entries()) {
    await saveFile(join(folder, file), own, { reserve: index * ROOM });
  }
  const path = join(folder, "../edited.safetensors.index.json");
  const index = join(folder, "model.safetensors.index.json");
  writeFileSync(index, JSON.stringify({ metadata: {}, weight_map: weightMap }));
  const [first, last] = [all[0][0], all.at(-1)[0]];
  const rename = new Map([
    [first, last],
    [last, first],
  ]);
  await editCheckpoint(index, { rename, setMetadata: { k: "v" } });
  // The Python side reads every file of the folder as safetensors.
  renameSync(index, path);
  for (const { file, own } of shards) {
    const renamed = Object.entries(own).map(([name, tensor]) => [rename.get(name) ?? name, tensor]);
    expected.set(file, { metadata: { k: "v" }, tensors: Object.fromEntries(renamed) });
  }
}

/** What an edit of a header makes of a file. */
function changed({ setMetadata, removeMetadata, rename }) {
  return ({ metadata, tensors }) => {
    Object.assign(metadata, setMetadata);
    for (const key of removeMetadata) delete metadata[key];
    for (const [from, to] of rename) {
      tensors[to] = tensors[from];
      delete tensors[from];
    }
  };
}

function tensor(dtype, random) {
  const shape = [3, 50, 2];
  const data = Uint8Array.from({ length: (300 * DTYPES[dtype].bits) / 8 }, () => {
    return random() * (dtype === "BOOL" ? 2 : 256);
  });
  return { dtype, shape, data };
}
