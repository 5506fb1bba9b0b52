import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { DATA_DIGEST, TENSOR_DIGESTS } from "../checkpoint/digest-keys.ts";
import { SafetensorsError } from "../errors.ts";
import { JsonCursor } from "../format/json-cursor.ts";
import { isJsonError } from "../format/json-error.ts";
import { compareUtf8 } from "../format/utf8.ts";
import type { Manifest, TensorDigest } from "./manifest.ts";

/** The metadata that records these digests in a file's own header: see `manifestInMetadata`. */
export function digestMetadata(
  tensors: Manifest["tensors"],
  dataSha256: string,
): ReadonlyMap<string, string> {
  const members = [...tensors]
    .sort(([a], [b]) => compareUtf8(a, b))
    .map(([name, { sha256 }]) => `${JSON.stringify(name)}:"${sha256}"`);
  return new Map([
    [DATA_DIGEST, dataSha256],
    [TENSOR_DIGESTS, `{${members.join(",")}}`],
  ]);
}

/**
 * The digests that a file has in its metadata: `sha256.data` of all bytes after the header, and `sha256.tensors`, a
 * JSON object with the digest of each tensor. Dtypes and shapes are those of the header. Undefined if it has none. Each file
 * of several has its own: see `OpenedFiles.files`.
 *
 * They find damage; whoever changes the file on purpose can change them too. What changes tensors, their names or their
 * order here takes them out.
 *
 * @throws `INVALID_MANIFEST` if the metadata is not as it should be
 */
export function manifestInMetadata(
  checkpoint: Checkpoint,
): (Pick<Manifest, "tensors"> & { readonly dataSha256: string | undefined }) | undefined {
  const text = checkpoint.metadata.get(TENSOR_DIGESTS);
  if (text === undefined) return undefined;
  const tensors = new Map<string, TensorDigest>();
  for (const [name, sha256] of readDigests(text)) {
    if (!checkpoint.has(name)) continue;
    const { dtype, shape } = checkpoint.get(name);
    tensors.set(name, { dtype, shape, sha256 });
  }
  return { tensors, dataSha256: checkpoint.metadata.get(DATA_DIGEST) };
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
    if (!isJsonError(error)) throw error;
    const text = `the metadata "${TENSOR_DIGESTS}" is not valid: ${error.reason}`;
    throw new SafetensorsError("INVALID_MANIFEST", text, error.details);
  }
}
