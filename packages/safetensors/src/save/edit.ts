import { withoutDigests } from "../checkpoint/digest-keys.ts";
import { quote, SafetensorsError } from "../errors.ts";
import { checkText, encodeMetadata } from "../format/encode.ts";
import { LENGTH_BYTES } from "../format/header.ts";
import { JsonCursor } from "../format/json-cursor.ts";
import { parseHeader } from "../format/parse-header.ts";
import { type Patch, patched } from "./patch.ts";

const COMMA = 0x2c;

/** What is to become different in a header, while the data stays where it is. */
export interface HeaderChanges {
  /** Metadata to set, whether the key is there or not. */
  readonly setMetadata?: ReadonlyMap<string, string> | Readonly<Record<string, string>> | undefined;
  /** Keys of metadata to remove; each must be there. */
  readonly removeMetadata?: readonly string[] | ReadonlySet<string> | undefined;
  /**
   * New names of tensors by their old ones, all given at once: names can be swapped. Digests in the metadata are taken out
   * then. Metadata that gives a name without data the tensor it shares (see `SavedCheckpoint.aliases`) stays as it is:
   * only who wrote it knows that it is not something else. Set it anew if the tensor has another name now.
   */
  readonly rename?: ReadonlyMap<string, string> | undefined;
}

/** A header after changes. */
export interface EditedHeader {
  /** The JSON without padding. */
  readonly json: Uint8Array;
  /** Bytes left in the room of the old header; below zero, that many are missing. */
  readonly room: number;
  /** Length, JSON and padding, as long as the old header; absent if it does not fit. */
  readonly bytes?: Uint8Array;
}

/**
 * Changes a header. What is not asked for stays as it is written: the order of the tensors, their data offsets, and fields
 * that the format does not know. Metadata that changes is written with sorted keys, and not at all once nothing is left of
 * it. Digests of the tensors (see `manifestInMetadata`) do not outlast new names.
 *
 * @param json the header's JSON with its padding.
 * @param dataLength bytes in the file after the header.
 * @throws every error of `parseHeader`; `TENSOR_NOT_FOUND`; `DUPLICATE_NAME` if two tensors would have one name;
 *   `INVALID_NAME` for names that no tensor can have, for keys of metadata that are not there to be removed or are to be
 *   set as well, and for values that are no strings
 */
export function editHeader(json: Uint8Array, dataLength: number, changes: HeaderChanges): EditedHeader {
  const header = parseHeader(json, dataLength);
  checkRenames(changes.rename, (name) => header.find(name) !== undefined);
  const metadata = changedMetadata(header.metadata, changes, !changes.rename?.size);
  const edited = rewrite(json, changes.rename ?? new Map(), metadata);
  const room = json.length - edited.length;
  return room < 0 ? { json: edited, room } : { json: edited, room, bytes: padded(edited, json.length) };
}

/**
 * Checks that tensors can be renamed: all are there, and no two names become the same.
 *
 * @param has whether there is a tensor of that name.
 * @throws `TENSOR_NOT_FOUND`, `DUPLICATE_NAME`, `INVALID_NAME`
 */
export function checkRenames(
  rename: ReadonlyMap<string, string> | undefined,
  has: (name: string) => boolean,
): void {
  const takenBy = new Map<string, string>();
  for (const [from, to] of rename ?? []) {
    if (!has(from)) {
      throw new SafetensorsError("TENSOR_NOT_FOUND", `there is no tensor named ${quote(from)} to rename`, {
        tensor: from,
      });
    }
    checkText(to, "a tensor's name");
    if (to === "__metadata__") {
      const text = `tensor ${quote(from)} cannot be named "__metadata__": a reader takes it for metadata`;
      throw new SafetensorsError("INVALID_NAME", text, { tensor: from });
    }
    const other = takenBy.get(to) ?? (has(to) && !rename!.has(to) ? to : undefined);
    if (other !== undefined) {
      const text =
        other === to
          ? `tensor ${quote(from)} cannot be named ${quote(to)}: there is one of that name`
          : `tensors ${quote(other)} and ${quote(from)} would both be named ${quote(to)}`;
      throw new SafetensorsError("DUPLICATE_NAME", text, { tensor: from });
    }
    takenBy.set(to, from);
  }
}

/**
 * The metadata after changes; undefined if it stays as it is.
 *
 * @param keepsDigests whether digests in it still hold: the tensors are the same, with the same names, in the same order.
 * @throws `INVALID_NAME`
 */
export function changedMetadata(
  before: ReadonlyMap<string, string>,
  { setMetadata = {}, removeMetadata = [] }: HeaderChanges,
  keepsDigests: boolean,
): Map<string, string> | undefined {
  const set = new Map(setMetadata instanceof Map ? setMetadata : Object.entries(setMetadata));
  const removed = new Set(removeMetadata);
  const after = keepsDigests ? new Map(before) : withoutDigests(before);
  if (set.size === 0 && removed.size === 0 && after.size === before.size) return undefined;
  for (const key of removed) {
    const why = set.has(key) ? "it is to be set as well" : before.has(key) ? "" : "there is none of that key";
    if (why !== "") {
      throw new SafetensorsError("INVALID_NAME", `metadata ${quote(key)} cannot be removed: ${why}`);
    }
    after.delete(key);
  }
  for (const [key, value] of set) after.set(key, value);
  return after;
}

/** The header as it is written, without the padding, with other names and other metadata. */
function rewrite(
  json: Uint8Array,
  rename: ReadonlyMap<string, string>,
  metadata: ReadonlyMap<string, string> | undefined,
): Uint8Array {
  const member = metadata?.size ? `"__metadata__":${encodeMetadata(metadata)}` : "";
  const patches: Patch[] = [];
  const cursor = new JsonCursor(json);
  cursor.beginObject("the header");
  const start = cursor.at;
  let isMissing = metadata !== undefined;
  let count = 0;
  /** Where the member before ends. */
  let last = start;
  for (; cursor.nextKey(count === 0); count++) {
    const [begin, end] = [cursor.stringStart - 1, cursor.stringEnd + 1];
    const isMetadata = cursor.is("__metadata__");
    const name = rename.size > 0 && !isMetadata ? rename.get(cursor.text()) : undefined;
    if (name !== undefined) patches.push({ begin, end, text: JSON.stringify(name) });
    cursor.skipValue(1);
    if (isMetadata && metadata) {
      isMissing = false;
      if (member !== "") patches.push({ begin, end: cursor.at, text: member });
      else patches.push(withoutMember(json, last, begin, cursor.at, count === 0));
    }
    last = cursor.at;
  }
  if (isMissing && member !== "") {
    patches.unshift({ begin: start, end: start, text: count > 0 ? `${member},` : member });
  }
  return patched(json.subarray(0, cursor.at), patches);
}

/** Takes out a member together with a comma, before it or, if it is the first one, after it. */
function withoutMember(json: Uint8Array, last: number, begin: number, end: number, isFirst: boolean): Patch {
  if (!isFirst) return { begin: last, end, text: "" };
  const cursor = new JsonCursor(json);
  cursor.at = end;
  cursor.accept(COMMA);
  return { begin, end: cursor.at, text: "" };
}

function padded(json: Uint8Array, length: number): Uint8Array {
  const bytes = new Uint8Array(LENGTH_BYTES + length).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(json, LENGTH_BYTES);
  return bytes;
}
