"""Loads every tensor of a file and hashes it. See README.md for what is timed."""

import hashlib
import sys
from time import perf_counter

from report import report

path, way, *touching = sys.argv[1:]
if way == "torch":
    import safetensors.torch as loader
else:
    import safetensors.numpy as loader
    from safetensors import safe_open

PAGE = 4096


def memory(tensor):
    """The bytes of a contiguous tensor where they lie."""
    array = tensor.numpy() if way == "torch" else tensor
    return array.reshape(-1).view("uint8")


hashes = {}
# Seconds until all is in memory, which only touching shows, and until it is hashed.
read = None
total = 0.0
sample = None

start = perf_counter()
if way == "each":
    again = 0.0
    with safe_open(path, framework="numpy") as file:
        for name in file.keys():
            data = memory(file.get_tensor(name))
            hashes[name] = hashlib.sha256(data).hexdigest()
            total += perf_counter() - start
            start = perf_counter()
            hashlib.sha256(data)
            again += perf_counter() - start
            start = perf_counter()
    # Without what it takes to hash once more what is in memory already.
    read = total - again
else:
    tensors = {name: memory(tensor) for name, tensor in loader.load_file(path).items()}
    if touching:
        # What is only mapped is loaded by reading one byte of each page.
        sample = sum(int(data[::PAGE].sum()) for data in tensors.values())
        read = perf_counter() - start
    for name, data in tensors.items():
        hashes[name] = hashlib.sha256(data).hexdigest()
    total = perf_counter() - start

lines = "".join(sorted(f"{name} {digest}\n" for name, digest in hashes.items()))
report(
    read=None if read is None else read * 1000,
    total=total * 1000,
    sample=sample,
    checksum=hashlib.sha256(lines.encode()).hexdigest(),
)
