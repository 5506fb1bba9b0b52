import { type ErrorCode, quote, SafetensorsError } from "../errors.ts";
import { DATA_INFLATE_ALLOWANCE, MAX_PICKLE_BYTES } from "../limits.ts";
import { byteSwapped } from "../source/byte-swapped.ts";
import { readExactly } from "../source/read-into.ts";
import type { ByteSource } from "../source/source.ts";
import { openZip, type ZipArchive, type ZipEntry } from "../zip/archive.ts";
import { crc32 } from "../zip/crc32.ts";
import { InflatedMembers, inflatedSource } from "../zip/inflated.ts";
import { checkRatio } from "../zip/ratio.ts";
import type { OpenTools, StoragePlace, TorchFile } from "./file.ts";
import { TorchInterpreter } from "./interpreter.ts";
import { joinPickles } from "./join-pickles.ts";
import { INFLATE_ALLOWANCE, MAX_TEXT_RECORD_BYTES } from "./limits.ts";
import { refuseOtherArchives } from "./other-archives.ts";
import { PyTuple } from "./pickle/containers.ts";
import { PickleFault } from "./pickle/fault.ts";
import { type PickleResult, runPickle } from "./pickle/machine.ts";
import type { PickleValue } from "./pickle/values.ts";
import { textOf } from "./python-bytes.ts";
import { constantsOf } from "./script-constants.ts";
import { steadily } from "./steps.ts";
import type { StorageNode } from "./storage.ts";
import { StorageTable } from "./storage-table.ts";

/** Errors that are the file's own, and not those of reading it. */
const FAULTS_OF_FILE: ReadonlySet<ErrorCode> = new Set([
  "INVALID_ARCHIVE",
  "INVALID_PICKLE",
  "FORBIDDEN_GLOBAL",
  "LIMIT_EXCEEDED",
  "UNSUPPORTED",
]);

/** The archive that torch.save writes since PyTorch 1.6: a ZIP of one folder with `data.pkl` and the storages. */
class TorchArchive {
  /** The one folder at the top. */
  readonly root: string;
  readonly #zip: ZipArchive;
  readonly #names: ReadonlyMap<string, string>;
  readonly #dataOffsets: Float64Array;
  readonly #tools: OpenTools;
  readonly #inflated = new InflatedMembers();
  #pickleBytes = 0;

  private constructor(zip: ZipArchive, dataOffsets: Float64Array, tools: OpenTools) {
    this.#zip = zip;
    this.root = soleRoot(zip);
    this.#names = foldedNames(zip);
    this.#dataOffsets = dataOffsets;
    this.#tools = tools;
  }

  static async open(source: ByteSource, tools: OpenTools): Promise<TorchArchive> {
    const zip = await openZip(source, tools);
    return new TorchArchive(zip, await zip.dataOffsets(), tools);
  }

  /** A record, which has that name to PyTorch too: it looks for names without regard to case. */
  find(record: string): ZipEntry | undefined {
    const name = `${this.root}/${record}`;
    const found = this.#names.get(name.toLowerCase());
    if (found === undefined || found === name) return this.#zip.find(name);
    throw invalid(`PyTorch would take the record ${quote(found)} for ${quote(name)}`);
  }

