import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runChild, runNode } from "../lib/child.mjs";
import { dataFile, WORK } from "../lib/data.mjs";
import { assertSame, compareRuns, interleave } from "../lib/interleave.mjs";
import { settleDisk, touchMemory, warmFile } from "../lib/machine.mjs";

const COMMAND = fileURLToPath(new URL("../../packages/cli/bin/safetensors.js", import.meta.url));
const OBSERVE = new URL("../node/observe.mjs", import.meta.url).href;

const TENSORS = 1_000_000;

/** Bytes of memory that Python needs for them. */
const MEMORY = 4.5e9;

/** Convert a million tensors of one element. Their names are too many for one header: each side writes two files. */
export function millionRows({ python, runs = 1 }) {
  console.error(`million: ${TENSORS} tensors`);
  const source = dataFile(python, "tiny-bin", TENSORS);
  const target = join(WORK, "million");
  const title = `${TENSORS.toLocaleString("en")} tensors`;
  const prepare = () => {
    rmSync(target, { recursive: true, force: true });
    mkdirSync(target);
    settleDisk();
    warmFile(source);
    touchMemory(MEMORY);
  };
  const digested = (figures) => ({
    ...figures,
    digest: runChild(python, ["python/digest.py", target]).digest,
  });
  const measured = interleave(
    {
      ours: () => digested(runNode(["--import", OBSERVE, COMMAND, "convert", source, target])),
      theirs: () => digested(runChild(python, ["python/convert_parts.py", source, target, "2"])),
    },
    runs,
    prepare,
    { warmUp: false },
  );
  assertSame(measured, "digest");
  rmSync(target, { recursive: true, force: true });
  const sides = { ...measured, opponent: "torch + save_file" };
  const whole = ({ wall }) => wall;
  return [
    compareRuns(`convert ${title}, whole process`, { ...sides, time: whole }),
    compareRuns(`convert ${title}, Python without imports`, {
      ...sides,
      timeOurs: whole,
      time: ({ work }) => work,
    }),
  ];
}
