import type { SafetensorsError } from "../errors.ts";
import type { ByteSource, ReadOptions } from "../source/source.ts";
import type { RangeChecksum } from "../view/view.ts";
import type { PyDict } from "./pickle/containers.ts";
import type { PickleResult } from "./pickle/machine.ts";
import type { PickleValue } from "./pickle/values.ts";
import type { StorageNode } from "./storage.ts";

/**
 * The containers in which PyTorch files come: the ZIP archive since 1.6, the archive of a TorchScript module, the pickles
 * one after the other before 1.6, the tar archive before 0.2, and a pickle that another program than torch.save wrote.
 */
export type TorchContainer = "zip" | "torchscript" | "legacy" | "tar" | "pickle";

/** A PyTorch file of any kind: what its pickle holds, and where the storages are. */
export interface TorchFile {
  readonly container: TorchContainer;
  /** The folder in a ZIP archive; "" for others. */
  readonly root: string;
  readonly pickle: PickleResult;
  /** The constants of TorchScript's code, `c0`, `c1`, …, or why they cannot be read. */
  readonly constants?: PyDict | SafetensorsError;
  /** Whether elements are to be swapped by the type of their storage, as PyTorch does: the file is big-endian. */
  readonly bigEndian?: boolean;
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
  /** The checksum of the bytes, if the file has one. */
  readonly checksum?: RangeChecksum;
}

/** What opening a container needs beside its source. */
export interface OpenTools extends ReadOptions {
  /** See `TorchOptions.allowExpansion`. */
  readonly allowExpansion?: boolean | undefined;
  /** Opens a PyTorch file that lies in a pickle as bytes, see `NestedFiles`. */
  loadBytes(bytes: Uint8Array): PickleValue;
}
