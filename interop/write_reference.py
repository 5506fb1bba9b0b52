"""Writes safetensors files with the reference into a folder, prints what they hold.

For each file: metadata, and for each tensor its name, dtype, shape, the sha256 of its bytes, and the sha256 of its
values as 32-bit floats (NaN as 7fc00000; null for C64), as torch converts them.
"""

import json
import pathlib
import sys

import ml_dtypes
import numpy
import safetensors.numpy
import safetensors.torch
import torch

from fixtures import sha256
from make_torch_fixtures import describe, packed_bytes
from torch_cases import DTYPES

folder = pathlib.Path(sys.argv[1])
folder.mkdir()
torch.manual_seed(3)


def random_tensor(dtype, *shape):
    size = torch.empty(shape, dtype=dtype).nbytes
    data = torch.randint(0, 2 if dtype == torch.bool else 256, (size,), dtype=torch.uint8)
    return data.view(dtype).reshape(shape)


def float32_hash(tensor):
    if tensor.dtype == torch.complex64:
        return None
    if tensor.dtype == torch.float4_e2m1fn_x2:
        packed = numpy.frombuffer(packed_bytes(tensor), numpy.uint8)
        nibbles = numpy.stack([packed & 15, packed >> 4], axis=-1)
        floats = nibbles.view(ml_dtypes.float4_e2m1fn).astype(numpy.float32)
    else:
        floats = tensor.float().numpy()
    return sha256(numpy.where(numpy.isnan(floats), numpy.float32("nan"), floats).astype("<f4").tobytes())


def expected(tensors, metadata):
    rows = [{**describe(*item), "float32": float32_hash(item[1])} for item in tensors.items()]
    return {"tensors": rows, "metadata": metadata}


FILES = {
    "every-dtype": ({name: random_tensor(dtype, 6, 4) for dtype, name in DTYPES.items()}, None),
    "large": ({name: random_tensor(dtype, 300, 256) for dtype, name in DTYPES.items()}, {"format": "pt"}),
    "shapes": (
        {
            "scalar": random_tensor(torch.float32),
            "empty": random_tensor(torch.int64, 0),
            "empty too": random_tensor(torch.bfloat16, 3, 0, 2),
            "odd": random_tensor(torch.uint8, 3, 1, 7),
            "five": random_tensor(torch.float16, 1, 2, 3, 4, 5),
        },
        {"": "", 'ünïcödé "\\\n😀': "\0\u2028", "long": "x" * 10000},
    ),
    "nothing": ({}, None),
    "many": ({f"layer.{index}.weight": random_tensor(torch.float32, 2, 3) for index in range(3000)}, None),
}

found = {}
for name, (tensors, metadata) in FILES.items():
    safetensors.torch.save_file(tensors, folder / f"{name}.safetensors", metadata)
    found[f"{name}.safetensors"] = expected(tensors, metadata)
arrays = {
    "f32": torch.arange(6.0).reshape(2, 3),
    "i64": torch.tensor(-5),
    "u8": torch.arange(3).to(torch.uint8),
}
safetensors.numpy.save_file({n: t.numpy() for n, t in arrays.items()}, folder / "numpy.safetensors")
found["numpy.safetensors"] = expected(arrays, None)
json.dump(found, sys.stdout)
