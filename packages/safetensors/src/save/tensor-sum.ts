import { TensorHandle } from "../checkpoint/tensor.ts";
import { quote, SafetensorsError } from "../errors.ts";
import type { TensorSpec } from "../format/encode.ts";
import { packedPlace } from "../plan/read.ts";
import type { RangeChecksum } from "../view/view.ts";
import { type Crc32, crc32Before, crc32 as portableCrc32 } from "../zip/crc32.ts";

/** How to take the checksums of tensors that are copied, and who is told. */
export interface SumOptions {
  /** A CRC-32 faster than the library's own, such as that of node:zlib, with the checksum of the bytes before. */
  readonly crc32?: Crc32 | undefined;
  /**
   * Called after each tensor with the CRC-32 of its bytes. Without it, checksums are only taken of tensors that have one to
   * be compared with.
   */
  readonly onChecksum?: ((tensor: string, crc32: number) => void) | undefined;
}

/** The checksum of a tensor's bytes, taken while they are copied. */
export class TensorSum {
  readonly #name: string;
  readonly #tensor: TensorSpec;
  readonly #crc32: Crc32;
  readonly #onChecksum: SumOptions["onChecksum"];
  #sum = 0;

  /** Begins a checksum, if anybody wants that of this tensor. */
  static of(name: string, tensor: TensorSpec, options: SumOptions): TensorSum | undefined {
    return options.onChecksum || checksumOf(tensor) ? new TensorSum(name, tensor, options) : undefined;
  }

  private constructor(name: string, tensor: TensorSpec, { crc32 = portableCrc32, onChecksum }: SumOptions) {
    this.#name = name;
    this.#tensor = tensor;
    this.#crc32 = crc32;
    this.#onChecksum = onChecksum;
  }

  /** Takes the next bytes. */
  add(bytes: Uint8Array): void {
    this.#sum = this.#crc32(bytes, this.#sum);
  }

  /** Takes bytes that `after` bytes of the tensor follow, in whatever order they come, each once. */
  addBefore(bytes: Uint8Array, after: number): void {
    this.#sum ^= crc32Before(this.#crc32(bytes, 0), after);
  }

  /**
   * Ends it: all bytes have been taken.
   *
   * @throws what `checkSum` throws
   */
  finish(): void {
    const sum = this.#sum >>> 0;
    checkSum(this.#name, this.#tensor, sum);
    this.#onChecksum?.(this.#name, sum);
  }
}

/**
 * Compares the checksum of a tensor's bytes with the one that its archive has, if it has one of just these bytes.
 *
 * @throws `INVALID_ARCHIVE` if they differ
 */
export function checkSum(name: string, tensor: TensorSpec, sum: number): void {
  const expected = checksumOf(tensor);
  if (!expected || expected.crc32 === sum) return;
  const { archive = "the archive", member, start } = expected;
  const place = `${quote(member)} in ${archive}`;
  const text = `tensor ${quote(name)} is damaged: the checksum of ${place} is not the one that the archive has; get the file again`;
  throw new SafetensorsError("INVALID_ARCHIVE", text, { tensor: name, at: start });
}

/** The checksum that an archive has of the bytes of a tensor, which are those of a member of it, in order. */
export function checksumOf(tensor: TensorSpec): RangeChecksum | undefined {
  if (!(tensor instanceof TensorHandle) || "pieces" in tensor.view) return undefined;
  const { checksum } = tensor.view;
  if (checksum?.length !== tensor.byteLength) return undefined;
  return packedPlace(tensor.view)?.start === checksum.start ? checksum : undefined;
}
