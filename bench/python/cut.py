"""Cuts parts out of a tensor, over and over: only that is timed. Then once more, to hash them."""

import hashlib
import json
import sys
from time import perf_counter

import numpy  # safe_open would import it on the clock
from report import report
from safetensors import safe_open

path, framework, task = sys.argv[1:]
REPEATS = 7

if framework == "pt":
    import torch  # noqa: F401  for the same reason

task = json.loads(task)
cuts = [tuple(slice(*bounds) for bounds in part) for part in task["parts"]]


def mapped_tensor(path, name):
    """The tensor as an array over the mapped file."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        info = json.loads(file.read(length))[name]
    dtype = {"F16": "<f2", "F32": "<f4"}[info["dtype"]]
    return numpy.memmap(path, dtype, "r", 8 + length + info["data_offsets"][0], tuple(info["shape"]))


def cut(tensor, items):
    part = tensor[items]
    if framework == "copyto":
        # Only for the limit: no reader can do less than copy the part into memory that is there.
        numpy.copyto(target, part)
        return target
    # numpy copies the part. torch only says where it lies in the mapped file; contiguous() makes one that can be
    # handed on, which for whole rows is the same view.
    return part.contiguous() if framework == "pt" else part


times = []
digest = hashlib.sha256()
with safe_open(path, framework="pt" if framework == "pt" else "numpy") as file:
    if framework == "copyto":
        tensor = mapped_tensor(path, task["tensor"])
        target = numpy.empty_like(tensor[cuts[0]], order="C", subok=False)
    else:
        tensor = file.get_slice(task["tensor"])
    for _ in range(REPEATS + 1):
        start = perf_counter()
        for items in cuts:
            cut(tensor, items)
        times.append((perf_counter() - start) * 1000)
    for items in cuts:
        part = cut(tensor, items)
        digest.update((part.numpy() if framework == "pt" else part).reshape(-1).view("uint8"))
report(first=times[0], again=times[1:], checksum=digest.hexdigest())
