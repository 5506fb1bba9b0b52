import { open, openUrl, SafetensorsError } from "safetensors.js";
import { sha256 } from "../python.mjs";
import { pause } from "./server.mjs";

/** Counts reads by what became of them: right bytes, or the code of an error of ours. All else is listed. */
export class Outcome {
  right = 0;
  codes = new Map();
  wrong = [];
  /** Whether the checkpoint could be opened. */
  opened = false;

  /** Runs one read; `expected` is the SHA-256 of what it has to give. */
  async read(name, expected, action) {
    const bytes = await this.ours(name, action);
    if (bytes) this.compare(name, expected, bytes);
  }

  compare(name, expected, bytes) {
    if (sha256(bytes) === expected) this.right++;
    else this.wrong.push(`${name}: wrong bytes`);
  }

  /** Runs an action that may fail with an error of ours, and with no other. */
  async ours(name, action) {
    try {
      return await action();
    } catch (error) {
      if (error instanceof SafetensorsError)
        this.codes.set(error.code, (this.codes.get(error.code) ?? 0) + 1);
      else this.wrong.push(`${name}: ${error.stack ?? error}`);
    }
  }
}

/**
 * Opens the checkpoint, then reads: all of it, parts, and all tensors singly at once.
 *
 * @param afterOpen runs when the header has been read
 * @param read replaces the reads
 */
export async function readEverything(url, truth, options, { afterOpen, read = readAll }) {
  const outcome = new Outcome();
  const checkpoint = await outcome.ours("open", async () => open(await openUrl(url, options)));
  if (!checkpoint) return outcome;
  outcome.opened = true;
  await afterOpen?.();
  await read(checkpoint, truth, outcome);
  await checkpoint.close();
  return outcome;
}

async function readAll(checkpoint, truth, outcome) {
  await readTogether(checkpoint, truth, outcome);
  for (const { name, items, sha256 } of truth.slices) {
    await outcome.read(`${name}, a part`, sha256, () =>
      checkpoint
        .get(name)
        .slice(...items)
        .bytes(),
    );
  }
  await readSingly(checkpoint, truth, outcome);
}

/** All tensors, with as few requests as the plan finds good. */
export async function readTogether(checkpoint, truth, outcome) {
  await outcome.ours("all tensors", async () => {
    const missing = new Set(truth.tensors.keys());
    for await (const { name, bytes } of checkpoint.read()) {
      outcome.compare(name, truth.tensors.get(name).sha256, bytes);
      missing.delete(name);
    }
    for (const name of missing) outcome.wrong.push(`${name}: not read, without an error`);
  });
}

/** All tensors, each by a read of its own, at once. */
async function readSingly(checkpoint, truth, outcome) {
  const tensors = [...truth.tensors];
  await Promise.all(
    tensors.map(([name, { sha256 }]) => outcome.read(name, sha256, () => checkpoint.get(name).bytes())),
  );
}

/** One tensor, and no other. */
export async function readOne(checkpoint, truth, outcome) {
  await outcome.read("ids", truth.tensors.get("ids").sha256, () => checkpoint.get("ids").bytes());
}

/** One tensor again and again, with pauses as long as nginx keeps a connection that nobody uses. */
export async function readWithPauses(checkpoint, truth, outcome) {
  for (let milliseconds = 15; milliseconds < 27; milliseconds += 0.5) {
    await readOne(checkpoint, truth, outcome);
    await pause(milliseconds);
  }
}
