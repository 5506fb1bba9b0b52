import { createHash, type Hash } from "node:crypto";
import { stat } from "node:fs/promises";
import { basename, join } from "node:path";
import type { Checkpoint } from "../../checkpoint/checkpoint.ts";
import { openSafetensors } from "../../checkpoint/safetensors.ts";
import { inFile, quote, SafetensorsError } from "../../errors.ts";
import { hashTensors } from "../../manifest/hash-tensors.ts";
import type { FileDigest, Manifest, TensorDigest } from "../../manifest/manifest.ts";
import type { ReadOptions } from "../../source/source.ts";
import { piecesOf } from "../../view/tiling.ts";
import { type FileSource, openFile } from "../file-source.ts";
import { ioError } from "../io-error.ts";
import { locateCheckpoint } from "../locate.ts";
import { openWeights } from "../open-path.ts";

/** Bytes of a piece: one is read while the one before is hashed. */
const PIECE_BYTES = 1 << 20;

/** Options of hashing. */
export interface HashOptions extends ReadOptions {
  /** Called after every piece with the bytes hashed so far, and in all, and the name of the file. */
  readonly onProgress?: ((done: number, total: number, file: string) => void) | undefined;
}

/** Options of `hashCheckpoint`. */
export interface HashCheckpointOptions extends HashOptions {
  /** Leave out the digests of the tensors: files need not be of a known format then. */
  readonly filesOnly?: boolean | undefined;
  /** Give the digests of the data of safetensors files too: see `HashedCheckpoint.data`. */
  readonly data?: boolean | undefined;
}

/** The digests of a checkpoint. */
export interface HashedCheckpoint extends Manifest {
  readonly folder: string;
  /** With `data`: SHA-256 of all that follows the header, for each safetensors file; see `manifestInMetadata`. */
  readonly data: ReadonlyMap<string, string>;
}

/**
 * SHA-256 of the files of a checkpoint, the index with them, and of its tensors. A safetensors file is read once, others
 * twice. Memory stays at a few pieces of 1 MiB.
 *
 * @param path a file of weights, an index, or a folder.
 * @throws every error of `locateCheckpoint` and `openWeights`; those of one of several files name it; `INDEX_MISMATCH` for a
 *   tensor that is in two files
 */
export async function hashCheckpoint(
  path: string,
  options: HashCheckpointOptions = {},
): Promise<HashedCheckpoint> {
  const { folder, files: names, index } = await locateCheckpoint(path);
  const files = new Map<string, FileDigest>();
  const tensors = new Map<string, TensorDigest>();
  const data = new Map<string, string>();
  const all = index ? [...names, index.file] : names;
  const total = await totalSize(folder, all);
  let before = 0;
  for (const file of all) {
    const path = join(folder, file);
    const source = await openFile(path);
    const running: Running = {
      signal: options.signal,
      onBytes: (done) => options.onProgress?.(before + done, total, file),
    };
    try {
      if (options.filesOnly || file === index?.file) {
        files.set(file, (await hashSource(source, [], running)).file);
        continue;
      }
      const hashed = await inFile(file, () => hashWeights(path, source, running, options.data ?? false));
      files.set(file, hashed.file);
      addTensors(tensors, hashed.tensors, file);
      if (hashed.data !== undefined) data.set(file, hashed.data);
    } finally {
      before += source.size;
      await source.close();
    }
  }
  return { folder, files, tensors, data };
}

function addTensors(all: Map<string, TensorDigest>, own: HashedWeights["tensors"], file: string): void {
  for (const [name, digest] of own) {
    if (all.has(name)) {
      const text = `tensor ${quote(name)} of ${quote(file)} is in another file as well, so that it has no one digest`;
      throw new SafetensorsError("INDEX_MISMATCH", text, { tensor: name, file });
    }
    all.set(name, digest);
  }
}

async function totalSize(folder: string, files: readonly string[]): Promise<number> {
  let total = 0;
  for (const file of files) {
    const path = join(folder, file);
    try {
      total += (await stat(path)).size;
    } catch (cause) {
      throw ioError(path, "open", cause);
    }
  }
  return total;
}

/** SHA-256 of a file, whatever it is. */
export async function hashFile(path: string, options: HashOptions = {}): Promise<FileDigest> {
  const source = await openFile(path);
  try {
    const { signal, onProgress } = options;
    const onBytes = (done: number): void => onProgress?.(done, source.size, basename(path));
    return (await hashSource(source, [], { signal, onBytes })).file;
  } finally {
    await source.close();
  }
}

