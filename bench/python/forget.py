"""Takes a file out of the page cache, and ends with an error if more than one page in a hundred is still there."""

import ctypes
import mmap
import os
import sys

MOST = 0.01

[path] = sys.argv[1:]
file = os.open(path, os.O_RDWR)
size = os.fstat(file).st_size
# What has not been written yet cannot be forgotten.
os.fsync(file)
os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)

system = ctypes.CDLL(None, use_errno=True)
system.mmap.restype = ctypes.c_void_p
system.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
system.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
# Mapping touches nothing; mincore says of each page whether it is in memory.
address = system.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, file, 0)
pages = -(-size // mmap.PAGESIZE)
found = ctypes.create_string_buffer(pages)
if address == ctypes.c_void_p(-1).value or system.mincore(address, size, found) != 0:
    sys.exit(f"cannot tell what is cached of {path}: {os.strerror(ctypes.get_errno())}")
cached = sum(page & 1 for page in found.raw)
if cached > MOST * pages:
    sys.exit(f"{cached} of {pages} pages of {path} are still in the page cache")
