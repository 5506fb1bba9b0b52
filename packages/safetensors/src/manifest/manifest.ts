import { checkShardFileName } from "../checkpoint/shard-index.ts";
import { type Dtype, isDtype } from "../dtype/dtype.ts";
import { quote, SafetensorsError } from "../errors.ts";
import { JsonCursor } from "../format/json-cursor.ts";
import { isJsonError } from "../format/json-error.ts";
import { compareUtf8 } from "../format/utf8.ts";
import { MAX_INDEX_BYTES, MAX_SHARDS } from "../limits.ts";

/** What is recorded of a file: its bytes as a whole. */
export interface FileDigest {
  readonly size: number;
  /** SHA-256 of all its bytes, as 64 lower-case hexadecimal digits. */
  readonly sha256: string;
}

/** What is recorded of a tensor. It does not depend on the file it is in, nor on its place there. */
export interface TensorDigest {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** SHA-256 of its packed little-endian bytes in row-major order, as 64 lower-case hexadecimal digits. */
  readonly sha256: string;
}

/** The digests of a checkpoint. */
export interface Manifest {
  /** Names of the files beside the manifest. */
  readonly files: ReadonlyMap<string, FileDigest>;
  readonly tensors: ReadonlyMap<string, TensorDigest>;
}

const FORMAT = "safetensors-manifest";
const VERSION = 1;

const QUOTE = 0x22;

/**
 * A manifest as JSON text. The same manifest gives the same bytes: names in the order of their code points, one line each,
 * a line break at the end.
 *
 * ```json
 * {
 *   "format": "safetensors-manifest",
 *   "version": 1,
 *   "files": {
 *     "model.safetensors": {"size": 120, "sha256": "…"}
 *   },
 *   "tensors": {
 *     "a": {"dtype": "F32", "shape": [2, 3], "sha256": "…"}
 *   }
 * }
 * ```
 */
export function encodeManifest({ files, tensors }: Manifest): Uint8Array<ArrayBuffer> {
  const members = <T>(entries: ReadonlyMap<string, T>, encode: (value: T) => string): string => {
    const lines = [...entries]
      .sort(([a], [b]) => compareUtf8(a, b))
      .map(([name, value]) => `    ${JSON.stringify(name)}: ${encode(value)}`);
    return lines.length === 0 ? "{}" : `{\n${lines.join(",\n")}\n  }`;
  };
  const ofFile = ({ size, sha256 }: FileDigest): string => `{"size": ${size}, "sha256": "${sha256}"}`;
  const ofTensor = ({ dtype, shape, sha256 }: TensorDigest): string =>
    `{"dtype": "${dtype}", "shape": [${shape.join(", ")}], "sha256": "${sha256}"}`;
  const lines = [
    `  "format": "${FORMAT}"`,
    `  "version": ${VERSION}`,
    `  "files": ${members(files, ofFile)}`,
    `  "tensors": ${members(tensors, ofTensor)}`,
  ];
  return new TextEncoder().encode(`{\n${lines.join(",\n")}\n}\n`);
}

/**
 * Reads a manifest: see `encodeManifest` for what it looks like. Members may be in any order; one that is missing, unknown
 * or there twice is an error. Names of files must be bare, so that a manifest cannot lead out of its folder.
 *
 * @throws `INVALID_MANIFEST` for what is no manifest, `UNSUPPORTED` for another version, `UNSAFE_FILE_NAME`, `LIMIT_EXCEEDED`
 */
export function parseManifest(json: Uint8Array): Manifest {
  if (json.length > MAX_INDEX_BYTES) {
    const text = `a manifest of ${json.length} bytes; at most ${MAX_INDEX_BYTES} are read`;
    throw new SafetensorsError("LIMIT_EXCEEDED", text, { limit: "MAX_INDEX_BYTES" });
  }
  try {
    return new ManifestReader(json).read();
  } catch (error) {
    if (!isJsonError(error)) throw error;
    throw new SafetensorsError(
      "INVALID_MANIFEST",
      `the manifest is not valid: ${error.reason}`,
      error.details,
    );
  }
}

class ManifestReader {
  readonly #cursor: JsonCursor;

  constructor(json: Uint8Array) {
    this.#cursor = new JsonCursor(json);
  }

