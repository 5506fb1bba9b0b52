import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { SafetensorsError } from "../errors.ts";
import { JsonCursor } from "../format/json-cursor.ts";
import { compareUtf8 } from "../format/utf8.ts";
import type { Manifest, TensorDigest } from "./manifest.ts";

/** Key of the SHA-256 of all bytes after the header: no header can hold the digest of itself. */
const DATA_KEY = "sha256.data";

/** Key of the digests of the tensors: a JSON object, by name. */
const TENSORS_KEY = "sha256.tensors";

/** The metadata that records these digests in a file's own header: see `manifestInMetadata`. */
export function digestMetadata(
  tensors: Manifest["tensors"],
  dataSha256: string,
): ReadonlyMap<string, string> {
  const members = [...tensors]
    .sort(([a], [b]) => compareUtf8(a, b))
    .map(([name, { sha256 }]) => `${JSON.stringify(name)}:"${sha256}"`);
  return new Map([
    [DATA_KEY, dataSha256],
    [TENSORS_KEY, `{${members.join(",")}}`],
  ]);
}

/** Metadata without digests: for a copy that may have other tensors, or its data in another order. */
export function withoutDigests(metadata: ReadonlyMap<string, string>): Map<string, string> {
  return new Map([...metadata].filter(([key]) => key !== DATA_KEY && key !== TENSORS_KEY));
}

/**
 * The digests that a file has in its metadata: `sha256.data` of all bytes after the header, and `sha256.tensors`, a
 * JSON object with the digest of each tensor. Dtypes and shapes are those of the header. Undefined if it has none. Each file of several has its
 * own: see `OpenedFiles.files`.
 *
 * They find damage; whoever changes the file on purpose can change them too.
 *
 * @throws `INVALID_MANIFEST` if the metadata is not as it should be
 */
export function manifestInMetadata(
  checkpoint: Checkpoint,
): (Pick<Manifest, "tensors"> & { readonly dataSha256: string | undefined }) | undefined {
  const text = checkpoint.metadata.get(TENSORS_KEY);
  if (text === undefined) return undefined;
  const tensors = new Map<string, TensorDigest>();
  for (const [name, sha256] of readDigests(text)) {
    if (!checkpoint.has(name)) continue;
    const { dtype, shape } = checkpoint.get(name);
    tensors.set(name, { dtype, shape, sha256 });
  }
  return { tensors, dataSha256: checkpoint.metadata.get(DATA_KEY) };
}

function readDigests(text: string): Map<string, string> {
  const cursor = new JsonCursor(new TextEncoder().encode(text));
  const digests = new Map<string, string>();
  try {
    cursor.beginObject("the digests");
    for (let first = true; cursor.nextKey(first); first = false) {
      const name = cursor.text();
      cursor.string("a digest");
      const digest = cursor.text();
      if (!/^[0-9a-f]{64}$/.test(digest)) cursor.mismatch("64 lower-case hexadecimal digits");
      if (digests.has(name)) cursor.mismatch("each name once");
      digests.set(name, digest);
    }
    if (cursor.peek() !== -1) cursor.malformed("nothing after the digests");
    return digests;
  } catch (error) {
    if (!(error instanceof SafetensorsError)) throw error;
    throw new SafetensorsError(
      "INVALID_MANIFEST",
      `the metadata "${TENSORS_KEY}" is not valid: ${error.reason}`,
      error.details,
    );
  }
}
