import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { type NameChoice, nameTestIn } from "../checkpoint/select.ts";
import { quote, SafetensorsError } from "../errors.ts";
import type { ReadOptions } from "../source/source.ts";
import type { Manifest, TensorDigest } from "./manifest.ts";
import { type Hasher, hex, sha256 } from "./sha256.ts";
import { checkTensor } from "./verifying.ts";

/** Bytes read at once. */
const BUFFER_BYTES = 1 << 20;

/** Options of `hashTensors` and `verifyTensors`. */
export interface HashTensorsOptions extends ReadOptions {
  /** Only tensors with these names. */
  readonly names?: NameChoice | undefined;
  /** A faster SHA-256 than the portable one: `() => createHash("sha256")` in Node. */
  readonly hasher?: (() => Hasher) | undefined;
  /** Called after every piece with the bytes read so far, and in all, and the name of the tensor. */
  readonly onProgress?: ((done: number, total: number, name: string) => void) | undefined;
}

/**
 * The digests of tensors, in the order of the checkpoint; memory stays at one piece. They are of the packed little-endian
 * bytes, so that they are the same in whatever file, format or order the tensors lie.
 *
 * @throws `TENSOR_NOT_FOUND` for a listed name that is not there; what reading throws
 */
export async function hashTensors(
  checkpoint: Checkpoint,
  options: HashTensorsOptions = {},
): Promise<Map<string, TensorDigest>> {
  const { signal, hasher = sha256, onProgress } = options;
  const isWanted = nameTestIn(options.names, (name) => checkpoint.has(name));
  const tensors = Array.from(checkpoint).filter(({ name }) => isWanted(name));
  const total = tensors.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const buffer = new Uint8Array(BUFFER_BYTES);
  const digests = new Map<string, TensorDigest>();
  let done = 0;
  for (const tensor of tensors) {
    const { name, dtype, shape } = tensor;
    const hash = hasher();
    for await (const chunk of tensor.chunks(buffer, { signal })) {
      hash.update(chunk);
      done += chunk.length;
      onProgress?.(done, total, name);
    }
    digests.set(name, { dtype, shape, sha256: hex(hash.digest()) });
  }
  return digests;
}

/**
 * Compares tensors with a manifest: all of both, or those with the names that are asked for.
 *
 * @returns a `DIGEST_MISMATCH` for each tensor that is not as the manifest says, with its name
 * @throws `TENSOR_NOT_FOUND` for a listed name that neither has; what reading throws
 */
export async function verifyTensors(
  checkpoint: Checkpoint,
  manifest: Pick<Manifest, "tensors">,
  options: HashTensorsOptions = {},
): Promise<SafetensorsError[]> {
  const isWanted = nameTestIn(options.names, (name) => checkpoint.has(name) || manifest.tensors.has(name));
  const found = await hashTensors(checkpoint, { ...options, names: isWanted });
  const expected = [...manifest.tensors].filter(([name]) => isWanted(name));
  return compareTensorDigests(found, new Map(expected));
}

/** An error for each tensor that is not as expected, those that are missing last. */
export function compareTensorDigests(
  found: Manifest["tensors"],
  expected: Manifest["tensors"],
): SafetensorsError[] {
  const problems: SafetensorsError[] = [];
  for (const [name, tensor] of found) {
    const problem = checkTensor(name, expected.get(name), tensor, tensor.sha256);
    if (problem) problems.push(problem);
  }
  for (const name of expected.keys()) {
    if (found.has(name)) continue;
    const text = `tensor ${quote(name)} is in the manifest, but not in the checkpoint`;
    problems.push(new SafetensorsError("DIGEST_MISMATCH", text, { tensor: name }));
  }
  return problems;
}
