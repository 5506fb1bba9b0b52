import { readFileSync } from "node:fs";
import { join } from "node:path";
import { compareCheckpoints } from "safetensors.js/compare";
import { parseManifest, verifying } from "safetensors.js/manifest";
import { hashCheckpoint, manifestPath, verifyManifest, writeManifest } from "safetensors.js/node";
import { withCheckpoint } from "../compare.mjs";
import { runPython } from "../python.mjs";

/** Differences of checkpoints as numpy finds them, and digests as hashlib does. */
export async function checkComparison(report, { python, work }) {
  const folder = join(work, "compared");
  const { found, cast, digests } = JSON.parse(runPython(python, "make_compared.py", [folder]));
  const [a, b] = ["a.safetensors", "b.safetensors"].map((name) => join(folder, name));
  for (const { differences, ...tolerance } of found) {
    const label = JSON.stringify(tolerance);
    const { tensors } = await compare(a, b, tolerance);
    report.equal(
      `${label}: tensors`,
      tensors.map(({ name }) => name).sort(),
      Object.keys(differences).sort(),
    );
    for (const { name, values } of tensors) {
      const { elements: _, worst, ...ours } = values;
      report.check(`${label}: ${name}: a worst element`, worst !== undefined);
      report.equal(`${label}: ${name}`, plain(ours), differences[name]);
    }
  }
  const { tensors } = await compare(join(folder, "wide.pt"), join(folder, "narrow.pt"), { cast: true });
  const { different, maxAbsolute, maxRelative } = tensors[0].values;
  report.equal("F32 with BF16", { different, maxAbsolute, maxRelative }, cast);
  await checkDigests(report, a, digests);
}

function compare(a, b, options) {
  return withCheckpoint(a, (left) => withCheckpoint(b, (right) => compareCheckpoints(left, right, options)));
}

/** As Python prints it: JSON has no infinity and no large integers. */
function plain({ different, beyond, nan, maxAbsolute, maxRelative }) {
  const text = (value) => (value === Number.POSITIVE_INFINITY ? "inf" : value);
  const absolute = typeof maxAbsolute === "bigint" ? String(maxAbsolute) : text(maxAbsolute);
  return { different, beyond, nan, maxAbsolute: absolute, maxRelative: text(maxRelative) };
}

async function checkDigests(report, path, expected) {
  const hashed = await hashCheckpoint(path);
  report.equal("SHA-256 of a file", hashed.files.get("a.safetensors").sha256, expected.file);
  for (const [name, digest] of Object.entries(expected.tensors)) {
    report.equal(`SHA-256 of ${name}`, hashed.tensors.get(name).sha256, digest);
  }
  const place = await manifestPath(path);
  await writeManifest(place, hashed);
  const manifest = parseManifest(readFileSync(place));
  report.equal("the manifest, verified", (await verifyManifest(path, manifest)).problems, []);
  await withCheckpoint(path, async (checkpoint) => {
    const checked = verifying(checkpoint, manifest);
    for (const tensor of checked) report.check(`${tensor.name}, verified`, (await tensor.bytes()).length > 0);
  });
}
