import { Checkpoint } from "../checkpoint/checkpoint.ts";
import type { LoadOptions } from "../checkpoint/load.ts";
import type { LoadedTensor, ReadTensorsOptions } from "../checkpoint/read-tensors.ts";
import { TensorHandle } from "../checkpoint/tensor.ts";
import { quote, SafetensorsError } from "../errors.ts";
import type { ReadOptions } from "../source/source.ts";
import type { Manifest, TensorDigest } from "./manifest.ts";
import { type Hasher, hex, sha256 } from "./sha256.ts";

/** Bytes that a hasher gets at once: node:crypto refuses 2 GiB and more. */
const PIECE_BYTES = 16 << 20;

/** Bytes up to which WebCrypto is used: it takes a copy of all, and Node's refuses 2 GiB and more. */
const WEBCRYPTO_BYTES = 256 << 20;

/** Options of `verifying`. */
export interface VerifyOptions {
  /** A faster SHA-256 than the runtime's WebCrypto or the portable one: `() => createHash("sha256")` in Node. */
  readonly hasher?: (() => Hasher) | undefined;
}

/**
 * The checkpoint with an eye on its data: every tensor that is read as a whole (`bytes`, `data`, `toFloat32`, `readInto`,
 * `chunks`, and those of `read` and `load`) is compared with its digest, and is an error if it differs. `chunks` gives the
 * bytes before that: the error comes in place of the end. Slices, and what uses a tensor's `view`, are not compared: a
 * digest is of the whole.
 *
 * @throws `DIGEST_MISMATCH` from those reads if dtype, shape or bytes differ, or the manifest does not have the tensor
 */
export function verifying(
  checkpoint: Checkpoint,
  manifest: Pick<Manifest, "tensors">,
  options: VerifyOptions = {},
): Checkpoint {
  return new VerifyingCheckpoint(checkpoint, new Verifier(manifest.tensors, options.hasher));
}

/** What is wrong with a tensor, if anything is: compared with what a manifest says, without a digest as far as that goes. */
export function checkTensor(
  name: string,
  expected: TensorDigest | undefined,
  found: Pick<TensorDigest, "dtype" | "shape">,
  sha256?: string,
): SafetensorsError | undefined {
  const problem = problemOf(expected, found, sha256);
  if (problem === undefined) return undefined;
  return new SafetensorsError("DIGEST_MISMATCH", `tensor ${quote(name)} ${problem}`, { tensor: name });
}

function problemOf(
  expected: TensorDigest | undefined,
  found: Pick<TensorDigest, "dtype" | "shape">,
  sha256: string | undefined,
): string | undefined {
  if (!expected) return "is not in the manifest";
  const describe = ({ dtype, shape }: Pick<TensorDigest, "dtype" | "shape">): string =>
    `${dtype} [${shape.join(", ")}]`;
  if (describe(found) !== describe(expected)) {
    return `is ${describe(found)}, the manifest says ${describe(expected)}`;
  }
  if (sha256 === undefined || sha256 === expected.sha256) return undefined;
  return `has other data than the manifest says: SHA-256 ${sha256}, not ${expected.sha256}`;
}

class Verifier {
  readonly #tensors: Manifest["tensors"];
  readonly #hasher: (() => Hasher) | undefined;

  constructor(tensors: Manifest["tensors"], hasher: (() => Hasher) | undefined) {
    this.#tensors = tensors;
    this.#hasher = hasher;
  }

  begin(): Hasher {
    return (this.#hasher ?? sha256)();
  }

  /** Before a read, without a digest: tensors that cannot be right are not read at all. */
  check(tensor: TensorHandle | LoadedTensor, digest?: Uint8Array): void {
    const { name } = tensor;
    const problem = checkTensor(name, this.#tensors.get(name), tensor, digest && hex(digest));
    if (problem) throw problem;
  }

  async checkBytes(tensor: TensorHandle | LoadedTensor, bytes: Uint8Array): Promise<void> {
    this.check(tensor, await this.#digestOf(bytes));
  }

  async #digestOf(bytes: Uint8Array): Promise<Uint8Array> {
    // WebCrypto takes no shared memory, and web pages that do not come by https have none.
    const { subtle } = globalThis.crypto ?? {};
    const isFit = bytes.buffer instanceof ArrayBuffer && bytes.length <= WEBCRYPTO_BYTES;
    if (!this.#hasher && subtle && isFit) {
      return new Uint8Array(await subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>));
    }
    const hasher = this.begin();
    for (let at = 0; at < bytes.length; at += PIECE_BYTES)
      hasher.update(bytes.subarray(at, at + PIECE_BYTES));
    return hasher.digest();
  }
}

class VerifyingCheckpoint extends Checkpoint {
  readonly #whole: Checkpoint;
  readonly #verifier: Verifier;

  constructor(whole: Checkpoint, verifier: Verifier) {
    const { format, metadata, problems } = whole;
    const find = (name: string): TensorHandle["view"] | undefined =>
      whole.has(name) ? whole.get(name).view : undefined;
    const tensors = { size: whole.size, names: () => whole.keys(), find };
    super({ format, metadata, problems, tensors, close: () => whole.close() });
    this.#whole = whole;
    this.#verifier = verifier;
  }

  override get(name: string): TensorHandle {
    return new VerifyingTensor(name, this.#whole.get(name).view, this.#verifier);
  }

  override async *read(options: ReadTensorsOptions = {}): AsyncGenerator<LoadedTensor, void, undefined> {
    for await (const tensor of super.read(options)) {
      if (!options.slices?.has(tensor.name)) await this.#verifier.checkBytes(tensor, tensor.bytes);
      yield tensor;
    }
  }

  override async load(options: LoadOptions = {}): Promise<Map<string, LoadedTensor>> {
    const loaded = await super.load(options);
    for (const [name, tensor] of loaded) {
      if (!options.slices?.has(name)) await this.#verifier.checkBytes(tensor, tensor.bytes);
    }
    return loaded;
  }
}

class VerifyingTensor extends TensorHandle {
  readonly #verifier: Verifier;

  constructor(name: string, view: TensorHandle["view"], verifier: Verifier) {
    super(name, view);
    this.#verifier = verifier;
  }

  override async bytes(options?: ReadOptions): Promise<Uint8Array> {
    this.#verifier.check(this);
    const bytes = await super.bytes(options);
    await this.#verifier.checkBytes(this, bytes);
    return bytes;
  }

  override async readInto(target: ArrayBufferView, options?: ReadOptions): Promise<void> {
    this.#verifier.check(this);
    await super.readInto(target, options);
    const { buffer, byteOffset, byteLength } = target;
    await this.#verifier.checkBytes(this, new Uint8Array(buffer, byteOffset, byteLength));
  }

  override async *chunks(
    buffer: Uint8Array,
    options?: ReadOptions,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    this.#verifier.check(this);
    const hasher = this.#verifier.begin();
    for await (const chunk of super.chunks(buffer, options)) {
      hasher.update(chunk);
      yield chunk;
    }
    this.#verifier.check(this, hasher.digest());
  }
}
