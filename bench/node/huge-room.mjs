// Sees to it that the system has huge pages at hand: takes so many bytes of them, touches each, and gives them back. Linux only.
import koffi from "koffi";

/** From sys/mman.h. */
const PROT_READ_WRITE = 3;
const MAP_PRIVATE_ANONYMOUS = 0x22;
const MADV_HUGEPAGE = 14;
const HUGE_PAGE = 2 << 20;
const MAP_FAILED = 2n ** 64n - 1n;

export function makeHugeRoom(bytes) {
  if (process.platform !== "linux") return;
  const libc = koffi.load(null);
  const mmap = libc.func(
    "void *mmap(void *at, size_t length, int protection, int flags, int fd, int64_t offset)",
  );
  const madvise = libc.func("int madvise(void *at, size_t length, int advice)");
  const munmap = libc.func("int munmap(void *at, size_t length)");
  const memory = mmap(null, bytes, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
  if (BigInt.asUintN(64, memory) === MAP_FAILED) throw new Error(`there are no ${bytes} bytes of memory`);
  madvise(memory, bytes, MADV_HUGEPAGE);
  const view = new Uint8Array(koffi.view(memory, bytes));
  for (let at = 0; at < bytes; at += HUGE_PAGE) view[at] = 1;
  munmap(memory, bytes);
}
