/** Casts so many elements, up to the next multiple of 16. */
export type CastKernel = (from: number, to: number, count: number) => void;

/** Functions of the module: see packages/safetensors/assembly. Addresses and strides are in bytes, counts in elements. */
export interface KernelFunctions {
  readonly bf16ToF32: CastKernel;
  readonly f16ToF32: CastKernel;
  readonly e5m2ToF32: CastKernel;
  readonly f32ToBf16: CastKernel;
  readonly f32ToF16: CastKernel;
  readonly f32ToE4M3: CastKernel;
  scaleE4M3(codes: number, out: number, count: number, scale: number): void;
  readonly kMajor4: ColumnKernel;
  readonly awq4: ColumnKernel;
  kMajor(
    words: number,
    wordStride: number,
    bits: number,
    scales: number,
    zeros: number,
    scaleStride: number,
    groups: number,
    out: number,
    rows: number,
    columns: number,
  ): void;
  readonly packed4: PackedKernel;
  readonly packed8: PackedKernel;
  scaledBytes(
    kind: number,
    codes: number,
    table: number,
    scales: number,
    zeros: number,
    out: number,
    row: number,
    rows: number,
    columns: number,
    blockRows: number,
    blockColumns: number,
  ): void;
  scaledNibbles(
    codes: number,
    highFirst: number,
    table: number,
    scales: number,
    out: number,
    blocks: number,
    block: number,
  ): void;
}

type ColumnKernel = (
  words: number,
  wordStride: number,
  scales: number,
  zeros: number,
  scaleStride: number,
  out: number,
  rows: number,
  columns: number,
  group: number,
) => void;

type PackedKernel = (
  words: number,
  scales: number,
  zeros: number,
  zeroStep: number,
  biases: number,
  out: number,
  groups: number,
  group: number,
) => void;

interface Memory {
  readonly buffer: ArrayBuffer;
  grow(pages: number): number;
}

type Exports = KernelFunctions & { readonly memory: Memory; readonly memoryBase: { readonly value: number } };

/** The part of WebAssembly that is used. */
export interface WebAssemblyApi {
  validate(bytes: Uint8Array): boolean;
  instantiate(bytes: Uint8Array): Promise<{ readonly instance: { readonly exports: unknown } }>;
}

const PAGE = 1 << 16;
const ALIGNMENT = 64;

/** The kernels in WebAssembly with the memory that they work in, which grows to what one call needs at a time. */
export class KernelModule {
  readonly functions: KernelFunctions;
  readonly #memory: Memory;
  #base: number;
  #next: number;
  #isFixed = false;

  constructor(exports: Exports) {
    this.functions = exports;
    this.#memory = exports.memory;
    this.#base = aligned(exports.memoryBase.value);
    this.#next = this.#base;
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
    const missing = end - this.#memory.buffer.byteLength;
    if (missing > 0 && this.#isFixed) throw new RangeError("memory of which some is set apart does not grow");
    if (missing > 0) this.#memory.grow(Math.ceil(missing / PAGE));
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
    [this.#base, this.#isFixed] = [end, true];
    return this.bytes(address, bytes);
  }

  /** The address of bytes that are in this memory. */
  addressOf({ buffer, byteOffset }: Uint8Array): number | undefined {
    return buffer === this.#memory.buffer ? byteOffset : undefined;
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
    return new Uint8Array(this.#memory.buffer, address, length);
  }

  words(address: number, length: number): Uint32Array {
    return new Uint32Array(this.#memory.buffer, address, length);
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
  return loadKernelModule((globalThis as { WebAssembly?: WebAssemblyApi }).WebAssembly);
}

/**
 * The kernels in WebAssembly; `undefined` if there is no WebAssembly, none with SIMD, or the page's content security
 * policy forbids it.
 */
export async function loadKernelModule(api: WebAssemblyApi | undefined): Promise<KernelModule | undefined> {
  if (!api) return undefined;
  const { MODULE_BYTES } = await import("./module-bytes.ts");
  const bytes = Uint8Array.from(atob(MODULE_BYTES), (character) => character.charCodeAt(0));
  try {
    if (!api.validate(bytes)) return undefined;
    const { instance } = await api.instantiate(bytes);
    return new KernelModule(instance.exports as Exports);
  } catch {
    return undefined;
  }
}

declare function atob(text: string): string;
