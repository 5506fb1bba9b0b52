import { closeSync, fstatSync, openSync } from "node:fs";
import { SafetensorsError } from "../errors.ts";
import { orClose } from "../source/or-close.ts";
import { checkRange } from "../source/range.ts";
import type { ByteSource } from "../source/source.ts";
import { hasJournal } from "./edit/journal-look.ts";
import { ioError } from "./io-error.ts";
import { Mapping } from "./map/mapping.ts";
import { loadMaps, type MemoryMaps } from "./map/maps.ts";

/**
 * A file mapped into memory: tensors are views of the system's own cache of the file, nothing is copied. Works on Linux
 * and macOS: in Node with the package `koffi`, in Deno with the permission `--allow-ffi`, in Bun as it is.
 *
 * The map is private: writing into a view changes no file and no other program's memory. It lives as long as the source
 * or any view of it does. `close` ends it at once and empties all views; Node 20 cannot, there it lives until the last
 * view is gone. Views share their buffers: copy what is to be transferred to a worker.
 *
 * A file that another program cuts while it is mapped ends this process (SIGBUS) when the missing part is touched: for
 * files that may change, use `openFile`.
 *
 * @throws `UNSUPPORTED` where koffi is not installed, the permission is missing, or the system has no `mmap`;
 *   `NOT_FOUND`, `IO`
 */
export async function openMapped(path: string): Promise<ByteSource> {
  const maps = await loadMaps();
  for (;;) {
    const source = mapNow(maps, path);
    if (!hasJournal(path)) return source;
    const { finishEdits } = await import("./edit/journal-finish.ts");
    if (!(await orClose(source, () => finishEdits(path)))) return source;
    source.close();
  }
}

function mapNow(maps: MemoryMaps, path: string): MappedFile {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch (cause) {
    throw ioError(path, "open", cause);
  }
  try {
    const status = fstatSync(fd);
    if (!status.isFile()) throw new SafetensorsError("IO", `${path} is not a file`, { file: path });
    return new MappedFile(path, status.size, mapFile(maps, path, fd, status.size));
  } finally {
    // The map keeps the file open by itself.
    closeSync(fd);
  }
}

function mapFile(maps: MemoryMaps, path: string, fd: number, size: number): Mapping | undefined {
  // There is no map of nothing.
  if (size === 0) return undefined;
  const map = maps.map(path, fd, size);
  if (!map) throw new SafetensorsError("IO", `the system could not map ${path}`, { file: path });
  return new Mapping(map, path, size);
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
    if (mapping) dropped.register(this, mapping, this);
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
    dropped.unregister(this);
    this.#mapping?.close();
  }
}

/** Sources that are garbage without having been closed: their views live on. */
const dropped = new FinalizationRegistry<Mapping>((mapping) => mapping.release());
