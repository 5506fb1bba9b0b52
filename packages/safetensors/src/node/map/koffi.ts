import { MAP_FAILED, MAP_PRIVATE, type MemoryMaps, noMaps, PROT_READ_WRITE } from "./maps.ts";

/** Maps files in Node, with the optional package `koffi`. */
export async function bindKoffi(): Promise<MemoryMaps> {
  const { default: koffi } = await import("koffi").catch((cause: unknown) => {
    throw noMaps("mapping files in Node needs the package koffi (npm install koffi)", cause);
  });
  const libc = koffi.load(null);
  const mmap = libc.func(
    "void *mmap(void *address, size_t length, int protection, int flags, int fd, int64_t offset)",
  );
  const munmap = libc.func("int munmap(void *address, size_t length)");
  return {
    map(_path, fd, size) {
      const address = mmap(null, size, PROT_READ_WRITE, MAP_PRIVATE, fd, 0) as bigint;
      if (BigInt.asUintN(64, address) === MAP_FAILED) return undefined;
      return {
        view: (offset, length) => koffi.view(address + BigInt(offset), length),
        unmap: () => void munmap(address, size),
      };
    },
  };
}
