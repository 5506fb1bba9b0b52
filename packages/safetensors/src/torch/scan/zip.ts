import { quote } from "../../errors.ts";
import { fromBytes } from "../../source/memory.ts";
import { openZip, type ZipArchive, type ZipEntry } from "../../zip/archive.ts";
import { crc32 } from "../../zip/crc32.ts";
import { joinedArchives } from "../joined-archives.ts";
import { codeRecord } from "../other-archives.ts";
import { CodeMembers } from "./code-members.ts";
import { inflate, inflateLimit } from "./inflate.ts";
import { scanKerasConfig } from "./keras.ts";
import { draftOf, type Part, type Scan, unpacked, windowOf } from "./part.ts";
import { mayBegin, PickleStart } from "./pickle-start.ts";
import { scanPickles } from "./pickles.ts";
import { salvageZip } from "./salvage.ts";
import type { StorageUse } from "./storage-uses.ts";
import { looksLikeNpy, looksLoadable } from "./sweep-notes.ts";
import { FIRST_LOOK, FirstLook, type IsPlainData, MEMBER_HEAD_BYTES, memberHeads } from "./zip-heads.ts";

/** Members that are loaded as pickles by their name. */
const PICKLE_NAME = /(?:^|\/)(?:data|constants|attributes|traced_inputs)\.pkl$|\.(?:pkl|pickle|joblib)$/i;

/**
 * Members that hold the data of storages. What a pickle refers to is data, whatever it looks like; and no loader takes
 * it for a pickle unless it is told to (`torch.load(pickle_file=…)`), so only what names something, as one, is one.
 */
const STORAGE_NAME = /(?:^|\/)(?:data|constants|tensors)\/\d+$|\.storage$/;

/** Members of a Keras archive in which its weights are: one file, or several of a large model. */
const KERAS_WEIGHTS = /^model(?:_\d+)?\.weights\.h5$/;

/** Members that are kept in memory while they are scanned, and whose checksum is compared. */
const SMALL_MEMBER = 1 << 20;

/** Whether a member is TorchScript's code, or says where that came from. */
function isCodeName(name: string): boolean {
  const slash = name.indexOf("/");
  return slash > 0 && name.startsWith("code/", slash + 1);
}

/** Scans every member of a ZIP archive. What readers could see in different ways is refused, and salvaged. */
export async function scanZip(scan: Scan, part: Part): Promise<void> {
  let zip: ZipArchive;
  let offsets: Float64Array;
  let root: string | undefined;
  let look: FirstLook;
  try {
    zip = await openZip(part.source, scan.options);
    root = torchRoot(zip);
    look = new FirstLook(zip.size, plainData(zip, root));
    offsets = await zip.dataOffsets(look);
  } catch (error) {
    const draft = draftOf(error);
    if (await scanJoined(scan, part)) return;
    scan.add(part, ...draft);
    return salvageZip(scan, part);
  }
  scan.report.addScanned(part.where);
  if (root !== undefined) checkTorchNames(scan, part, zip, root);
  checkCode(scan, part, zip.names(), root);
  for await (const near of memberHeads(zip, offsets, look, scan.options)) {
    for (const [entry, head] of near)
      await scanMember(scan, part, new Member(zip, entry, offsets[entry.row]!, head, root));
  }
}

/** Tells once what code the archive brings along. */
function checkCode(scan: Scan, part: Part, names: readonly string[], root: string | undefined): void {
  const record = codeRecord(names) ?? (root === undefined ? undefined : names.find(isCodeName));
  if (record !== undefined) {
    const text = `is an archive of PyTorch whose code runs when it is loaded: ${quote(record)}`;
    return scan.add(part, "contains-code", text);
  }
  const code = new CodeMembers(scan, part);
  for (const name of names) code.check(name);
}

/** Scans the archives of a file of torch.distributed.checkpoint, each by itself; false if this is none. */
async function scanJoined(scan: Scan, part: Part): Promise<boolean> {
  const starts = await joinedArchives(part.source, scan.options);
  if (starts === undefined) return false;
  for (const [index, start] of starts.entries()) {
    const end = starts[index + 1] ?? part.source.size;
    const archive = windowOf(part, `archive at ${start}`, start, end - start);
    if (scan.mayEnter(part, archive)) await scanZip(scan, archive);
  }
  return true;
}

