/** Memory of WebAssembly. */
export interface KernelMemory {
  /** Not the same any more once it has grown. */
  readonly buffer: ArrayBuffer | SharedArrayBuffer;
  grow(pages: number): number;
}

/** The part of WebAssembly that is used. */
export interface WebAssemblyApi {
  readonly Memory: new (size: {
    readonly initial: number;
    readonly maximum: number;
    readonly shared?: boolean;
  }) => KernelMemory;
  validate(bytes: Uint8Array): boolean;
  instantiate(
    bytes: Uint8Array,
    imports: { readonly env: { readonly memory: KernelMemory } },
  ): Promise<{ readonly instance: { readonly exports: unknown } }>;
}

/** Bytes of a page. The first one of a memory has the constants of the kernels; nothing else is written there. */
export const PAGE: number = 1 << 16;

/** A range of memory that other instances of the module work in, too, each in a range of its own. */
export interface SharedRange {
  readonly memory: KernelMemory;
  /** Where it begins, behind the first page. */
  readonly start: number;
  readonly size: number;
}

/** Pages of memory that WebAssembly has at most, and that the module asks for. */
const MOST_PAGES = 1 << 16;

/** Memory for one instance of the module: one page, which grows. */
export function ownKernelMemory(api: WebAssemblyApi): KernelMemory {
  return new api.Memory({ initial: 1, maximum: MOST_PAGES });
}

/** Memory that instances of the module can share; nothing if the system has none, or none that is shared. */
export function sharedKernelMemory(bytes: number): KernelMemory | undefined {
  const pages = Math.ceil(bytes / PAGE);
  const api = webAssembly();
  try {
    return api && new api.Memory({ initial: pages, maximum: pages, shared: true });
  } catch {
    return undefined;
  }
}

/** Where there is any. */
export function webAssembly(): WebAssemblyApi | undefined {
  return (globalThis as unknown as { WebAssembly?: WebAssemblyApi }).WebAssembly;
}
