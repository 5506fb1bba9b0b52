"""Writes a checkpoint of one file and one of several with the reference into a folder, prints what they hold.

For each checkpoint: for each tensor its name, dtype, shape and the sha256 of its bytes, and for some parts of
tensors the index, in our own notation, and the sha256 of the bytes that NumPy takes by it.
"""

import hashlib
import json
import pathlib
import sys

import numpy
import safetensors.numpy

DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "I64": "int64", "U8": "uint8", "BOOL": "bool"}

folder = pathlib.Path(sys.argv[1])
random = numpy.random.default_rng(5)


def random_tensor(dtype, *shape):
    kind = numpy.dtype(DTYPES[dtype])
    size = int(numpy.prod(shape)) * kind.itemsize
    data = random.integers(0, 2 if dtype == "BOOL" else 256, size, dtype=numpy.uint8)
    return data.view(kind).reshape(shape)


def sha256(array):
    return hashlib.sha256(numpy.ascontiguousarray(array).tobytes()).hexdigest()


def describe(tensors):
    names = {numpy.dtype(kind): dtype for dtype, kind in DTYPES.items()}
    return [
        {"name": name, "dtype": names[array.dtype], "shape": list(array.shape), "sha256": sha256(array)}
        for name, array in tensors.items()
    ]


single = {
    f"layer.{dtype}": random_tensor(dtype, 300, 1000 // numpy.dtype(kind).itemsize)
    for dtype, kind in DTYPES.items()
}
single |= {
    "wide": random_tensor("F32", 2000, 1500),
    "scalar": random_tensor("F32"),
    "empty": random_tensor("I64", 0),
}
safetensors.numpy.save_file(single, folder / "model.safetensors", {"format": "np"})
parts = [
    {"name": "wide", "index": "17", "sha256": sha256(single["wide"][17])},
    {"name": "wide", "index": "100:1900:450", "sha256": sha256(single["wide"][100:1900:450])},
    {"name": "wide", "index": "1998:,-3:", "sha256": sha256(single["wide"][1998:, -3:])},
    {"name": "layer.F16", "index": "::50,7:9", "sha256": sha256(single["layer.F16"][::50, 7:9])},
]

sharded = {f"h.{number}.weight": random_tensor("F16", 64, 96) for number in range(7)}
files = [f"model-{number:05}-of-00003.safetensors" for number in (1, 2, 3)]
places = {name: files[position % 3] for position, name in enumerate(sharded)}
(folder / "sharded").mkdir()
for file in files:
    tensors = {name: array for name, array in sharded.items() if places[name] == file}
    safetensors.numpy.save_file(tensors, folder / "sharded" / file)
size = sum(array.nbytes for array in sharded.values())
index = {"metadata": {"total_size": size}, "weight_map": places}
(folder / "sharded" / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")

print(
    json.dumps(
        {"single": {"tensors": describe(single), "parts": parts}, "sharded": {"tensors": describe(sharded)}}
    )
)
