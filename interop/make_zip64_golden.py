"""Writes what torch.save puts around and between storages where sizes and places are beyond 4 GiB.

The file itself is never there: of what torch writes only the small pieces are kept, as their place and their bytes in
hex; the large storage, of 4 GiB, is passed over. Without checksums, as those of 4 GiB take their time.
"""

import io

import torch
from torch.serialization import set_crc32_options

from fixtures import FIXTURES, write_or_check

SMALL = 4096


class Pieces(io.RawIOBase):
    """A file that keeps small pieces, joined where they touch."""

    def __init__(self):
        self.at = 0
        self.pieces = []

    def writable(self):
        return True

    def write(self, data):
        if len(data) <= SMALL:
            if self.pieces and self.pieces[-1][0] + len(self.pieces[-1][1]) == self.at:
                self.pieces[-1][1].extend(data)
            else:
                self.pieces.append((self.at, bytearray(data)))
        self.at += len(data)
        return len(data)


set_crc32_options(False)
file = Pieces()
torch.save(
    {
        "before": torch.ones(2),
        # What is in it does not matter, and memory that nobody writes to is not taken.
        "large": torch.empty(2**32, dtype=torch.uint8),
        "after": torch.ones(3),
        "empty": torch.empty(0),
    },
    file,
)
write_or_check(FIXTURES / "zip64-golden.json", [[at, piece.hex()] for at, piece in file.pieces])
