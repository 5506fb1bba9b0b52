import { createHash } from "node:crypto";
import { SafetensorsError, type Traffic } from "safetensors.js";
import { manifestInMetadata, verifyTensors } from "safetensors.js/manifest";
import { readManifest, verifyManifest } from "safetensors.js/node";
import { isAddress } from "./address.ts";
import { checkChoice, globFilter } from "./glob.ts";
import { openFiles } from "./open-files.ts";
import { startProgress } from "./output/progress.ts";

/** Which tensors to compare, and whether to show how far it is. */
interface DataOptions {
  readonly names?: readonly string[];
  readonly quiet?: true;
}

const hasher = (): ReturnType<typeof createHash> => createHash("sha256");

/** Compares a checkpoint with a manifest: all of it at a path; the tensors at an address, and if `names` chooses some. */
export async function checkManifest(
  input: string,
  manifestPath: string,
  options: DataOptions,
  traffic: Traffic,
): Promise<readonly SafetensorsError[]> {
  const manifest = await readManifest(manifestPath);
  const names = options.names === undefined ? undefined : globFilter(options.names);
  checkChoice(manifest.tensors.keys(), options.names);
  const progress = startProgress(!options.quiet);
  const running = { names, onProgress: progress.update };
  try {
    if (!isAddress(input)) return (await verifyManifest(input, manifest, running)).problems;
    await using opened = await openFiles(input, { mode: "strict", names, traffic });
    return await verifyTensors(opened.whole, manifest, { ...running, hasher });
  } finally {
    progress.stop();
  }
}

/** Compares the tensors of each file with the digests in its metadata. */
export async function checkDigests(
  input: string,
  options: DataOptions,
  traffic: Traffic,
): Promise<readonly SafetensorsError[]> {
  const names = globFilter(options.names);
  const progress = startProgress(!options.quiet);
  const problems: SafetensorsError[] = [];
  try {
    await using opened = await openFiles(input, { mode: "strict", traffic });
    checkChoice(opened.whole.keys(), options.names);
    for (const { file, checkpoint } of opened.files) {
      const manifest = manifestInMetadata(checkpoint);
      if (!manifest) {
        throw new SafetensorsError("UNSUPPORTED", `${file} has no digests in its metadata`, { file });
      }
      const onProgress = progress.update;
      for (const problem of await verifyTensors(checkpoint, manifest, { names, hasher, onProgress })) {
        problems.push(problem);
      }
    }
    return problems;
  } finally {
    progress.stop();
  }
}
