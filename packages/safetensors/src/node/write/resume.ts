import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { link, open, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import type { PreparedFile } from "./file-group.ts";
import { flushFolder, followLinks } from "./file-sink.ts";
import { leftoversIn, RECORD_ENDING, temporaryFor } from "./litter.ts";
import { nobodyTag } from "./litter-writer.ts";

/** Most bytes of a record: four numbers in hexadecimal digits. */
const MAX_RECORD_BYTES = 1024;

/** What is known of a complete file that has not taken its place. All but `size` are SHA-256, in hexadecimal digits. */
export interface PartRecord {
  /** Of what the caller calls the input. */
  readonly identity: string;
  /** Of its header: names, dtypes, shapes and metadata. */
  readonly header: string;
  /** Of all of it. */
  readonly sha256: string;
  readonly size: number;
}

/** A complete file of an earlier save, as its record says. */
export interface Part extends PartRecord {
  readonly temporary: string;
  /** Whether its writer is certainly gone; otherwise it stays where it is. */
  readonly isGone: boolean;
}

/** SHA-256 as records have it. */
export function sha256(data: Uint8Array | string): string {
  return createHash("sha256").update(data).digest("hex");
}

/** Keeps the record of a complete file beside it. */
export async function recordPart(temporary: string, record: PartRecord): Promise<void> {
  const { identity, header, sha256, size } = record;
  const file = await open(temporary + RECORD_ENDING, "wx");
  try {
    await file.writeFile(JSON.stringify({ identity, header, sha256, size }));
    await file.sync();
  } finally {
    await file.close();
  }
  flushFolder(dirname(temporary));
}

/** Removes the record of a file. */
export async function forgetPart(temporary: string): Promise<void> {
  await rm(temporary + RECORD_ENDING, { force: true }).catch(() => {});
}

/** Finds the files that an interrupted save of the same input left complete. What they hold has not been looked at. */
export async function findParts(
  folder: string,
  isTarget: (name: string) => boolean,
  identity: string,
): Promise<Part[]> {
  const parts: Part[] = [];
  for (const { path, isRecord, isGone } of await leftoversIn(folder, isTarget)) {
    const record = isRecord ? await readRecord(path) : undefined;
    if (record?.identity !== identity) continue;
    parts.push({ ...record, temporary: path.slice(0, -RECORD_ENDING.length), isGone });
  }
  return parts;
}

/**
 * Makes a part the complete file for a path, if it still holds what was written.
 *
 * @returns undefined if not
 */
export async function adoptPart(
  part: Part,
  path: string,
  signal: AbortSignal | undefined,
): Promise<PreparedFile | undefined> {
  const temporary = temporaryFor(await followLinks(path));
  try {
    if ((await stat(part.temporary)).size !== part.size) return undefined;
    const hash = createHash("sha256");
    for await (const chunk of createReadStream(part.temporary, { highWaterMark: 1 << 20, signal })) {
      hash.update(chunk as Buffer);
    }
    if (hash.digest("hex") !== part.sha256) return undefined;
    // Somebody who may be alive keeps his name for it.
    await (part.isGone ? rename : link)(part.temporary, temporary);
    await recordPart(temporary, part);
  } catch {
    signal?.throwIfAborted();
    await rm(temporary, { force: true });
    return undefined;
  }
  if (part.isGone) await forgetPart(part.temporary);
  return { path, temporary };
}

/** Leaves a complete file and its record to whoever saves the same again. */
export async function releasePart({ path, temporary }: PreparedFile): Promise<void> {
  const released = temporaryFor(await followLinks(path), nobodyTag());
  await rename(temporary, released);
  await rename(temporary + RECORD_ENDING, released + RECORD_ENDING);
}

async function readRecord(path: string): Promise<PartRecord | undefined> {
  try {
    if ((await stat(path)).size > MAX_RECORD_BYTES) return undefined;
    const { identity, header, sha256, size } = JSON.parse(await readFile(path, "utf8"));
    const isValid = [identity, header, sha256].every((text) => typeof text === "string");
    return isValid && Number.isSafeInteger(size) ? { identity, header, sha256, size } : undefined;
  } catch {
    return undefined;
  }
}