  read(): Manifest {
    const files = new Map<string, FileDigest>();
    const tensors = new Map<string, TensorDigest>();
    this.#object("the manifest", {
      format: () => this.#expect(this.#text("the format") === FORMAT, `its format is not "${FORMAT}"`),
      version: () => this.#version(),
      files: () => this.#entries("files", files, (name) => this.#file(name), checkFile),
      tensors: () => this.#entries("tensors", tensors, (name) => this.#tensor(name)),
    });
    if (this.#cursor.peek() !== -1) this.#cursor.malformed("nothing but white space after the manifest");
    this.#cursor.checkUtf8();
    return { files, tensors };
  }

  #version(): void {
    const version = this.#cursor.integer("the version");
    if (version === VERSION) return;
    const text = `the manifest has version ${version}; this library reads version ${VERSION}`;
    throw new SafetensorsError("UNSUPPORTED", text);
  }

  #file(name: string): FileDigest {
    let size = 0;
    let sha256 = "";
    this.#object(`file ${quote(name)}`, {
      size: () => {
        size = this.#safeInteger("the size");
      },
      sha256: () => {
        sha256 = this.#digest();
      },
    });
    return { size, sha256 };
  }

  #tensor(name: string): TensorDigest {
    let dtype = "";
    let sha256 = "";
    const shape: number[] = [];
    this.#object(`tensor ${quote(name)}`, {
      dtype: () => {
        dtype = this.#text("the dtype");
      },
      shape: () => {
        this.#cursor.beginArray("the shape");
        for (let first = true; this.#cursor.nextItem(first); first = false) {
          shape.push(this.#safeInteger("a dimension"));
        }
      },
      sha256: () => {
        sha256 = this.#digest();
      },
    });
    if (!isDtype(dtype)) return this.#invalid(`tensor ${quote(name)} has the unknown dtype ${quote(dtype)}`);
    return { dtype, shape, sha256 };
  }

  /** An object with any names. */
  #entries<T>(
    what: string,
    into: Map<string, T>,
    read: (name: string) => T,
    check?: (name: string, count: number) => void,
  ): void {
    this.#cursor.beginObject(`"${what}"`);
    for (let first = true; this.#cursor.nextKey(first); first = false) {
      const name = this.#cursor.text();
      check?.(name, into.size + 1);
      this.#expect(!into.has(name), `${quote(name)} appears twice in "${what}"`);
      into.set(name, read(name));
    }
  }

  /** An object with just these members, in any order. */
  #object(what: string, members: Readonly<Record<string, () => void>>): void {
    const missing = new Set(Object.keys(members));
    this.#cursor.beginObject(what);
    for (let first = true; this.#cursor.nextKey(first); first = false) {
      const key = this.#cursor.text();
      const isKnown = Object.hasOwn(members, key);
      this.#expect(
        missing.delete(key),
        `${quote(key)} ${isKnown ? "appears twice" : "is unknown"} in ${what}`,
      );
      members[key]!();
    }
    for (const key of missing) this.#invalid(`${what} has no "${key}"`);
  }

  #text(what: string): string {
    if (this.#cursor.peek() !== QUOTE) this.#cursor.mismatch(`${what} to be a string`);
    this.#cursor.string();
    return this.#cursor.text();
  }

  #digest(): string {
    const text = this.#text("the sha256");
    this.#expect(/^[0-9a-f]{64}$/.test(text), `${quote(text)} is not 64 lower-case hexadecimal digits`);
    return text;
  }

  #safeInteger(what: string): number {
    const value = this.#cursor.integer(what);
    this.#expect(Number.isSafeInteger(value), `${what} is above 2^53 - 1`);
    return value;
  }

  #expect(ok: boolean, problem: string): void {
    if (!ok) this.#invalid(problem);
  }

  #invalid(problem: string): never {
    const { at } = this.#cursor;
    throw new SafetensorsError("INVALID_MANIFEST", `the manifest is not valid: ${problem}`, { at });
  }
}

function checkFile(name: string, count: number): void {
  checkShardFileName(name);
  if (count <= MAX_SHARDS) return;
  throw new SafetensorsError("LIMIT_EXCEEDED", `the manifest names more than ${MAX_SHARDS} files`, {
    limit: "MAX_SHARDS",
  });
}
