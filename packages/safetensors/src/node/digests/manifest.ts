import { join } from "node:path";
import { listedNames, type NameChoice } from "../../checkpoint/select.ts";
import { inFile, quote, SafetensorsError } from "../../errors.ts";
import { compareTensorDigests, verifyTensors } from "../../manifest/hash-tensors.ts";
import { encodeManifest, type FileDigest, type Manifest, parseManifest } from "../../manifest/manifest.ts";
import { locateCheckpoint } from "../locate.ts";
import { openPath } from "../open-path.ts";
import { readSmallFile, writeSmallFile } from "../small-file.ts";
import { withoutNumbers } from "../write/litter.ts";
import { type HashOptions, hashCheckpoint, nodeHasher } from "./hash.ts";

/**
 * Where the manifest of a checkpoint is: beside it, `model.safetensors.manifest.json` for `model.safetensors` as well as for
 * the files of `model.safetensors.index.json`.
 *
 * @throws every error of `locateCheckpoint`
 */
export async function manifestPath(path: string): Promise<string> {
  const { folder, files, index } = await locateCheckpoint(path);
  // `model.safetensors.index.fp16.json` is of `model.fp16-00001-of-00002.safetensors`, a variant with its own manifest.
  const name = index?.file.replace(/(\.[^.]+)\.index(\..+)?\.json$/, "$2$1") ?? withoutNumbers(files[0]!);
  return join(folder, `${name}.manifest.json`);
}

/** Reads a manifest. Throws what `openFile` and `parseManifest` throw, with the file. */
export async function readManifest(path: string): Promise<Manifest> {
  const json = await readSmallFile(path);
  return inFile(path, async () => parseManifest(json));
}

/** Writes a manifest; it appears whole or not at all. The same manifest gives the same bytes. */
export async function writeManifest(path: string, manifest: Manifest): Promise<void> {
  await writeSmallFile(path, encodeManifest(manifest));
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
  const problems = await verifyTensors(checkpoint, manifest, {
    ...running,
    names: choice,
    hasher: nodeHasher,
  });
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