/** What is looked at no further: most of the members of a large archive. */
function plainData(zip: ZipArchive, root: string | undefined): IsPlainData {
  const names = zip.names();
  return (row, bytes, at, end) => {
    if (root === undefined || zip.methodOf(row) !== 0) return false;
    if (looksLoadable(bytes, at, end) || looksLikeNpy(bytes, at, end)) return false;
    // Most data does not even begin as a pickle, and a view of it takes longer than this look.
    const isHarmless =
      !mayBegin(bytes[at]!) ||
      new PickleStart(zip.sizeOf(row)).read(bytes.subarray(at, end), 0) === "harmless";
    if (!isHarmless) return false;
    const name = names[row]!;
    return STORAGE_NAME.test(name) || (isCodeName(name) && !PICKLE_NAME.test(name));
  };
}

/** A member, and what its name says. */
class Member {
  readonly zip: ZipArchive;
  readonly entry: ZipEntry;
  readonly offset: number;
  readonly head: Uint8Array;
  readonly root: string | undefined;

  constructor(zip: ZipArchive, entry: ZipEntry, offset: number, head: Uint8Array, root: string | undefined) {
    this.zip = zip;
    this.entry = entry;
    this.offset = offset;
    this.head = head;
    this.root = root;
  }

  get isPickle(): boolean {
    return PICKLE_NAME.test(this.entry.name);
  }

  get isStorage(): boolean {
    return this.root !== undefined && STORAGE_NAME.test(this.entry.name);
  }

  /** Whether it is code that the archive is said to contain. */
  get isCode(): boolean {
    return this.root !== undefined && isCodeName(this.entry.name);
  }

  /** Whether the archive is one of TorchScript, which is said of it. */
  get isScript(): boolean {
    return this.root !== undefined && this.zip.find(`${this.root}/constants.pkl`) !== undefined;
  }

  /** Whether it holds the weights of a Keras model, whose configuration is looked into. */
  get isKerasWeights(): boolean {
    return KERAS_WEIGHTS.test(this.entry.name) && this.zip.find("config.json") !== undefined;
  }

  /** Whether it is the pickle whose storages are the members `data/N`. */
  get isMain(): boolean {
    return this.root !== undefined && this.entry.name === `${this.root}/data.pkl`;
  }
}

async function scanMember(scan: Scan, part: Part, member: Member): Promise<void> {
  const { entry, isPickle, isStorage, isCode } = member;
  const isOpaque = (isCode || isStorage) && !isPickle;
  const head = isOpaque ? await unpackedHead(scan, part, member) : undefined;
  const isArray = head !== undefined && looksLikeNpy(head);
  if (head && !isArray && !looksLoadable(head) && !(await namesSomething(scan, part, member, head))) return;
  const inner = await memberPart(scan, part, member);
  if (inner === undefined) return;
  if (isPickle) {
    const { storages } = await scanPickles(scan, inner, "loaded", { isScript: member.isScript });
    if (member.isMain) checkStorages(scan, inner, member, storages);
  } else if (isStorage && !isArray && head?.[0] !== 0x50) {
    await scanPickles(scan, inner, "data");
  } else if (entry.name === "config.json") {
    await scanKerasConfig(scan, inner);
  } else {
    await scan.enter(part, { ...inner, isKerasWeights: member.isKerasWeights });
  }
}

/** The first bytes of a member, unpacked. */
async function unpackedHead(scan: Scan, part: Part, { entry, offset, head }: Member): Promise<Uint8Array> {
  const { name, method, compressedSize } = entry;
  if (method === 0) return head;
  const { bytes } = await inflate(head, "deflate-raw", MEMBER_HEAD_BYTES);
  if (bytes.length === MEMBER_HEAD_BYTES || head.length === compressedSize) return bytes;
  // Blocks of nothing come first: no honest program writes them.
  if (!scan.spend(part, compressedSize)) return bytes;
  const packed = await scan.read(windowOf(part, name, offset, compressedSize), 0, compressedSize);
  return (await inflate(packed, "deflate-raw", MEMBER_HEAD_BYTES)).bytes;
}

