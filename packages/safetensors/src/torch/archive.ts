import { quote, SafetensorsError } from "../errors.ts";
import { MAX_PICKLE_BYTES } from "../limits.ts";
import { readExactly } from "../source/read-into.ts";
import type { ByteSource, ReadOptions } from "../source/source.ts";
import { openZip, type ZipArchive, type ZipEntry } from "../zip/archive.ts";
import type { StoragePlace, TorchFile } from "./file.ts";
import { TorchInterpreter } from "./interpreter.ts";
import { MAX_TEXT_RECORD_BYTES } from "./limits.ts";
import { type PickleResult, runPickle } from "./pickle/machine.ts";
import type { StorageNode } from "./storage.ts";

/** The archive that torch.save writes since PyTorch 1.6: a ZIP of one folder with `data.pkl` and the storages. */
export class TorchArchive {
  /** The one folder at the top. */
  readonly root: string;
  readonly #zip: ZipArchive;
  readonly #dataOffsets: Float64Array;
  readonly #options: ReadOptions;

  constructor(zip: ZipArchive, root: string, dataOffsets: Float64Array, options: ReadOptions) {
    this.#zip = zip;
    this.root = root;
    this.#dataOffsets = dataOffsets;
    this.#options = options;
  }

  has(record: string): boolean {
    return this.#zip.find(`${this.root}/${record}`) !== undefined;
  }

  /** The bytes of a record that must be there. */
  async read(record: string, limit: number, limitName: string): Promise<Uint8Array> {
    const entry = this.#stored(record);
    if (entry.size > limit) {
      throw new SafetensorsError("LIMIT_EXCEEDED", `${record} has ${entry.size} bytes`, { limit: limitName });
    }
    return readExactly(this.#zip.source, this.#dataOffsets[entry.row]!, entry.size, this.#options);
  }

  async readPickle(): Promise<PickleResult> {
    const bytes = await this.read("data.pkl", MAX_PICKLE_BYTES, "MAX_PICKLE_BYTES");
    const result = runPickle(bytes, new TorchInterpreter(bytes.length));
    if (result.end === bytes.length) return result;
    throw new SafetensorsError("INVALID_PICKLE", "bytes follow the end of the pickle", { at: result.end });
  }

  async readText(record: string): Promise<string> {
    const bytes = await this.read(record, MAX_TEXT_RECORD_BYTES, "MAX_TEXT_RECORD_BYTES");
    return String.fromCharCode(...bytes);
  }

  /** Where the data of a storage lies. The record must have exactly the bytes of the storage. */
  placeOf(storage: StorageNode): StoragePlace {
    const entry = this.#stored(`data/${storage.key}`);
    if (entry.size !== storage.byteLength) {
      throw new SafetensorsError(
        "INVALID_ARCHIVE",
        `storage ${storage.key} has ${entry.size} bytes in the archive, the pickle says ${storage.byteLength}`,
        { at: this.#dataOffsets[entry.row]! },
      );
    }
    return { source: this.#zip.source, offset: this.#dataOffsets[entry.row]! };
  }

  #stored(record: string): ZipEntry {
    const entry = this.#zip.find(`${this.root}/${record}`);
    if (!entry) throw new SafetensorsError("INVALID_ARCHIVE", `the archive has no record ${quote(record)}`);
    if (entry.method !== 0) {
      throw new SafetensorsError("UNSUPPORTED", `not supported yet: compressed record ${quote(record)}`, {
        kind: "torch",
      });
    }
    return entry;
  }
}

/** Opens the archive and checks what PyTorch's own reader checks, and that its names can be read in one way only. */
export async function openTorchArchive(source: ByteSource, options: ReadOptions): Promise<TorchFile> {
  const zip = await openZip(source, options);
  const root = soleRoot(zip);
  refuseCaseVariants(zip);
  const archive = new TorchArchive(zip, root, await zip.dataOffsets(), options);
  if (archive.has("constants.pkl")) {
    throw new SafetensorsError("UNSUPPORTED", "not supported yet: TorchScript archive", {
      kind: "torchscript",
    });
  }
  await checkVersion(archive);
  if (archive.has("byteorder")) {
    const order = await archive.readText("byteorder");
    if (order === "big") {
      throw new SafetensorsError("UNSUPPORTED", "not supported yet: big-endian PyTorch archive", {
        kind: "torch",
      });
    }
    if (order !== "little") throw invalid(`the byte order is ${quote(order)}`);
  }
  const pickle = await archive.readPickle();
  return { root, pickle, placeOf: (storage) => archive.placeOf(storage) };
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

/** PyTorch finds records without regard to case: of `data/0` and `DATA/0` it may read either. */
function refuseCaseVariants(zip: ZipArchive): void {
  const seen = new Set<string>();
  for (const name of zip.names()) {
    const lower = name.toLowerCase();
    if (seen.has(lower)) throw invalid(`two records are named ${quote(name)}, but for upper and lower case`);
    seen.add(lower);
  }
}

/** `.data/version` or `version`: a number from 1 to 10. */
async function checkVersion(archive: TorchArchive): Promise<void> {
  const text = await archive.readText(archive.has(".data/version") ? ".data/version" : "version");
  const version = /^([0-9]{1,2})\n?$/.exec(text)?.[1];
  if (version === undefined || Number(version) < 1 || Number(version) > 10) {
    throw new SafetensorsError("UNSUPPORTED", `the archive has the version ${quote(text)}`, {
      kind: "torch",
    });
  }
}

function invalid(reason: string): SafetensorsError {
  return new SafetensorsError("INVALID_ARCHIVE", reason);
}
