import { join } from "node:path";
import { openFile } from "safetensors.js/node";
import { scan } from "safetensors.js/scan";
import { openTorch } from "safetensors.js/torch";
import { compareTensor } from "../compare.mjs";
import { runPython } from "../python.mjs";

/** Files as people have them: no false alarm, nothing unknown but what nobody can know, and every tensor. */
export async function checkHonestCorpus(report, { python, work }) {
  const folder = join(work, "honest");
  const files = Object.entries(JSON.parse(runPython(python, "make_honest_corpus.py", [folder])));
  report.check("there are enough of them", files.length >= 60, `${files.length} files`);
  for (const [file, expected] of files) {
    await report.try(file, async () => {
      const source = await openFile(join(folder, file));
      await checkScan(report, file, source, expected);
      for (const reading of expected.readings) {
        const name = `${file} with ${JSON.stringify(reading.options)}`;
        await report.try(name, () => checkTensors(report, name, source, reading));
      }
      await source.close();
    });
  }
}

async function checkScan(report, file, source, { unknown, findings }) {
  const found = await scan(source);
  const verdict = unknown.length + findings.length > 0 ? "incomplete" : "clean";
  report.equal(`${file}: verdict`, found.verdict, verdict);
  const serious = found.findings.filter(({ severity }) => severity !== "note");
  const names = serious.filter(({ code }) => code === "unknown-global").map((finding) => finding.global);
  report.equal(`${file}: unknown names`, [...new Set(names)].sort(), unknown);
  const others = serious.filter(({ code }) => code !== "unknown-global").map(({ code }) => code);
  report.equal(`${file}: other findings`, [...new Set(others)].sort(), findings);
}

async function checkTensors(report, name, source, { options, tensors }) {
  const checkpoint = await openTorch(source, options);
  const names = tensors.map((tensor) => tensor.name);
  report.equal(`${name}: names`, [...checkpoint.keys()].sort(), names.sort());
  for (const tensor of tensors) await compareTensor(report, name, checkpoint, tensor);
}
