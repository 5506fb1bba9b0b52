import { join } from "node:path";
import { compareTensor, withCheckpoint } from "../compare.mjs";
import { readExpected } from "./goldens.mjs";
import { refusal } from "./refusals.mjs";

/** The PyTorch files that make_torch_fixtures.py has just written: every tensor's bytes, and every refusal. */
export async function readTorchFiles(report, { work }) {
  const folder = join(work, "torch");
  for (const [file, expected] of Object.entries(readExpected(folder))) {
    const path = join(folder, file);
    if (expected.refused) await checkRefusal(report, path, file, refusal(expected.refused));
    else await report.try(file, () => compareFile(report, path, file, expected));
  }
}

async function compareFile(report, path, file, expected) {
  await withCheckpoint(path, async (checkpoint) => {
    const names = expected.tensors.map(({ name }) => name);
    report.equal(`${file}: names`, [...checkpoint.keys()].sort(), names.sort());
    for (const tensor of expected.tensors) await compareTensor(report, file, checkpoint, tensor);
  });
}

async function checkRefusal(report, path, file, { whenRead, global }) {
  const error = await withCheckpoint(path, () => undefined).catch((error) => error);
  const name = whenRead ? `${file} is refused` : `${file} is opened`;
  report.equal(name, error && (error.code ?? error.message), whenRead);
  if (global) report.equal(`${file}: the name that is refused`, error?.details?.global, global);
}
