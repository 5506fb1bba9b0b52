import { readFileSync } from "node:fs";
import { join } from "node:path";
import { open } from "safetensors.js";
import { runPython } from "../python.mjs";
import { FIXTURES } from "./goldens.mjs";
import { mutants } from "./mutate.mjs";

const MUTANTS = 6000;

/** Our verdict in `compat` mode against the reference's: on every format case, and on mutants of the valid ones. */
export async function compareVerdicts(report, { python }) {
  const cases = JSON.parse(readFileSync(join(FIXTURES, "format-cases.json"), "utf8"));
  for (const { name, base64, ...expected } of cases) {
    await compare(report, name, Buffer.from(base64, "base64"), expected);
  }
  const valid = cases.filter((one) => one.accepted).map((one) => Buffer.from(one.base64, "base64"));
  const files = mutants(
    valid.filter((file) => file.length < 1000),
    MUTANTS,
  );
  const input = JSON.stringify(files.map((file) => file.toString("base64")));
  const verdicts = JSON.parse(runPython(python, "verdicts.py", [], input));
  for (const [index, file] of files.entries()) {
    await compare(
      report,
      `mutant ${index}: ${JSON.stringify(file.toString("latin1"))}`,
      file,
      verdicts[index],
    );
  }
  const accepted = verdicts.filter((verdict) => verdict.accepted).length;
  report.check("some mutants are valid", accepted > MUTANTS / 20, `${accepted} of ${MUTANTS}`);
  report.check("some mutants are invalid", accepted < MUTANTS * 0.95, `${accepted} of ${MUTANTS}`);
}

async function compare(report, name, file, expected) {
  const found = await verdict(file);
  const ours = found.accepted ? "we accept it" : `we refuse it (${found.error})`;
  const theirs = expected.accepted
    ? "the reference accepts it"
    : `the reference refuses it (${expected.error})`;
  report.check(name, found.accepted === expected.accepted, `${ours}, ${theirs}`);
  if (!found.accepted || !expected.accepted) return;
  const byName = (a, b) => (a.name < b.name ? -1 : 1);
  const numbers = (list) => list.map(Number);
  const tensors = expected.tensors.map((tensor) => ({
    ...tensor,
    shape: numbers(tensor.shape),
    data_offsets: numbers(tensor.data_offsets),
  }));
  report.equal(`${name} (tensors)`, found.tensors.sort(byName), tensors.sort(byName));
  report.equal(`${name} (metadata)`, found.metadata, new Map(Object.entries(expected.metadata ?? {})));
}

async function verdict(file) {
  try {
    const checkpoint = await open(file, { mode: "compat" });
    const dataStart = file.length < 8 ? 0 : 8 + Number(file.readBigUInt64LE(0));
    const tensors = [...checkpoint].map(({ name, dtype, shape, byteLength, view }) => {
      const begin = view.bitOffset / 8 - dataStart;
      return { name, dtype, shape: [...shape], data_offsets: [begin, begin + byteLength] };
    });
    return { accepted: true, tensors, metadata: new Map(checkpoint.metadata) };
  } catch (error) {
    if (error.name !== "SafetensorsError") throw error;
    return { accepted: false, error: error.message, tensors: [], metadata: new Map() };
  }
}
