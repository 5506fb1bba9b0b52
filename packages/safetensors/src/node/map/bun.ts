import { MAP_FAILED, MAP_PRIVATE, type MemoryMaps, noMaps, openLibc, PROT_READ_WRITE } from "./maps.ts";

/** What is used of Bun's module `bun:ffi`: an address is a number, or a bigint where that would not be exact. */
interface BunFfi {
  dlopen(name: string, symbols: typeof SYMBOLS): { readonly symbols: Libc };
  toArrayBuffer(address: number, byteOffset: number, byteLength: number): ArrayBuffer;
}

interface Libc {
  mmap(
    address: null,
    length: number,
    protection: number,
    flags: number,
    fd: number,
    offset: number,
  ): number | bigint | null;
  munmap(address: number, length: number): number;
}

const SYMBOLS = {
  mmap: { args: ["ptr", "usize", "i32", "i32", "i32", "i64"], returns: "ptr" },
  munmap: { args: ["ptr", "usize"], returns: "i32" },
} as const;

/**
 * Maps files in Bun. Its own `Bun.mmap` makes a map for each view instead, of which a process may have 65,530 on Linux.
 */
export function bindBun(): MemoryMaps {
  // Not by `import`: other runtimes and bundlers know no "bun:".
  const ffi = process.getBuiltinModule?.("bun:ffi") as BunFfi | undefined;
  if (!ffi) throw noMaps("this version of Bun does not give its module bun:ffi");
  const { mmap, munmap } = openLibc("Bun finds no C library here", (name) =>
    ffi.dlopen(name, SYMBOLS),
  ).symbols;
  return {
    map(_path, fd, size) {
      const returned = mmap(null, size, PROT_READ_WRITE, MAP_PRIVATE, fd, 0);
      if (returned === null || BigInt.asUintN(64, BigInt(returned)) === MAP_FAILED) return undefined;
      const address = Number(returned);
      return {
        view: (offset, length) => ffi.toArrayBuffer(address, offset, length),
        unmap: () => void munmap(address, size),
      };
    },
  };
}
