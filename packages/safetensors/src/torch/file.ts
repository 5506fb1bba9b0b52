import type { ByteSource } from "../source/source.ts";
import type { PickleResult } from "./pickle/machine.ts";
import type { StorageNode } from "./storage.ts";

/** A PyTorch file of any kind: what its pickle holds, and where the storages are. */
export interface TorchFile {
  /** The folder in a ZIP archive; "" for others. */
  readonly root: string;
  readonly pickle: PickleResult;
  /**
   * Where the bytes of a storage lie, little-endian.
   *
   * @throws `INVALID_ARCHIVE` if they are not there, or not as many as the pickle says
   */
  placeOf(storage: StorageNode): StoragePlace;
}

/** The bytes of a storage. */
export interface StoragePlace {
  readonly source: ByteSource;
  /** Bytes from the start of the source. */
  readonly offset: number;
}
