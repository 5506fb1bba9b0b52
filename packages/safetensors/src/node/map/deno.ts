import { MAP_FAILED, MAP_PRIVATE, type MemoryMaps, openLibc, PROT_READ_WRITE } from "./maps.ts";

/** An address, of which nothing can be seen. */
type Pointer = object | null;

/** What is used of Deno's foreign function interface. */
interface DenoFfi {
  dlopen(name: string, symbols: typeof SYMBOLS): { readonly symbols: Libc };
  readonly UnsafePointer: { value(pointer: Pointer): bigint };
  readonly UnsafePointerView: {
    getArrayBuffer(pointer: Pointer, byteLength: number, offset: number): ArrayBuffer;
  };
}

interface Libc {
  open(path: Uint8Array, flags: number): number;
  close(fd: number): number;
  lseek(fd: number, offset: bigint, whence: number): bigint;
  mmap(address: null, length: bigint, protection: number, flags: number, fd: number, offset: bigint): Pointer;
  munmap(address: Pointer, length: bigint): number;
}

const SYMBOLS = {
  open: { parameters: ["buffer", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  lseek: { parameters: ["i32", "i64", "i32"], result: "i64" },
  mmap: { parameters: ["pointer", "usize", "i32", "i32", "i32", "i64"], result: "pointer" },
  munmap: { parameters: ["pointer", "usize"], result: "i32" },
} as const;

/** From fcntl.h and unistd.h. */
const O_RDONLY = 0;
const SEEK_END = 2;

/** Maps files in Deno, which must be run with `--allow-ffi`. */
export function bindDeno(): MemoryMaps {
  const deno = (globalThis as unknown as { readonly Deno: DenoFfi }).Deno;
  const advice = "mapping files in Deno needs the permission --allow-ffi";
  const libc = openLibc(advice, (name) => deno.dlopen(name, SYMBOLS)).symbols;
  return {
    map(path, _fd, size) {
      // In older versions of Deno the descriptors of node:fs are not the system's.
      const fd = libc.open(new TextEncoder().encode(`${path}\0`), O_RDONLY);
      try {
        // The path may lead to another file by now: a map must not be longer than its file.
        if (fd < 0 || libc.lseek(fd, 0n, SEEK_END) !== BigInt(size)) return undefined;
        const address = libc.mmap(null, BigInt(size), PROT_READ_WRITE, MAP_PRIVATE, fd, 0n);
        if (BigInt.asUintN(64, deno.UnsafePointer.value(address)) === MAP_FAILED) return undefined;
        return {
          view: (offset, length) => deno.UnsafePointerView.getArrayBuffer(address, length, offset),
          unmap: () => void libc.munmap(address, BigInt(size)),
        };
      } finally {
        if (fd >= 0) libc.close(fd);
      }
    },
  };
}