/** Whether data names something when it is read as a pickle. Little of what is none is read. */
async function namesSomething(scan: Scan, part: Part, member: Member, head: Uint8Array): Promise<boolean> {
  const { name, method, compressedSize: size } = member.entry;
  const window = windowOf(part, name, member.offset, size);
  // The unpacked size may be a lie.
  const start = new PickleStart(method === 0 ? size : Number.POSITIVE_INFINITY);
  let found = start.read(head, 0);
  for (let length = FIRST_LOOK; typeof found === "number"; length *= 4) {
    const from = method === 0 ? found : 0;
    const wanted = Math.min(length, size - from);
    if (!scan.spend(window, wanted)) return false;
    const bytes = await scan.read(window, from, wanted);
    if (method === 0) found = start.read(bytes, from);
    else {
      const limit = Math.min(inflateLimit(wanted), scan.remaining);
      const { bytes: data, short } = await inflate(bytes, "deflate-raw", limit);
      if (!scan.spend(window, data.length)) return false;
      found = new PickleStart(short === undefined ? data.length : Number.POSITIVE_INFINITY).read(data, 0);
      // What cannot be unpacked in full is looked at as far as it goes, and said to be so.
      if (typeof found === "number" && wanted === size) return true;
    }
  }
  if (found === "misframed")
    scan.add(window, "malformed-pickle", "can be read as a pickle whose opcodes do not fit their frames");
  return found === "names";
}

/** A member as a part; nothing, with a finding, if it cannot be had. */
async function memberPart(scan: Scan, part: Part, { entry, offset }: Member): Promise<Part | undefined> {
  const { name, method, compressedSize, size } = entry;
  const window = windowOf(part, name, offset, compressedSize);
  if (method === 0 && size > SMALL_MEMBER) return window;
  const inMemory = method === 0 ? size : compressedSize;
  if (!scan.spend(part, method === 0 ? 0 : inMemory)) return undefined;
  const stored = await scan.read(window, 0, inMemory);
  if (method === 0) {
    checkCrc(scan, window, entry, stored);
    return { ...window, source: fromBytes(stored) };
  }
  const limit = Math.min(inflateLimit(compressedSize), scan.remaining);
  const { bytes, short } = await inflate(stored, "deflate-raw", limit);
  scan.spend(part, bytes.length);
  const inner = unpacked(part, name, bytes);
  if (short === "limit")
    scan.add(inner, "limit", `is compressed data of which no more than ${limit} bytes are unpacked`);
  else if (short !== undefined || bytes.length !== size)
    scan.add(inner, "malformed-file", "is compressed data that is damaged or of another size");
  else checkCrc(scan, inner, entry, bytes);
  return inner;
}

/** torch.save may leave checksums out, as 0. */
function checkCrc(scan: Scan, part: Part, entry: ZipEntry, bytes: Uint8Array): void {
  if (entry.crc32 !== 0 && crc32(bytes) !== entry.crc32)
    scan.add(part, "crc-mismatch", "does not have its checksum: it was changed, or is damaged");
}

/** The folder of a PyTorch archive. */
function torchRoot(zip: ZipArchive): string | undefined {
  const names = zip.names();
  const [root] = (names[0] ?? "").split("/", 1);
  const isTorch = ["data.pkl", "constants.pkl"].some((name) => names.includes(`${root}/${name}`));
  return isTorch ? root : undefined;
}

/** What PyTorch's reader looks up by name, it must find in one way only. */
function checkTorchNames(scan: Scan, part: Part, zip: ZipArchive, root: string): void {
  const folder = `${root}/`;
  const names = zip.names();
  // No two names are the same, so that only upper case can make them variants.
  const text = names.join("\0");
  const seen = text === text.toLowerCase() ? undefined : new Set<string>();
  for (const name of names) {
    if (!name.startsWith(folder))
      scan.add(part, "member-outside-root", `has ${quote(name)} beside its folder ${quote(root)}`);
    const lower = seen && name.toLowerCase();
    if (seen?.has(lower!))
      scan.add(part, "case-variants", `has two members named ${quote(name)}, but for upper and lower case`);
    seen?.add(lower!);
  }
}

/** The members `data/N` must be what the pickle says. */
function checkStorages(
  scan: Scan,
  part: Part,
  { zip, root }: Member,
  storages: ReadonlyMap<string, StorageUse>,
): void {
  const folder = `${root}/data/`;
  const names = zip.names();
  let agreeing = 0;
  for (let row = 0; row < names.length; row++) {
    const name = names[row]!;
    const use = name.startsWith(folder) ? storages.get(name.slice(folder.length)) : undefined;
    if (use && zip.sizeOf(row) === use.length * use.dtype.bytes) agreeing++;
  }
  if (agreeing === storages.size) return;
  for (const [key, { dtype, length }] of storages) {
    const size = zip.find(folder + key)?.size;
    if (size !== length * dtype.bytes) {
      const found = size === undefined ? "is missing" : `has ${size} bytes`;
      scan.add(
        part,
        "storage-size",
        `refers to storage ${key}, which ${found}; it should have ${length * dtype.bytes}`,
      );
    }
  }
}
