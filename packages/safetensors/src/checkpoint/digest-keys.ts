/** Key of the SHA-256 of all bytes after the header: no header can hold the digest of itself. */
export const DATA_DIGEST = "sha256.data";

/** Key of the digests of the tensors: a JSON object, by name. */
export const TENSOR_DIGESTS = "sha256.tensors";

/** Metadata without digests (see `manifestInMetadata`): for other tensors, or the same with other names or in another order. */
export function withoutDigests(metadata: ReadonlyMap<string, string>): Map<string, string> {
  return new Map([...metadata].filter(([key]) => key !== DATA_DIGEST && key !== TENSOR_DIGESTS));
}
