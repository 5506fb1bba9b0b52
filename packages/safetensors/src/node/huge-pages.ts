/** From linux/mman.h. */
const MADV_HUGEPAGE = 14;

const HUGE_PAGE = 2 << 20;

/**
 * An allocator for `Checkpoint.load` that asks for huge pages: the first touch of a gigabyte in pages of 4 KiB takes longer
 * than reading it. Where the package `koffi` or the system (only Linux has them to be asked for) does not help, it gives
 * ordinary memory.
 */
export async function hugePages(): Promise<(byteLength: number) => Uint8Array> {
  const advise = await loadAdvise();
  return (byteLength) => {
    if (!advise || byteLength < HUGE_PAGE) return new Uint8Array(byteLength);
    const memory = new Uint8Array(byteLength + HUGE_PAGE);
    const start = advise(memory);
    return memory.subarray(start, start + byteLength);
  };
}

/** Asks for huge pages in a piece of memory, and says where in it the first one begins. */
type Advise = (memory: Uint8Array) => number;

async function loadAdvise(): Promise<Advise | undefined> {
  if (process.platform !== "linux") return undefined;
  try {
    const { default: koffi } = await import("koffi");
    const madvise = koffi.load(null).func("int madvise(void *address, size_t length, int advice)");
    return (memory) => {
      const address = koffi.address(memory);
      const start = Number(-address & BigInt(HUGE_PAGE - 1));
      // Without them everything works as well.
      madvise(address + BigInt(start), memory.length - start, MADV_HUGEPAGE);
      return start;
    };
  } catch {
    return undefined;
  }
}
