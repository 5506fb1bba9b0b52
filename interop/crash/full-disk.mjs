import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { SafetensorsError } from "safetensors.js";
import { saveCheckpoint, saveFile } from "safetensors.js/node";
import { filesOf, saveInFiles } from "./in-files.mjs";
import { READERS } from "./readers.mjs";
import { TOTAL, tensorsOf } from "./tensors.mjs";

/** Room for one checkpoint, and for half of a second one beside it. */
const SIZE = Math.floor(1.5 * TOTAL);

/** A disk that is really full: an error that names the file, the old checkpoint whole, and nothing else left. */
export async function failOnFullDisk(report, { work }) {
  const disk = join(work, "full-disk");
  mkdirSync(disk, { recursive: true });
  const { status, stderr } = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${SIZE}`, "tmpfs", disk], {
    encoding: "utf8",
  });
  if (status !== 0) {
    console.log(`  skipped: no small file system could be mounted: ${stderr?.trim() || "there is no mount"}`);
    report.check("skipped", true);
    return;
  }
  try {
    for (const count of [1, 3]) {
      const folder = join(disk, `in-${count}`);
      await saveInFiles(folder, 1, count);
      const error = await saveInFiles(folder, 2, count).then(
        () => undefined,
        (reason) => reason,
      );
      await checkFailed(report, `${count} files`, error, folder, count);
      for (const name of readdirSync(folder)) spawnSync("rm", [join(folder, name)]);
    }
    const folder = join(disk, "in-1");
    const path = join(folder, "model.safetensors");
    await saveFile(path, tensorsOf(1));
    const error = await saveFile(path, tensorsOf(2)).catch((reason) => reason);
    await checkFailed(report, "saveFile", error, folder, 1);
    const added = await saveCheckpoint(join(disk, "new"), tensorsOf(2), { maxShardSize: TOTAL / 3 }).catch(
      (reason) => reason,
    );
    report.check("a new folder: an error", added instanceof SafetensorsError, String(added));
    report.equal("a new folder: not left", readdirSync(disk).sort(), ["in-1", "in-3"]);
  } finally {
    spawnSync("umount", [disk]);
  }
}

async function checkFailed(report, title, error, folder, count) {
  const isOurs = error instanceof SafetensorsError && error.code === "IO";
  report.check(`${title}: IO`, isOurs, String(error));
  report.check(`${title}: the cause`, error?.cause?.code === "ENOSPC", String(error));
  report.check(
    `${title}: names the file`,
    error?.details?.file?.startsWith(join(folder, "model")),
    String(error),
  );
  report.equal(`${title}: what is there`, readdirSync(folder).sort(), filesOf(count).sort());
  for (const [reader, read] of Object.entries(READERS)) {
    report.equal(`${title}: ${reader} sees`, await read(folder), 1);
  }
}
