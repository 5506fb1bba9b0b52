"""Loads the PyTorch files of a folder in each way that torch.load has, and prints what it finds in each.

For each file: its tensors for each way of loading, as `describe` has them, the groups of names that share a storage, and
whether torch.save makes the same file of what was loaded, but for its identification and the checksums of that.
"""

import io
import json
import pathlib
import sys
import zipfile

import torch

from make_torch_fixtures import aliases_of, describe

WAYS = {
    "weights only": {"weights_only": True},
    "any object": {"weights_only": False},
    "mapped": {"weights_only": True, "mmap": True},
    "mapped, any object": {"weights_only": False, "mmap": True},
}

ID = ".data/serialization_id"


def without_id(data):
    """The file with zeros for the identification, its checksum and that checksum's copy in the directory."""
    entry = next(i for i in zipfile.ZipFile(io.BytesIO(data)).infolist() if i.filename.endswith(ID))
    result = bytearray(data)
    # The 40 digits lie at the next multiple of 64 after the header; signature and checksum follow.
    start = -(-(entry.header_offset + 30 + len(entry.filename) + 4) // 64) * 64
    result[start : start + 48] = bytes(48)
    place = result.rindex(entry.filename.encode()) - 46
    result[place + 16 : place + 20] = bytes(4)
    return result


def saved(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def read(path):
    loaded = {way: torch.load(path, **options) for way, options in WAYS.items()}
    value = loaded["weights only"]
    return {
        "plain": all(type(each) is dict for each in loaded.values()),
        "contiguous": all(tensor.is_contiguous() for tensor in value.values()),
        "tensors": {
            way: [{k: v for k, v in describe(*item).items() if k != "first"} for item in each.items()]
            for way, each in loaded.items()
        },
        "aliases": aliases_of(value.items()),
        "same": without_id(saved(value)) == without_id(path.read_bytes()),
    }


def describable(path):
    try:
        return read(path)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


json.dump({path.name: describable(path) for path in sorted(pathlib.Path(sys.argv[1]).iterdir())}, sys.stdout)
