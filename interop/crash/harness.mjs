import { spawn, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { runPython } from "../python.mjs";
import { mulberry32 } from "../steps/mutate.mjs";
import { READERS } from "./readers.mjs";
import { SCENARIOS } from "./scenarios.mjs";

const CHILD = fileURLToPath(new URL("child.mjs", import.meta.url));
const KILL_AT = new URL("kill-at.mjs", import.meta.url).href;

/** Kills in all, unless said otherwise: seconds. */
const KILLS = 25;

/** Every so many kills, Python reads what is there as well. */
const READ_BY_PYTHON = 8;

/** Killed at random moments, spread over the time that some saves take: the folder holds the last one or the one under way. */
export async function killAtRandom(
  report,
  { python, work, kills = KILLS, seed = 1, names = Object.keys(SCENARIOS) },
) {
  const random = mulberry32(seed);
  const states = join(work, "crash-states");
  const allowed = {};
  mkdirSync(states, { recursive: true });
  for (const name of names) {
    const folder = join(work, `crash-${name}`);
    const { title, write } = SCENARIOS[name];
    mkdirSync(folder, { recursive: true });
    await write(folder, 0);
    const start = performance.now();
    const RUNS = 4;
    for (let generation = 1; generation < RUNS; generation++) await write(folder, generation);
    const span = (performance.now() - start) * 1.2;
    let last = RUNS - 1;
    let inside = 0;
    for (let kill = 0; kill < Math.ceil(kills / names.length); kill++) {
      const moment = random() * span;
      const { done, begun, strays } = await runAndKill(name, folder, last + 1, moment);
      const state = `${title}, kill ${kill} after ${moment.toFixed(1)} ms: ${readdirSync(folder)}`;
      report.check(`nothing strays, ${state}`, strays.length === 0, strays.join("; "));
      const generations = [done ?? last, begun];
      last = await checkReaders(report, folder, generations, state);
      if (begun !== done) inside++;
      if (kill % READ_BY_PYTHON === 0) {
        const id = `${name}-${kill}`;
        cpSync(folder, join(states, id), { recursive: true });
        allowed[id] = generations;
      }
    }
    const { strays } = await runAndKill(name, folder, last + 1, Number.POSITIVE_INFINITY);
    report.check(`nothing strays in the end, ${title}`, strays.length === 0, strays.join("; "));
    report.check(`most kills hit a save, ${title}`, inside > kills / names.length / 2, `${inside} did`);
  }
  checkWithPython(report, python, states, allowed);
}

/** Killed before every single call that changes names. */
export async function killAtEveryStep(report, { work, names = Object.keys(SCENARIOS) }) {
  for (const name of names) {
    const { title, write, files } = SCENARIOS[name];
    for (const first of [1, 2]) {
      const before = join(work, `steps-${name}-${first}`);
      mkdirSync(before, { recursive: true });
      for (let generation = 0; generation < first; generation++) await write(before, generation);
      for (let step = 0, isOver = false; !isOver; step++) {
        const folder = `${before}-${step}`;
        cpSync(before, folder, { recursive: true });
        const { status, signal } = spawnSync(
          process.execPath,
          ["--import", KILL_AT, CHILD, name, folder, String(first), "1"],
          { env: { ...process.env, KILL_AT: String(step) } },
        );
        isOver = status === 0;
        const state = `${title}, generation ${first} killed at step ${step}: ${readdirSync(folder)}`;
        report.check(`killed or done, ${state}`, isOver || signal === "SIGKILL", `${status} ${signal}`);
        await checkReaders(report, folder, isOver ? [first] : [first - 1, first], state);
        // A later one that is unlike what was being written, so that nothing is there by chance.
        await write(folder, first + 1);
        report.equal(
          `files after the next save, ${state}`,
          readdirSync(folder).sort(),
          files(first + 1).sort(),
        );
        await checkReaders(report, folder, [first + 1], state);
        rmSync(folder, { recursive: true });
        if (!isOver && signal !== "SIGKILL") return;
      }
    }
  }
}

/** Runs the child and kills it so long after it has begun. */
async function runAndKill(name, folder, first, milliseconds) {
  const isEndless = milliseconds === Number.POSITIVE_INFINITY;
  const child = spawn(process.execPath, [CHILD, name, folder, String(first), isEndless ? "1" : "1000000"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  const ended = new Promise((resolve) => child.once("close", resolve));
  const begun = new Promise((resolve) => {
    child.stdout.setEncoding("utf8").on("data", (text) => {
      output += text;
      resolve();
    });
  });
  await Promise.race([begun, ended]);
  if (!isEndless) {
    await delay(milliseconds);
    child.kill("SIGKILL");
  }
  await ended;
  const lines = output.split("\n").slice(0, -1);
  const lastOf = (word) => {
    const line = lines.findLast((text) => text.startsWith(`${word} `));
    return line === undefined ? undefined : Number(line.split(" ")[1]);
  };
  return {
    done: lastOf("done"),
    begun: lastOf("begun"),
    strays: lines.filter((line) => line.startsWith("stray ")),
  };
}

/** All readers must see one of these generations. Returns the one that ours sees. */
async function checkReaders(report, folder, generations, state) {
  let seen = Math.max(...generations);
  for (const [reader, read] of Object.entries(READERS)) {
    await report.try(`${reader} reads, ${state}`, async () => {
      const generation = await read(folder);
      report.check(
        `${reader} sees one of ${generations}, ${state}`,
        generations.includes(generation),
        String(generation),
      );
      if (reader === "ours") seen = generation;
    });
  }
  return seen;
}

function checkWithPython(report, python, states, allowed) {
  const found = JSON.parse(runPython(python, "crash_states.py", [states]));
  for (const [id, generations] of Object.entries(allowed)) {
    for (const [reader, seen] of Object.entries(found[id] ?? { Python: "nothing" })) {
      report.check(`${id} read by Python, ${reader}`, generations.includes(seen), String(seen));
    }
  }
}
