import { join } from "node:path";
import { quote, SafetensorsError } from "../../errors.ts";
import { digestMetadata } from "../../manifest/in-metadata.ts";
import { editFile } from "../edit/edit-file.ts";
import { locateCheckpoint } from "../locate.ts";
import { type HashOptions, hashCheckpoint } from "./hash.ts";

/**
 * Records digests in the metadata of the safetensors files of a checkpoint, each those of its own tensors and of its data:
 * see `manifestInMetadata`.
 *
 * @returns the paths of the files
 * @throws `UNSUPPORTED` for other files; every error of `hashCheckpoint` and `editFile`
 */
export async function recordDigests(path: string, options: HashOptions = {}): Promise<string[]> {
  const { folder, files } = await locateCheckpoint(path);
  const paths = files.map((file) => join(folder, file));
  for (const file of paths) {
    const { how, sha256 } = await recordOnce(file, options);
    if (how !== "rewritten") continue;
    // A file that is written anew may have its tensors, and so its data, in another order. The digest has room now.
    const { data } = await hashCheckpoint(file, { ...options, data: true });
    if ([...data.values()][0] !== sha256) await recordOnce(file, options);
  }
  return paths;
}

async function recordOnce(file: string, options: HashOptions): Promise<{ how: string; sha256: string }> {
  const { tensors, data } = await hashCheckpoint(file, { ...options, data: true });
  const [sha256] = data.values();
  if (sha256 === undefined) {
    const text = `${quote(file)} is no safetensors file, so that it has no metadata for digests`;
    throw new SafetensorsError("UNSUPPORTED", text, { file });
  }
  const { how } = await editFile(
    file,
    { setMetadata: digestMetadata(tensors, sha256) },
    { signal: options.signal },
  );
  return { how, sha256 };
}
