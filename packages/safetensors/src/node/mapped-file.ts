import { closeSync, fstatSync, openSync } from "node:fs";
import { SafetensorsError } from "../errors.ts";
import { checkRange } from "../source/range.ts";
import type { ByteSource } from "../source/source.ts";
import { ioError } from "./io-error.ts";

/** From sys/mman.h: the same on Linux and macOS. */
const PROT_READ_WRITE = 3;
const MAP_PRIVATE = 2;
const MAP_FAILED = 2n ** 64n - 1n;

/** What the C library does for us. Addresses are numbers, as koffi has them. */
interface MemoryMaps {
  map(fd: number, size: number): bigint;
  unmap(address: bigint, size: number): void;
  view(address: bigint, length: number): ArrayBuffer;
}

/**
 * A file mapped into memory: tensors are views of the system's own cache of the file, nothing is copied. Needs the
 * package `koffi`; works on Linux and macOS.
 *
 * The map is private: writing into a view changes no file and no other program's memory. It lives as long as the source
 * or any view of it does. `close` ends it at once and empties all views, in Node 22 and newer; Node 20 cannot, there it
 * lives until the last view is gone.
 *
 * A file that another program cuts while it is mapped ends this process (SIGBUS) when the missing part is touched: for
 * files that may change, use `openFile`.
 *
 * @throws `UNSUPPORTED` where koffi is not installed or the system has no `mmap`; `NOT_FOUND`, `IO`
 */
export async function openMapped(path: string): Promise<ByteSource> {
  const maps = await loadMaps();
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch (cause) {
    throw ioError(path, "open", cause);
  }
  try {
    const status = fstatSync(fd);
    if (!status.isFile()) throw new SafetensorsError("IO", `${path} is not a file`, { file: path });
    // There is no map of nothing.
    const mapping = status.size === 0 ? undefined : new Mapping(maps, fd, path, status.size);
    return new MappedFile(path, status.size, mapping);
  } finally {
    // The map keeps the file open by itself.
    closeSync(fd);
  }
}

class MappedFile implements ByteSource {
  readonly name: string;
  readonly size: number;
  /** Touching memory: there is nothing to save by reading what lies between. */
  readonly cost: { readonly operation: number; readonly byte: number } = { operation: 0.1e-6, byte: 0.05e-9 };
  readonly #mapping: Mapping | undefined;

  constructor(name: string, size: number, mapping: Mapping | undefined) {
    this.name = name;
    this.size = size;
    this.#mapping = mapping;
    if (mapping) sources.register(this, mapping, this);
  }

  view(offset: number, length: number): Uint8Array {
    checkRange(this, offset, length);
    return length === 0 || !this.#mapping ? new Uint8Array(0) : this.#mapping.view(offset, length);
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    return new Uint8Array(this.view(offset, length));
  }

  readInto(offset: number, target: Uint8Array): void {
    target.set(this.view(offset, target.length));
  }

  close(): void {
    sources.unregister(this);
    this.#mapping?.close();
  }
}

/** One mapping, with the views that still use it. */
class Mapping {
  readonly #maps: MemoryMaps;
  readonly #address: bigint;
  readonly #size: number;
  readonly #name: string;
  readonly #views = new Set<WeakRef<ArrayBuffer>>();
  #closed = false;

  constructor(maps: MemoryMaps, fd: number, name: string, size: number) {
    this.#maps = maps;
    this.#size = size;
    this.#name = name;
    this.#address = maps.map(fd, size);
    if (BigInt.asUintN(64, this.#address) === MAP_FAILED) {
      throw new SafetensorsError("IO", `the system could not map ${name}`, { file: name });
    }
  }

  /** One view a range: a single view of more than 4 GiB ends the process in Node 20. */
  view(offset: number, length: number): Uint8Array {
    if (this.#closed)
      throw new SafetensorsError("CLOSED", `${this.#name} has been closed`, { file: this.#name });
    const buffer = this.#maps.view(this.#address + BigInt(offset), length);
    const reference = new WeakRef(buffer);
    this.#views.add(reference);
    views.register(buffer, () => {
      this.#views.delete(reference);
      this.#unmapIfUnused();
    });
    return new Uint8Array(buffer);
  }

  /** No more views are made; those that can be emptied are, and the map goes with the last of the others. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const reference of this.#views) {
      const buffer = reference.deref();
      if (!buffer || detach(buffer)) this.#views.delete(reference);
    }
    this.#unmapIfUnused();
  }

  #unmapIfUnused(): void {
    if (this.#closed && this.#views.size === 0) this.#maps.unmap(this.#address, this.#size);
  }
}

/** Sources that are dropped without being closed. */
const sources = new FinalizationRegistry<Mapping>((mapping) => mapping.close());
const views = new FinalizationRegistry<() => void>((release) => release());

/** Empties a view for good; false where the runtime cannot (Node 20). */
function detach(buffer: ArrayBuffer): boolean {
  const { transfer } = buffer as ArrayBuffer & { transfer?: (length: number) => ArrayBuffer };
  if (!transfer) return false;
  transfer.call(buffer, 0);
  return true;
}

let loading: Promise<MemoryMaps> | undefined;

function loadMaps(): Promise<MemoryMaps> {
  loading ??= bindMaps();
  return loading;
}

async function bindMaps(): Promise<MemoryMaps> {
  const koffi = await import("koffi").catch((cause: unknown) => {
    const text = "mapping files needs the package koffi (npm install koffi); openFile works without it";
    throw new SafetensorsError("UNSUPPORTED", text, { kind: "no-mmap", cause });
  });
  if (process.platform === "win32") {
    throw new SafetensorsError("UNSUPPORTED", "files cannot be mapped on Windows yet; use openFile", {
      kind: "no-mmap",
    });
  }
  const { default: api } = koffi;
  const libc = api.load(null);
  const mmap = libc.func(
    "void *mmap(void *address, size_t length, int protection, int flags, int fd, int64_t offset)",
  );
  const munmap = libc.func("int munmap(void *address, size_t length)");
  return {
    map: (fd, size) => mmap(null, size, PROT_READ_WRITE, MAP_PRIVATE, fd, 0) as bigint,
    unmap: (address, size) => void munmap(address, size),
    view: (address, length) => api.view(address, length),
  };
}
