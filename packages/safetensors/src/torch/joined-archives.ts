import { SafetensorsError } from "../errors.ts";
import { readExactly } from "../source/read-into.ts";
import type { ByteSource, ReadOptions } from "../source/source.ts";
import { MAX_JOINED_ARCHIVES } from "./limits.ts";

/** The end record, and the ZIP64 record and locator that torch.save puts before it. */
const END_BYTES = 22;
const END64_BYTES = 56 + 20 + END_BYTES;
const END = 0x06054b50;
const LOCATOR = 0x07064b50;
const END64 = 0x06064b50;
const ENTRY = 0x02014b50;

/** The first local header up to the folder that torch.save makes where it is given no path. */
const HEADER_BYTES = 30;
const FOLDER = "archive/";

/** What the end of an archive says, in bytes from its start. */
interface ArchiveEnd {
  readonly start: number;
  readonly directory: number;
  readonly record: number | undefined;
}

/**
 * The starts of the archives in a file of torch.distributed.checkpoint (`__0_0.distcp`), which are what torch.save has
 * written of each tensor, laid end to end. Found from the last one on, each by its end record: nothing lies between them,
 * and as none has a comment there is one way to find them. Nothing for a single archive, for any other file, and if a
 * reader that counts the last archive's offsets from the start of the file finds something else there.
 */
export async function joinedArchives(
  source: ByteSource,
  options?: ReadOptions,
): Promise<readonly number[] | undefined> {
  const ends: ArchiveEnd[] = [];
  for (let at = source.size; at > 0; ) {
    const end = await archiveEnd(source, at, options);
    if (end === undefined || ends.length === MAX_JOINED_ARCHIVES) return undefined;
    ends.push(end);
    at = end.start;
  }
  const [last, first] = [ends[0], ends.at(-1)];
  if (!last || !first || ends.length === 1 || !(await beginsAsSaved(source, options))) return undefined;
  const mayMislead =
    (last.directory !== first.directory && (await signature(source, last.directory, options)) === ENTRY) ||
    (last.record !== undefined &&
      last.record !== first.record &&
      (await signature(source, last.record, options)) === END64);
  return mayMislead ? undefined : ends.map(({ start }) => start).reverse();
}

/** The archive that ends at a byte, as its own end record says. */
async function archiveEnd(
  source: ByteSource,
  end: number,
  options: ReadOptions | undefined,
): Promise<ArchiveEnd | undefined> {
  const length = Math.min(end, END64_BYTES);
  if (length < END_BYTES) return undefined;
  const bytes = await readExactly(source, end - length, length, options);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const at = length - END_BYTES;
  if (view.getUint32(at, true) !== END) return undefined;
  const has64 = length === END64_BYTES && view.getUint32(at - 20, true) === LOCATOR;
  const directory = has64 ? Number(view.getBigUint64(48, true)) : view.getUint32(at + 16, true);
  const size = has64 ? Number(view.getBigUint64(40, true)) : view.getUint32(at + 12, true);
  const start = end - (has64 ? END64_BYTES : END_BYTES) - size - directory;
  if (!Number.isSafeInteger(start) || start < 0) return undefined;
  return { start, directory, record: has64 ? directory + size : undefined };
}

async function beginsAsSaved(source: ByteSource, options: ReadOptions | undefined): Promise<boolean> {
  const length = Math.min(source.size, HEADER_BYTES + FOLDER.length);
  const start = String.fromCharCode(...(await readExactly(source, 0, length, options)));
  return start.startsWith("PK\x03\x04") && start.endsWith(FOLDER);
}

async function signature(source: ByteSource, at: number, options?: ReadOptions): Promise<number> {
  const bytes = await readExactly(source, at, 4, options);
  return new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
}

/** The error for such a file where a checkpoint is wanted: which tensors are in it, only `.metadata` beside it says. */
export function joinedArchivesError(count: number): SafetensorsError {
  const text = `this is a file of torch.distributed.checkpoint, with ${count} archives in a row: make a checkpoint of the folder with torch.distributed.checkpoint.format_utils.dcp_to_torch_save and convert that`;
  return new SafetensorsError("UNSUPPORTED", text, { kind: "torch-distributed-checkpoint" });
}
