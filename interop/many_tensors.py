"""A checkpoint of very many tensors, and a digest of all that is in it.

many_tensors.py make COUNT PATH   saves it with torch.save and prints the digest of what is saved
many_tensors.py read FOLDER       prints the digest of the safetensors files in a folder, as the reference reads them

The digest is that of names, dtypes, shapes and bytes of all tensors, in the order of the names.
"""

import hashlib
import json
import pathlib
import sys

import safetensors
import torch

from make_torch_fixtures import packed_bytes
from torch_cases import DTYPES


def digest(rows):
    """rows: (name, dtype, shape, bytes) of each tensor"""
    total = hashlib.sha256()
    for name, dtype, shape, data in sorted(rows):
        total.update(json.dumps([name, dtype, list(shape), len(data)]).encode() + data)
    return total.hexdigest()


def experts(count):
    """The weights of a mixture of experts in FP8, each with its scale; each has a storage, and values, of its own."""
    for i in range(count):
        layer, expert = i // 1536, i // 6 % 256
        part = ("gate_proj", "up_proj", "down_proj")[i // 2 % 3]
        name = f"model.layers.{layer}.mlp.experts.{expert}.{part}.weight"
        number = torch.tensor([[i]], dtype=torch.int32)
        if i % 2:
            yield name + "_scale_inv", number.view(torch.float32)
        else:
            yield name, number.view(torch.float8_e4m3fn)


def make(count, path):
    tensors = dict(experts(count))
    torch.save(tensors, path)
    rows = ((name, DTYPES[each.dtype], each.shape, packed_bytes(each)) for name, each in tensors.items())
    return {"digest": digest(rows)}


def read(folder):
    files = sorted(folder.glob("*.safetensors"))
    rows = [
        (name, found["dtype"], found["shape"], bytes(found["data"]))
        for file in files
        for name, found in safetensors.deserialize(file.read_bytes())
    ]
    index = next(folder.glob("*.index.json"), None)
    indexed = index and len(json.loads(index.read_text())["weight_map"])
    return {"digest": digest(rows), "tensors": len(rows), "files": len(files), "indexed": indexed}


what, *args = sys.argv[1:]
json.dump(make(int(args[0]), args[1]) if what == "make" else read(pathlib.Path(args[0])), sys.stdout)
