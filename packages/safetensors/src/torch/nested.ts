import { SafetensorsError } from "../errors.ts";
import type { StoragePlace } from "./file.ts";
import { joinPickles } from "./join-pickles.ts";
import { readLegacyBytes } from "./legacy.ts";
import { MAX_NESTED_BYTES, MAX_NESTED_OPCODES, MAX_NESTED_PICKLES } from "./limits.ts";
import type { PickleResult } from "./pickle/machine.ts";
import type { PickleValue } from "./pickle/values.ts";
import { torchKind } from "./recognise.ts";
import type { StorageNode } from "./storage.ts";
import { limitError } from "./walk.ts";

/**
 * The PyTorch files that lie in a pickle as bytes, `torch.storage._load_from_bytes(bytes)`: so tensors are written by
 * everything but torch.save. They are of the legacy kind.
 */
export class NestedFiles {
  readonly #pickles: PickleResult[] = [];
  readonly #places = new Map<StorageNode, StoragePlace>();
  #depth = 0;
  #bytesLeft: number;
  /** Each makes an object at most. */
  #opcodesLeft = MAX_NESTED_OPCODES;

  /** @param size bytes of the file around them, in which each of them should be once. */
  constructor(size: number) {
    this.#bytesLeft = Math.max(size, MAX_NESTED_BYTES);
  }

  /**
   * What such a file holds.
   *
   * @throws `LIMIT_EXCEEDED`, `UNSUPPORTED` for other kinds, and what `openLegacy` throws
   */
  load(bytes: Uint8Array): PickleValue {
    this.#bytesLeft -= bytes.length;
    if (this.#bytesLeft < 0)
      throw limitError("MAX_NESTED_BYTES", "the files in the pickle have too many bytes");
    if (this.#depth === MAX_NESTED_PICKLES)
      throw limitError("MAX_NESTED_PICKLES", "pickles lie in pickles too deep");
    if (torchKind(bytes.subarray(0, 512)) !== "legacy") {
      const text = "the bytes of a tensor in the pickle are not a PyTorch file of the kind before 1.6";
      throw new SafetensorsError("UNSUPPORTED", text, { kind: "torch-nested" });
    }
    this.#depth++;
    const { pickle, places } = readLegacyBytes(bytes, { loadBytes: (inner) => this.load(inner) });
    this.#depth--;
    this.#opcodesLeft -= pickle.opcodes;
    if (this.#opcodesLeft < 0)
      throw limitError("MAX_NESTED_OPCODES", "the files in the pickle have too many opcodes");
    this.#pickles.push(pickle);
    for (const [storage, place] of places) this.#places.set(storage, place);
    return pickle.value;
  }

  /** The place of a storage of theirs. */
  placeOf(storage: StorageNode): StoragePlace | undefined {
    return this.#places.get(storage);
  }

  /** The pickle around them, with the names and the opcodes of theirs. */
  joinedTo(pickle: PickleResult): PickleResult {
    return joinPickles(pickle, this.#pickles);
  }
}