/** The SHA-256 of node:crypto, several times as fast as the portable one. */
export const nodeHasher = (): Hash => createHash("sha256");

/** How the work on one file is watched. */
interface Running extends ReadOptions {
  /** Gets the bytes of the file hashed so far. */
  readonly onBytes: (done: number) => void;
}

interface HashedWeights {
  readonly file: FileDigest;
  readonly tensors: ReadonlyMap<string, TensorDigest>;
  readonly data?: string;
}

async function hashWeights(
  path: string,
  source: FileSource,
  options: Running,
  withData: boolean,
): Promise<HashedWeights> {
  const { signal } = options;
  await using checkpoint = await openWeights(path, { blocking: true, signal });
  if (checkpoint.format === "safetensors") {
    // The path may lead to another file by now: offsets and data must be of the same one.
    return hashSafetensors(source, await openSafetensors(source, { signal }), options, withData);
  }
  const { file } = await hashSource(source, [], options);
  return { file, tensors: await hashTensors(checkpoint, { signal, hasher: nodeHasher }) };
}

/** In a safetensors file the tensors lie one after the other, so that one pass is enough for all digests. */
async function hashSafetensors(
  source: FileSource,
  checkpoint: Checkpoint,
  options: Running,
  withData: boolean,
): Promise<HashedWeights> {
  const tensors = [...checkpoint];
  const parts = tensors.map(({ view, byteLength }) => {
    const begin = piecesOf(view)[0]!.view.bitOffset / 8;
    return { begin, end: begin + byteLength };
  });
  const data = withData ? nodeHasher() : undefined;
  const { file, digests } = await hashSource(source, parts, options, data);
  const named = tensors.map(({ name, dtype, shape }, index) => {
    return [name, { dtype, shape, sha256: digests[index]! }] as const;
  });
  return { file, tensors: new Map(named), ...(data && { data: data.digest("hex") }) };
}

/** A part of a file that has a digest of its own. */
interface Part {
  readonly begin: number;
  readonly end: number;
}

/**
 * @param parts one after the other, in order.
 * @param all gets the bytes of all parts.
 */
async function hashSource(
  source: FileSource,
  parts: readonly Part[],
  { signal, onBytes }: Running,
  all?: Hash,
): Promise<{ file: FileDigest; digests: string[] }> {
  const whole = nodeHasher();
  const digests: string[] = [];
  let hash = nodeHasher();
  const finishPart = (): void => {
    digests.push(hash.digest("hex"));
    hash = nodeHasher();
  };
  let at = 0;
  for await (const piece of readAhead(source, signal)) {
    whole.update(piece);
    const end = at + piece.length;
    for (let part = parts[digests.length]; part && part.begin < end; part = parts[digests.length]) {
      const bytes = piece.subarray(Math.max(part.begin - at, 0), part.end - at);
      hash.update(bytes);
      all?.update(bytes);
      if (part.end > end) break;
      finishPart();
    }
    at = end;
    onBytes(at);
  }
  // Tensors without elements may lie at the end of the file.
  while (digests.length < parts.length) finishPart();
  return { file: { size: source.size, sha256: whole.digest("hex") }, digests };
}

/** The bytes of a file in order, each piece valid until the next is asked for; that one is being read meanwhile. */
async function* readAhead(
  source: FileSource,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  const buffers = [new Uint8Array(PIECE_BYTES), new Uint8Array(PIECE_BYTES)] as const;
  const readAt = (offset: number, buffer: Uint8Array): Promise<Uint8Array> => {
    const piece = buffer.subarray(0, Math.min(PIECE_BYTES, source.size - offset));
    const read = Promise.resolve(source.readInto(offset, piece, { signal })).then(() => piece);
    // An error comes when the piece is awaited, which may be later or never.
    read.catch(() => {});
    return read;
  };
  let pending = readAt(0, buffers[0]);
  for (let at = 0, turn = 1; at < source.size; at += PIECE_BYTES, turn ^= 1) {
    const piece = await pending;
    if (at + piece.length < source.size) pending = readAt(at + piece.length, buffers[turn as 0 | 1]);
    yield piece;
  }
}
