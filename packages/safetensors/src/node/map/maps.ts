import { SafetensorsError } from "../../errors.ts";

/** How a runtime maps files: one of the files beside this one. */
export interface MemoryMaps {
  /**
   * Maps a whole file that is not empty: private, so that writing into it changes this process alone.
   * `fd` is the file opened for reading; runtimes with descriptors of their own open `path` again.
   * Undefined when the system refuses.
   */
  map(path: string, fd: number, size: number): MemoryMap | undefined;
}

/** One file in memory. Whoever makes views must see to it that none is used after `unmap`. */
export interface MemoryMap {
  /** A buffer over `length` bytes from `offset`; every call makes a new one. */
  view(offset: number, length: number): ArrayBuffer;
  unmap(): void;
}

/** From sys/mman.h: the same on Linux and macOS. */
export const PROT_READ_WRITE = 3;
export const MAP_PRIVATE = 2;
/** What mmap returns when it fails, as an unsigned number. */
export const MAP_FAILED: bigint = 2n ** 64n - 1n;

/** The error for a runtime or a system that maps no files. */
export function noMaps(text: string, cause?: unknown): SafetensorsError {
  const details = cause === undefined ? {} : { cause };
  return new SafetensorsError("UNSUPPORTED", `${text}; openFile works everywhere`, {
    kind: "no-mmap",
    ...details,
  });
}

/**
 * Opens the C library with `dlopen`, by the names that it has on this system.
 *
 * @throws `UNSUPPORTED` with the text `advice`
 */
export function openLibc<T>(advice: string, dlopen: (name: string) => T): T {
  let failure: unknown;
  for (const name of libcNames()) {
    try {
      return dlopen(name);
    } catch (error) {
      failure ??= error;
    }
  }
  throw noMaps(advice, failure);
}

function libcNames(): readonly string[] {
  if (process.platform === "darwin") return ["/usr/lib/libSystem.B.dylib"];
  const machine = process.arch === "arm64" ? "aarch64" : "x86_64";
  return ["libc.so.6", `libc.musl-${machine}.so.1`];
}

let loading: Promise<MemoryMaps> | undefined;

/**
 * What maps files in this runtime.
 *
 * @throws `UNSUPPORTED` when nothing does
 */
export function loadMaps(): Promise<MemoryMaps> {
  loading ??= bindMaps();
  return loading;
}

async function bindMaps(): Promise<MemoryMaps> {
  if (process.platform !== "linux" && process.platform !== "darwin") {
    throw noMaps("files can be mapped on Linux and macOS only");
  }
  if ("Deno" in globalThis) return (await import("./deno.ts")).bindDeno();
  if (process.versions.bun !== undefined) return (await import("./bun.ts")).bindBun();
  return (await import("./koffi.ts")).bindKoffi();
}
