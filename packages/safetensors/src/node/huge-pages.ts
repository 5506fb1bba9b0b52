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
    const { start } = advise(memory);
    return memory.subarray(start, start + byteLength);
  };
}

/**
 * Asks for huge pages in memory that is there but has not been touched, such as what `allocate` of kernels or of a pool
 * gives first: casts between F32 and 16 bits, which wait for memory, then take about a tenth less time (measured).
 *
 * @returns asks for all huge pages that lie in the memory as a whole, and says whether the system took it; it never does
 *   where `hugePages` gives ordinary memory
 */
export async function hugePageAdvice(): Promise<(memory: Uint8Array) => boolean> {
  const advise = await loadAdvise();
  return (memory) => advise !== undefined && memory.length >= 2 * HUGE_PAGE && advise(memory).taken;
}

/** Asks for huge pages in a piece of memory: where in it the first one begins, and whether the system took it. */
type Advise = (memory: Uint8Array) => { readonly start: number; readonly taken: boolean };

async function loadAdvise(): Promise<Advise | undefined> {
  if (process.platform !== "linux") return undefined;
  try {
    const { default: koffi } = await import("koffi");
    const madvise = koffi.load(null).func("int madvise(void *address, size_t length, int advice)");
    return (memory) => {
      const address = koffi.address(memory);
      const start = Number(-address & BigInt(HUGE_PAGE - 1));
      // Whole pages only: what lies beside the memory is not ours to advise on.
      const length = memory.length - start - ((memory.length - start) % HUGE_PAGE);
      // Without them everything works as well.
      return { start, taken: madvise(address + BigInt(start), length, MADV_HUGEPAGE) === 0 };
    };
  } catch {
    return undefined;
  }
}
