import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const PROGRAMS = [
  "chromium",
  "chromium-browser",
  "google-chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

/** A Chromium or Chrome: its program and version; undefined where there is none. CHROMIUM names another one. */
export function findChromium() {
  const programs = process.env.CHROMIUM ? [process.env.CHROMIUM] : PROGRAMS;
  for (const program of programs) {
    const { status, stdout } = spawnSync(program, ["--version"], { encoding: "utf8" });
    if (status === 0) return { program, version: stdout.trim() };
  }
  return undefined;
}

/** Shows a page without a window until `done` is settled or `patience` milliseconds are over. */
export async function showPage(program, url, done, patience) {
  const profile = mkdtempSync(join(tmpdir(), "chromium-"));
  // The sandbox does not work for root, as in containers; the page is ours.
  const options = ["--headless=new", "--no-sandbox", "--disable-gpu", `--user-data-dir=${profile}`];
  const child = spawn(program, [...options, url], { stdio: ["ignore", "ignore", "pipe"], timeout: patience });
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (text) => {
    log += text;
  });
  const ended = new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve(code ?? signal));
  });
  const early = ended.then((status) => {
    throw new Error(`${program} ended with ${status} before the page had results:\n${log}`);
  });
  try {
    return await Promise.race([done, early]);
  } finally {
    early.catch(() => {});
    child.kill();
    await ended;
    // Its helpers may still be writing.
    rmSync(profile, { recursive: true, force: true, maxRetries: 10 });
  }
}