  /** Runs a pickle, and puts its storages into a table. All pickles of the archive together have a limit. */
  async readPickle(record: string, storages: StorageTable): Promise<PickleResult> {
    const entry = this.#needed(record);
    this.#pickleBytes += entry.size;
    if (this.#pickleBytes > MAX_PICKLE_BYTES) throw tooLarge(record, entry, "MAX_PICKLE_BYTES");
    checkRatio(entry, INFLATE_ALLOWANCE);
    const bytes = await this.#read(entry);
    const { loadBytes, signal } = this.#tools;
    const persistentLoad = (id: PickleValue) => loadStorage(id, storages);
    const interpreter = new TorchInterpreter(bytes.length, { loadBytes, persistentLoad });
    const result = await steadily(runPickle(bytes, interpreter), signal);
    if (result.end === bytes.length) return result;
    throw new SafetensorsError("INVALID_PICKLE", "bytes follow the end of the pickle", { at: result.end });
  }

  async readText(record: string): Promise<string> {
    const entry = this.#needed(record);
    if (entry.size > MAX_TEXT_RECORD_BYTES) throw tooLarge(record, entry, "MAX_TEXT_RECORD_BYTES");
    return String.fromCharCode(...(await this.#read(entry)));
  }

  /**
   * Where the data of a storage lies in its folder, inflated if it is compressed. The record must have exactly the bytes
   * of the storage, which is known before anything is inflated.
   */
  placeOf(folder: "data" | "constants", storage: StorageNode): StoragePlace {
    const entry = this.#needed(`${folder}/${storage.key}`);
    if (entry.size !== storage.byteLength) {
      throw new SafetensorsError(
        "INVALID_ARCHIVE",
        `storage ${storage.key} has ${entry.size} bytes in the archive, the pickle says ${storage.byteLength}`,
        { at: this.#dataOffsets[entry.row]! },
      );
    }
    if (!this.#tools.allowExpansion) checkRatio(entry, DATA_INFLATE_ALLOWANCE);
    return this.#placeOf(entry);
  }

  async #read(entry: ZipEntry): Promise<Uint8Array> {
    const { source, offset, checksum } = this.#placeOf(entry);
    const bytes = await readExactly(source, offset, entry.size, { signal: this.#tools.signal });
    // The CRC of what is compressed is checked already.
    if (!checksum || crc32(bytes) === checksum.crc32) return bytes;
    throw invalid(
      `${quote(entry.name)} does not have its CRC: it is damaged, or was changed; get the file again, or load it where it is safe and save it anew`,
    );
  }

  #placeOf(entry: ZipEntry): StoragePlace {
    const offset = this.#dataOffsets[entry.row]!;
    const { source } = this.#zip;
    const { name: member, method, crc32, size: length } = entry;
    // 0: torch.save was told to leave it out.
    const checksum = crc32 === 0 ? undefined : { start: offset, length, crc32, member, archive: source.name };
    if (method === 0) return { source, offset, ...(checksum && { checksum }) };
    return { source: inflatedSource(source, { ...entry, offset }, this.#inflated), offset: 0 };
  }

  #needed(record: string): ZipEntry {
    const entry = this.find(record);
    if (entry) return entry;
    throw invalid(`the archive has no record ${quote(record)}`);
  }
}

/** Opens the archive and checks what PyTorch's own reader checks, and that its names can be read in one way only. */
export async function openTorchArchive(source: ByteSource, tools: OpenTools): Promise<TorchFile> {
  const archive = await TorchArchive.open(source, tools);
  if (!archive.find("data.pkl")) refuseOtherArchives((record) => archive.find(record) !== undefined);
  await checkVersion(archive);
  const container = archive.find("constants.pkl") ? "torchscript" : "zip";
  const bigEndian = await isBigEndian(archive);
  if (bigEndian && container === "torchscript") {
    // PyTorch reads it as it is, so nobody knows what it means.
    throw new SafetensorsError(
      "UNSUPPORTED",
      "a big-endian TorchScript archive, which PyTorch itself misreads",
      {
        kind: "torchscript",
      },
    );
  }
  const { root } = archive;
  const pickle = await archive.readPickle("data.pkl", new StorageTable());
  if (container === "torchscript") return { container, root, ...(await withConstants(archive, pickle)) };
  const placeOf = (storage: StorageNode): StoragePlace => {
    const place = archive.placeOf("data", storage);
    return bigEndian ? swapped(place, storage) : place;
  };
  return { container, root, pickle, bigEndian, placeOf };
}

/**
 * The constants of TorchScript's code, in `constants.pkl` and `constants/`. Whatever is wrong with them is no error yet:
 * the weights of the module can be read all the same.
 */
async function withConstants(
  archive: TorchArchive,
  pickle: PickleResult,
): Promise<Pick<TorchFile, "pickle" | "constants" | "placeOf">> {
  const storages = new StorageTable();
  const placeOf = (storage: StorageNode): StoragePlace =>
    archive.placeOf(storages.has(storage) ? "constants" : "data", storage);
  try {
    const result = await archive.readPickle("constants.pkl", storages);
    return { pickle: joinPickles(pickle, [result]), constants: constantsOf(result.value), placeOf };
  } catch (error) {
    if (!(error instanceof SafetensorsError) || !FAULTS_OF_FILE.has(error.code)) throw error;
    const text = `constants.pkl: ${error.reason}`;
    return { pickle, constants: new SafetensorsError(error.code, text, error.details), placeOf };
  }
}

/** `("storage", class, key, location, length)` */
function loadStorage(id: PickleValue, storages: StorageTable): StorageNode {
  const parts = id instanceof PyTuple ? id.items : [];
  const [kind, storageClass, key, , length] = parts;
  if (parts.length !== 5 || textOf(kind) !== "storage") {
    throw new PickleFault("a persistent id is not that of a storage");
  }
  return storages.storage(storageClass, key, length);
}

async function isBigEndian(archive: TorchArchive): Promise<boolean> {
  if (!archive.find("byteorder")) return false;
  const order = await archive.readText("byteorder");
  if (order === "little" || order === "big") return order === "big";
  throw invalid(`the byte order is ${quote(order)}`);
}

/** Elements of the storage's type are swapped, as PyTorch does it; of complex ones, each of the two parts. */
function swapped(place: StoragePlace, { dtype, byteLength }: StorageNode): StoragePlace {
  const bytes = dtype.name.startsWith("complex") ? dtype.bytes / 2 : dtype.bytes;
  if (bytes === 1) return place;
  const { source, offset } = place;
  return { source: byteSwapped(source, bytes, offset, offset + byteLength), offset: 0 };
}

/** The folder of the first member; all others must lie in it too. */
function soleRoot(zip: ZipArchive): string {
  const first = zip.names()[0] ?? "";
  const slash = first.indexOf("/");
  if (slash < 0) throw invalid("it is a ZIP archive, but its files are not in a folder as PyTorch's are");
  const root = first.slice(0, slash);
  const stray = zip.names().find((name) => !name.startsWith(`${root}/`));
  if (stray !== undefined) throw invalid(`the archive has ${quote(stray)} beside the folder ${quote(root)}`);
  return root;
}

/** The names in lower case. PyTorch finds records without regard to it: of `data/0` and `DATA/0` it may read either. */
function foldedNames(zip: ZipArchive): Map<string, string> {
  const names = new Map<string, string>();
  for (const name of zip.names()) {
    const lower = name.toLowerCase();
    if (names.has(lower)) throw invalid(`two records are named ${quote(name)}, but for upper and lower case`);
    names.set(lower, name);
  }
  return names;
}

/** `.data/version` or `version`: a number from 1 to 10. */
async function checkVersion(archive: TorchArchive): Promise<void> {
  const text = await archive.readText(archive.find(".data/version") ? ".data/version" : "version");
  const version = /^([0-9]{1,2})\n?$/.exec(text)?.[1];
  if (version === undefined || Number(version) < 1 || Number(version) > 10) {
    throw new SafetensorsError("UNSUPPORTED", `the archive has the version ${quote(text)}`, {
      kind: "torch",
    });
  }
}

function tooLarge(record: string, { size }: ZipEntry, limit: string): SafetensorsError {
  return new SafetensorsError("LIMIT_EXCEEDED", `${record} has ${size} bytes`, { limit });
}

function invalid(reason: string): SafetensorsError {
  return new SafetensorsError("INVALID_ARCHIVE", reason);
}
