import { createHash, randomBytes } from "node:crypto";
import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";

/** A file whose writer cannot be asked for, as it is of another machine, counts as left behind after this long. */
const SILENCE_MILLISECONDS = 24 * 60 * 60 * 1000;

/** What a temporary name says of its writer: process, start of the process, where it runs, and a number of the file. */
export const WRITER_PATTERN = "(\\d{1,10})-(\\d{1,20})-([0-9a-f]{8})-([0-9a-f]{12})";

let place: string | undefined;

/**
 * Where processes can be asked for: one run of one system, and there one space of process numbers. Another container, and
 * the same machine after a restart, are other places. If nothing tells machines apart, each process is a place.
 */
export function ownPlace(): string {
  if (place !== undefined) return place;
  const machine = [hostName(), readText("/proc/sys/kernel/random/boot_id")];
  const isKnown = machine.some((part) => part !== "");
  place = createHash("sha256")
    .update(isKnown ? JSON.stringify([...machine, processSpace()]) : randomBytes(16))
    .digest("hex")
    .slice(0, 8);
  return place;
}

/** The name of the machine; Deno tells it only with `--allow-sys`. */
function hostName(): string {
  try {
    return hostname();
  } catch {
    return "";
  }
}

/** Names this process as the writer of a file. */
export function writerTag(): string {
  return `${process.pid}-${startOf("self")}-${ownPlace()}-${randomBytes(6).toString("hex")}`;
}

/** Names nobody as the writer, for files that are left on purpose. */
export function nobodyTag(): string {
  return `0-0-${ownPlace()}-${randomBytes(6).toString("hex")}`;
}

/**
 * Whether the writer of a file is still there. Only "gone" is certain enough to remove the file.
 *
 * @param groups what `WRITER_PATTERN` found: process, start, place.
 * @param modified when the file was last written, in milliseconds since 1970.
 */
export function writerState(groups: readonly string[], modified: number): "gone" | "alive" | "unknown" {
  const [pid = "", start, itsPlace] = groups;
  if (pid === "0") return "gone";
  if (itsPlace !== ownPlace()) return Date.now() - modified > SILENCE_MILLISECONDS ? "gone" : "unknown";
  try {
    process.kill(Number(pid), 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return "gone";
  }
  // Numbers of processes are used again: in a container that restarts even at once.
  const now = startOf(pid);
  return start === "0" || now === "0" || start === now ? "alive" : "gone";
}

/** When a process started: field 22 of /proc/PID/stat, whose second field may hold spaces; "0" where that is unknown. */
function startOf(pid: string): string {
  const text = readText(`/proc/${pid}/stat`);
  return text.slice(text.lastIndexOf(")") + 2).split(" ")[19] ?? "0";
}

function readText(path: string): string {
  try {
    return readFileSync(path, "latin1").trim();
  } catch {
    return "";
  }
}

function processSpace(): string {
  try {
    return readlinkSync("/proc/self/ns/pid");
  } catch {
    return "";
  }
}
