"""Saves a checkpoint with one large storage, unpacks it and zips it again with compression: make_deflated.py PATH BYTES."""

import pathlib
import sys
import zipfile

import torch

from torch_saving import rezipped

REPEATED = 10  # so that it has about a tenth of its size when compressed, as no limit forbids
COLUMNS = 1000


def weight(size):
    """Rows of random bits of BF16 numbers, each row ten times."""
    rows = torch.randint(-(2**15), 2**15, (size // 2 // COLUMNS // REPEATED, COLUMNS), dtype=torch.int16)
    return rows.repeat_interleave(REPEATED, dim=0).view(torch.bfloat16)


torch.manual_seed(0)
path, size = pathlib.Path(sys.argv[1]), int(sys.argv[2])
tensors = {"weight": weight(size), "norm": torch.randn(1000)}
assert tensors["weight"].untyped_storage().nbytes() == size
rezipped(method=zipfile.ZIP_DEFLATED)(tensors, path)
assert path.stat().st_size < size / 5
