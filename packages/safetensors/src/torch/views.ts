import { quote, SafetensorsError } from "../errors.ts";
import { fromBytes } from "../source/memory.ts";
import type { ByteSource } from "../source/source.ts";
import { contiguousStrides, type StridedView } from "../view/view.ts";
import type { StoragePlace, TorchFile } from "./file.ts";
import { MemoryStorage, type StorageNode } from "./storage.ts";
import { type Derivation, DerivedTensor, type ReadableTensor } from "./tensor.ts";

/** The views of the tensors, in the order of the data in the file. */
export function viewsOf(
  tensors: ReadonlyMap<string, ReadableTensor>,
  file: Pick<TorchFile, "placeOf">,
): Map<string, StridedView> {
  const views = new Views(file);
  const found = Array.from(tensors, ([name, tensor]) => {
    try {
      return { name, view: views.viewOf(tensor), at: views.placeOf(tensor) };
    } catch (error) {
      if (!(error instanceof SafetensorsError)) throw error;
      const details = { ...error.details, tensor: name, cause: error };
      throw new SafetensorsError(error.code, `tensor ${quote(name)}: ${error.reason}`, details);
    }
  });
  return new Map(found.sort((a, b) => a.at - b.at).map(({ name, view }) => [name, view]));
}

/** Makes one view of each tensor, so that a tensor with several names is seen to be one. */
class Views {
  readonly #file: Pick<TorchFile, "placeOf">;
  readonly #places = new Map<StorageNode, StoragePlace>();
  readonly #sources = new Map<string, ByteSource>();
  readonly #numbers = new Map<object, number>();
  readonly #views = new Map<ReadableTensor, StridedView>();

  constructor(file: Pick<TorchFile, "placeOf">) {
    this.#file = file;
  }

  viewOf(tensor: ReadableTensor): StridedView {
    const known = this.#views.get(tensor);
    if (known) return known;
    const view = tensor instanceof DerivedTensor ? this.#derived(tensor) : this.#strided(tensor);
    this.#views.set(tensor, view);
    return view;
  }

  /** Place in the file, in bits, of a tensor or of what it is computed from. */
  placeOf(tensor: ReadableTensor): number {
    let origin = tensor;
    while (origin instanceof DerivedTensor) origin = origin.derivation.origin;
    return this.viewOf(origin).bitOffset;
  }

  #strided({ layout }: Exclude<ReadableTensor, DerivedTensor>): StridedView {
    const { storage, dtype, shape, strides, byteOffset } = layout;
    const { source, offset, checksum } = this.#storage(storage);
    const bitOffset = (offset + byteOffset) * 8;
    return { source, dtype, shape, strides, bitOffset, ...(checksum && { checksum }) };
  }

  #derived({ derivation, dtype, shape }: DerivedTensor): StridedView {
    // What it is computed from is checked now, not when it is read.
    const source = shape.includes(0) ? fromBytes(new Uint8Array(0)) : this.#computed(derivation);
    return { source, dtype, shape, strides: contiguousStrides(shape), bitOffset: 0 };
  }

  /** One source for the same view mapped in the same way, so that such tensors are seen to be one too. */
  #computed({ origin, map, open }: Derivation): ByteSource {
    const viewOf = (tensor: ReadableTensor) => this.viewOf(tensor);
    if (map === undefined) return open(viewOf);
    const { source, dtype, shape, strides, bitOffset } = this.viewOf(origin);
    const key = [
      this.#number(map),
      this.#number(source),
      dtype,
      shape.join("x"),
      strides.join("x"),
      bitOffset,
    ];
    const id = key.join(" ");
    const computed = this.#sources.get(id) ?? open(viewOf);
    this.#sources.set(id, computed);
    return computed;
  }

  /** A number of its own for each thing. */
  #number(thing: object): number {
    const number = this.#numbers.get(thing) ?? this.#numbers.size;
    this.#numbers.set(thing, number);
    return number;
  }

  #storage(storage: StorageNode): StoragePlace {
    if (storage instanceof MemoryStorage) return { source: storage.source, offset: 0 };
    const place = this.#places.get(storage) ?? this.#file.placeOf(storage);
    this.#places.set(storage, place);
    return place;
  }
}
