"""Loads every tensor of a file and hashes it. See README.md for what is timed."""

import hashlib
import sys
from time import perf_counter

from report import report

path, way = sys.argv[1:]
if way == "torch":
    import safetensors.torch as loader
else:
    import safetensors.numpy as loader
    from safetensors import safe_open


def memory(tensor):
    """The bytes of a contiguous tensor where they lie."""
    array = tensor.numpy() if way == "torch" else tensor
    return array.reshape(-1).view("uint8")


hashes = {}
# Seconds to load and hash; and to hash once more what is in memory already.
total = 0.0
again = 0.0

start = perf_counter()
if way == "each":
    with safe_open(path, framework="numpy") as file:
        for name in file.keys():
            data = memory(file.get_tensor(name))
            hashes[name] = hashlib.sha256(data).hexdigest()
            total += perf_counter() - start
            start = perf_counter()
            hashlib.sha256(data)
            again += perf_counter() - start
            start = perf_counter()
else:
    tensors = loader.load_file(path)
    for name, tensor in tensors.items():
        hashes[name] = hashlib.sha256(memory(tensor)).hexdigest()
    total = perf_counter() - start
    start = perf_counter()
    for tensor in tensors.values():
        hashlib.sha256(memory(tensor))
    again = perf_counter() - start

lines = "".join(sorted(f"{name} {digest}\n" for name, digest in hashes.items()))
report(total=total * 1000, again=again * 1000, checksum=hashlib.sha256(lines.encode()).hexdigest())
