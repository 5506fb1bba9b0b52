import { join } from "node:path";
import { compareTensor, withCheckpoint } from "../compare.mjs";
import { runPython } from "../python.mjs";

/** Files written by the reference: every tensor's bytes, and its values as 32-bit floats, as torch has them. */
export async function readReferenceFiles(report, { python, work }) {
  const folder = join(work, "reference");
  const files = JSON.parse(runPython(python, "write_reference.py", [folder]));
  for (const [file, expected] of Object.entries(files)) {
    await report.try(file, () =>
      withCheckpoint(join(folder, file), async (checkpoint) => {
        report.equal(
          `${file}: metadata`,
          checkpoint.metadata,
          new Map(Object.entries(expected.metadata ?? {})),
        );
        report.equal(`${file}: number of tensors`, checkpoint.size, expected.tensors.length);
        for (const tensor of expected.tensors) await compareTensor(report, file, checkpoint, tensor);
      }),
    );
  }
}
