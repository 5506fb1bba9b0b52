import type { KernelFunctions } from "./functions.ts";
import {
  type KernelMemory,
  ownKernelMemory,
  PAGE,
  type SharedRange,
  type WebAssemblyApi,
  webAssembly,
} from "./memory.ts";

type Exports = KernelFunctions & { readonly memoryBase: { readonly value: number } };

/** The flag of a memory that is shared: see "Limits" in the binary format of WebAssembly, version 3. */
const SHARED = 2;

const ALIGNMENT = 64;

/** The kernels in WebAssembly with the memory that they work in, which grows to what one call needs at a time. */
export class KernelModule {
  readonly functions: KernelFunctions;
  readonly #memory: KernelMemory;
  /** That of the memory, which takes a while to tell it. */
  #buffer: ArrayBuffer | SharedArrayBuffer;
  #base: number;
  #next: number;
  /** Nothing that lies behind it is reserved. */
  #end: number;

  /** @param end unless given the memory grows */
  constructor(functions: KernelFunctions, memory: KernelMemory, start: number, end: number = Infinity) {
    this.functions = functions;
    this.#memory = memory;
    this.#buffer = memory.buffer;
    this.#base = aligned(start);
    this.#next = this.#base;
    this.#end = end;
  }

  /** Begins a call: all memory is free. */
  clear(): void {
    this.#next = this.#base;
  }

  /**
   * The address of so many bytes, at a cache line. Views of the memory that were made before are of no use any more, unless
   * some has been set apart.
   *
   * @throws RangeError if there is no more memory
   */
  reserve(bytes: number): number {
    const address = this.#next;
    const end = aligned(address + bytes);
    const missing = end - this.#buffer.byteLength;
    if (end > this.#end) throw new RangeError("memory that others have a part of does not grow");
    if (missing > 0) {
      this.#memory.grow(Math.ceil(missing / PAGE));
      this.#buffer = this.#memory.buffer;
    }
    this.#next = end;
    return address;
  }

  /**
   * Sets memory apart that no call uses unless it is given to it. From now on the memory does not grow, so that views of
   * it stay valid: calls have `room` for all that they reserve.
   *
   * @throws RangeError if there is no more memory
   */
  setApart(bytes: number, room: number): Uint8Array {
    this.clear();
    const address = this.reserve(bytes);
    const end = this.#next;
    this.reserve(room);
    [this.#base, this.#end] = [end, this.#next];
    return this.bytes(address, bytes);
  }

  /** The address of bytes that are in this memory. */
  addressOf({ buffer, byteOffset }: Uint8Array): number | undefined {
    return buffer === this.#buffer ? byteOffset : undefined;
  }

  /** The address of a copy of an array. */
  place(array: Uint8Array | Int32Array | Uint32Array | Float32Array): number {
    const address = this.reserve(array.byteLength);
    this.bytes(address, array.byteLength).set(
      new Uint8Array(array.buffer, array.byteOffset, array.byteLength),
    );
    return address;
  }

  bytes(address: number, length: number): Uint8Array {
    return new Uint8Array(this.#buffer, address, length);
  }

  words(address: number, length: number): Uint32Array {
    return new Uint32Array(this.#buffer, address, length);
  }

  floats(address: number, length: number): Float32Array {
    return new Float32Array(this.#buffer, address, length);
  }

  doubles(address: number, length: number): Float64Array {
    return new Float64Array(this.#buffer, address, length);
  }
}

function aligned(address: number): number {
  return Math.ceil(address / ALIGNMENT) * ALIGNMENT;
}

let loading: Promise<KernelModule | undefined> | undefined;

/** The kernels in WebAssembly, one instance for each thread, where they can be had: see `loadKernelModule`. */
export function kernelModule(): Promise<KernelModule | undefined> {
  loading ??= ownKernelModule();
  return loading;
}

/** An instance with a memory of its own. */
export function ownKernelModule(): Promise<KernelModule | undefined> {
  return loadKernelModule(webAssembly());
}

/** An instance that works in a range of shared memory. */
export function sharedKernelModule(range: SharedRange): Promise<KernelModule | undefined> {
  return loadKernelModule(webAssembly(), range);
}

/**
 * The kernels in WebAssembly; `undefined` if there is no WebAssembly, none with SIMD, or the page's content security
 * policy forbids it.
 *
 * @param range of shared memory to work in; unless given the module has a memory of its own
 */
export async function loadKernelModule(
  api: WebAssemblyApi | undefined,
  range?: SharedRange,
): Promise<KernelModule | undefined> {
  if (!api) return undefined;
  const { MEMORY_FLAGS_AT, MODULE_BYTES } = await import("./module-bytes.ts");
  const bytes = Uint8Array.from(atob(MODULE_BYTES), (character) => character.charCodeAt(0));
  // All that tells the module of shared memory from the other is one bit of what it says of the memory that it imports.
  if (range) bytes[MEMORY_FLAGS_AT]! |= SHARED;
  try {
    if (!api.validate(bytes)) return undefined;
    const memory = range?.memory ?? ownKernelMemory(api);
    const { instance } = await api.instantiate(bytes, { env: { memory } });
    const { memoryBase, ...functions } = instance.exports as Exports;
    return range
      ? new KernelModule(functions, memory, range.start, range.start + range.size)
      : new KernelModule(functions, memory, memoryBase.value);
  } catch {
    return undefined;
  }
}

declare function atob(text: string): string;
