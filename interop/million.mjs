// A checkpoint of a million tensors: node interop/million.mjs [COUNT]. Build first: npm run build.

import { mkdirSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { runStep } from "./report.mjs";
import { checkManyTensors } from "./steps/many-tensors.mjs";
import { ensureVenv } from "./venv.mjs";

const count = Number(process.argv[2] ?? 1_000_000);
const work = fileURLToPath(new URL(".work/million/", import.meta.url));
rmSync(work, { recursive: true, force: true });
mkdirSync(work, { recursive: true });

const title = `${count.toLocaleString("en")} tensors`;
const { failed } = await runStep(title, checkManyTensors, { python: ensureVenv(), work, count });
rmSync(work, { recursive: true, force: true });
process.exitCode = failed > 0 ? 1 : 0;
