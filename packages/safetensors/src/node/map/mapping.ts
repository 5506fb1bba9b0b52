import { constants } from "node:buffer";
import { SafetensorsError } from "../../errors.ts";
import type { MemoryMap } from "./maps.ts";

const GIB = 2 ** 30;
/** What views of long ranges are aligned to, so that data lies in its buffer as it lies in the file. */
const ALIGNMENT = 4096;

/**
 * A mapped file with the buffers made of it. The map lives as long as its source, or any view of any buffer.
 *
 * Views share buffers, since making one for each takes ten times as long: a buffer begins at every GiB and has two, so
 * that any range of up to one lies in one of them. Longer ranges that do not get buffers of their own.
 */
export class Mapping {
  readonly #map: MemoryMap;
  readonly #name: string;
  readonly #size: number;
  readonly #buffers = new Map<string, WeakRef<ArrayBuffer>>();
  /** The source and the buffers that are not gone yet. */
  #users = 1;
  #closed = false;

  constructor(map: MemoryMap, name: string, size: number) {
    this.#map = map;
    this.#name = name;
    this.#size = size;
  }

  /**
   * The bytes of a range inside the file.
   *
   * @throws `CLOSED`; `UNSUPPORTED` for a range longer than this runtime's typed arrays (4 GiB in Node 20 and Bun)
   */
  view(offset: number, length: number): Uint8Array {
    if (this.#closed) {
      throw new SafetensorsError("CLOSED", `${this.#name} has been closed`, { file: this.#name });
    }
    const [start, end] = this.#extent(offset, length);
    return new Uint8Array(this.#buffer(start, end), offset - start, length);
  }

  /** The source is gone: the map goes with the last view. */
  release(): void {
    this.#closed = true;
    this.#dropUser();
  }

  /** Ends the map at once and empties all views, where the runtime can; else like `release`. */
  close(): void {
    if (this.#closed) return;
    for (const reference of this.#buffers.values()) {
      const buffer = reference.deref();
      if (buffer && isTransferred(buffer)) collected.unregister(reference);
      else if (!buffer || detach(buffer)) this.#forget(reference);
    }
    this.release();
  }

  #extent(offset: number, length: number): [start: number, end: number] {
    const start = offset - (offset % GIB);
    const end = Math.min(start + 2 * GIB, this.#size);
    if (offset + length <= end) return [start, end];
    const own = offset - (offset % ALIGNMENT);
    // Node 20 ends the process instead of refusing.
    if (offset + length - own <= constants.MAX_LENGTH) return [own, offset + length];
    const text = `${length} bytes of ${this.#name} are more than one view can have here: take a slice`;
    throw new SafetensorsError("UNSUPPORTED", text, { file: this.#name, at: offset, kind: "long-view" });
  }

  #buffer(start: number, end: number): ArrayBuffer {
    const key = `${start}-${end}`;
    const known = this.#buffers.get(key);
    const old = known?.deref();
    if (old && !isTransferred(old)) return old;
    // The use of one that was transferred is never over.
    if (old) collected.unregister(known!);
    const buffer = this.#map.view(start, end - start);
    const reference = new WeakRef(buffer);
    this.#buffers.set(key, reference);
    this.#users++;
    const forget = (): void => {
      if (this.#buffers.get(key) === reference) this.#buffers.delete(key);
      this.#dropUser();
    };
    collected.register(buffer, forget, reference);
    return buffer;
  }

  /** A buffer is gone. */
  #forget(reference: WeakRef<ArrayBuffer>): void {
    if (collected.unregister(reference)) this.#dropUser();
  }

  #dropUser(): void {
    this.#users--;
    if (this.#users === 0) this.#map.unmap();
  }
}

const collected = new FinalizationRegistry<() => void>((forget) => forget());

/** Whether a buffer was handed on, to a worker for example: the new owner may use the bytes for ever. */
function isTransferred(buffer: ArrayBuffer): boolean {
  return buffer.byteLength === 0;
}

/** Empties a buffer and all its views for good; false where the runtime cannot (Node 20). */
function detach(buffer: ArrayBuffer): boolean {
  const { transfer } = buffer as ArrayBuffer & { transfer?: (length: number) => ArrayBuffer };
  if (!transfer) return false;
  transfer.call(buffer, 0);
  return true;
}
