import { cpSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { convertPath, saveFile } from "safetensors.js/node";
import { sha256 } from "../python.mjs";
import { readExpected } from "../steps/goldens.mjs";
import { mulberry32 } from "../steps/mutate.mjs";
import { refusal } from "../steps/refusals.mjs";
import { sorted } from "./describe.mjs";
import { expectedOfQuantized, makeQuantizedModel } from "./inputs-quantized.mjs";

const FIXTURES = fileURLToPath(new URL("../../packages/safetensors/test/fixtures/", import.meta.url));

/** What the shards of fixtures/torch/sharded are called in expected.json. */
const SHARDED = "sharded/pytorch_model.bin.index.json";

/**
 * Writes the inputs of the checks into a folder. Gives what the context needs to know of them, and what the checks must
 * find by what Python wrote into the fixtures: check -> value.
 */
export async function makeInputs(folder) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  cpSync(FIXTURES, folder, { recursive: true });
  await convertPath(join(folder, "torch", "dtypes.pt"), join(folder, "dtypes.safetensors"));
  mkdirSync(join(folder, "sharded"));
  await convertPath(join(folder, "torch", "sharded"), join(folder, "sharded"));

  const files = Object.entries(readExpected(join(folder, "torch"))).filter(([file]) => !file.includes("/"));
  const good = files.filter(([, { refused }]) => !refused);
  const bad = files
    .filter(([, { refused }]) => refused && refusal(refused).whenRead)
    .map(([file, { refused }]) => [file, refusal(refused).whenRead]);
  const tensors = new Map(good.map(([file, { tensors }]) => [file, plain(tensors)]));
  const dtypes = tensors.get("dtypes.pt");
  await makeQuantizedModel(join(folder, "quantized"));
  const large = await makeLarge(join(folder, "large.safetensors"));
  const cases = JSON.parse(readFileSync(join(folder, "format-cases.json"), "utf8"));
  const expected = {
    memory: dtypes,
    Blob: dtypes,
    HTTP: dtypes,
    path: dtypes,
    "HTTP ranges": large,
    "HTTP redirects": large,
    "HTTP with drops": large,
    openMapped: large,
    "a dropped map": true,
    "sharded folder": plain(readExpected(join(folder, "torch"))[SHARDED].tensors),
    PyTorch: Object.fromEntries(tensors),
    refusals: Object.fromEntries(bad),
    headers: cases.map(({ name, accepted }) => [name, accepted]),
    ...(await expectedOfQuantized(join(folder, "quant"))),
  };
  return { torchFiles: [...tensors.keys()], refusedFiles: bad.map(([file]) => file), expected };
}

/** The fields of a tensor that every check gives. */
function plain(tensors) {
  return sorted(tensors.map(({ name, dtype, shape, sha256 }) => ({ name, dtype, shape, sha256 })));
}

/** A file of some megabytes, so that it takes several reads. Gives its tensors as the checks must find them. */
async function makeLarge(path) {
  const random = mulberry32(11);
  const shapes = { F32: [1000, 300], BF16: [7, 40_001], I8: [600_000], U16: [0, 5] };
  const bits = { F32: 32, BF16: 16, I8: 8, U16: 16 };
  const tensors = {};
  for (const [dtype, shape] of Object.entries(shapes)) {
    const length = shape.reduce((product, size) => product * size, bits[dtype] / 8);
    tensors[dtype] = { dtype, shape, data: Uint8Array.from({ length }, () => random() * 256) };
  }
  await saveFile(path, tensors);
  return sorted(
    Object.entries(tensors).map(([name, { dtype, shape, data }]) => {
      return { name, dtype, shape, sha256: sha256(data) };
    }),
  );
}
