import { openPath } from "safetensors.js/node";
import { sha256 } from "./python.mjs";

/** Opens a checkpoint for the time of `action`. */
export async function withCheckpoint(path, action) {
  const checkpoint = await openPath(path);
  try {
    return await action(checkpoint);
  } finally {
    await checkpoint.close();
  }
}

/** Compares dtype, shape and bytes of one tensor, and its 32-bit floats where `expected` has a hash of them. */
export function compareTensor(report, file, checkpoint, expected) {
  const name = `${file}: ${expected.name}`;
  return report.try(name, async () => {
    const handle = checkpoint.get(expected.name);
    const found = { dtype: handle.dtype, shape: [...handle.shape], sha256: sha256(await handle.bytes()) };
    report.equal(name, found, { dtype: expected.dtype, shape: expected.shape, sha256: expected.sha256 });
    if (!expected.float32) return;
    const floats = (await handle.toFloat32()).map((value) => (Number.isNaN(value) ? Number.NaN : value));
    report.equal(`${name} as floats`, sha256(floats), expected.float32);
  });
}
