import { createHash, type Hash } from "node:crypto";
import { join } from "node:path";
import { listedNames, type NameChoice } from "../checkpoint/select.ts";
import { inFile, quote, SafetensorsError } from "../errors.ts";
import { MAX_INDEX_BYTES } from "../limits.ts";
import { compareTensorDigests, verifyTensors } from "../manifest/hash-tensors.ts";
import { encodeManifest, type FileDigest, type Manifest, parseManifest } from "../manifest/manifest.ts";
import { fileSink } from "./file-sink.ts";
import { openFile } from "./file-source.ts";
import { type HashOptions, hashCheckpoint } from "./hash.ts";
import { locateCheckpoint } from "./locate.ts";
import { openPath } from "./open-path.ts";

/**
 * Where the manifest of a checkpoint is: beside it, `model.safetensors.manifest.json` for `model.safetensors` as well as for
 * the files of `model.safetensors.index.json`.
 *
 * @throws every error of `locateCheckpoint`
 */
export async function manifestPath(path: string): Promise<string> {
  const { folder, files, index } = await locateCheckpoint(path);
  const name = index?.file.replace(/\.index\b.*$/, "") ?? files[0]!.replace(/-\d{5,6}-of-\d{5,6}/, "");
  return join(folder, `${name}.manifest.json`);
}

/** Reads a manifest. Throws what `openFile` and `parseManifest` throw, with the file. */
export async function readManifest(path: string): Promise<Manifest> {
  const source = await openFile(path);
  try {
    if (source.size > MAX_INDEX_BYTES) {
      const text = `${path} has ${source.size} bytes, a manifest at most ${MAX_INDEX_BYTES}`;
      throw new SafetensorsError("LIMIT_EXCEEDED", text, { limit: "MAX_INDEX_BYTES", file: path });
    }
    const json = await source.read(0, source.size);
    return await inFile(path, async () => parseManifest(json));
  } finally {
    await source.close();
  }
}

/** Writes a manifest; it appears whole or not at all. The same manifest gives the same bytes. */
export async function writeManifest(path: string, manifest: Manifest): Promise<void> {
  const bytes = encodeManifest(manifest);
  const sink = await fileSink(path);
  try {
    sink.write(bytes);
    await sink.commit();
  } catch (error) {
    await sink.abort();
    throw error;
  }
}

/** Options of `verifyManifest`. */
export interface VerifyManifestOptions extends HashOptions {
  /** Only tensors with these names: only they are read, and the files as such are not compared. */
  readonly names?: NameChoice | undefined;
}

/** What `verifyManifest` found. */
export interface VerifiedManifest {
  /** How many files and tensors were compared. */
  readonly files: number;
  readonly tensors: number;
  /** A `DIGEST_MISMATCH` for each that is not as the manifest says, with its name; empty if all are. */
  readonly problems: readonly SafetensorsError[];
}

/**
 * Compares a checkpoint with its manifest: every file and every tensor, or only the tensors that are asked for. Each file
 * is read once.
 *
 * @throws every error of opening and reading the checkpoint
 */
export async function verifyManifest(
  path: string,
  manifest: Manifest,
  options: VerifyManifestOptions = {},
): Promise<VerifiedManifest> {
  const { names, ...running } = options;
  if (names === undefined) {
    const found = await hashCheckpoint(path, running);
    const problems = [
      ...compareFiles(found.files, manifest.files),
      ...compareTensorDigests(found.tensors, manifest.tensors),
    ];
    return { files: found.files.size, tensors: found.tensors.size, problems };
  }
  const choice = listedNames(names) ?? names;
  await using checkpoint = await openPath(path, { names: choice });
  const hasher = (): Hash => createHash("sha256");
  const problems = await verifyTensors(checkpoint, manifest, { ...running, names: choice, hasher });
  return { files: 0, tensors: checkpoint.size, problems };
}

function compareFiles(
  found: ReadonlyMap<string, FileDigest>,
  expected: ReadonlyMap<string, FileDigest>,
): SafetensorsError[] {
  const problems: SafetensorsError[] = [];
  const report = (file: string, text: string): void => {
    problems.push(new SafetensorsError("DIGEST_MISMATCH", `the file ${quote(file)} ${text}`, { file }));
  };
  for (const [name, { size, sha256 }] of found) {
    const said = expected.get(name);
    if (!said) report(name, "is not in the manifest");
    else if (said.size !== size) report(name, `has ${size} bytes, the manifest says ${said.size}`);
    else if (said.sha256 !== sha256) {
      report(name, `has other data than the manifest says: SHA-256 ${sha256}, not ${said.sha256}`);
    }
  }
  for (const name of expected.keys()) {
    if (!found.has(name)) report(name, "is in the manifest, but no part of the checkpoint");
  }
  return problems;
}
