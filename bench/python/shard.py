"""Reads what one rank has of a checkpoint with get_slice and keeps it, a few times: only that is timed. Then hashes it."""

import hashlib
import json
import sys
from time import perf_counter

import numpy  # noqa: F401  safe_open would import it on the clock
from report import report
from safetensors import safe_open

path, framework, task = sys.argv[1:]
REPEATS = 2

if framework == "pt":
    import torch  # noqa: F401  for the same reason

task = json.loads(task)
world, rank, plan = task["world"], task["rank"], task["plan"]
tp, pp = world.get("tp", 1), world.get("pp", 1)
stage, tp_rank = divmod(rank, tp)


def stage_of(name):
    """The rule of vLLM's get_pp_indices, and where what is no layer belongs."""
    if not name.startswith("model.layers."):
        return 0 if "embed_tokens" in name else pp - 1
    sizes = [task["layers"] // pp] * pp
    for i in range(2, task["layers"] % pp + 2):
        sizes[-i] += 1
    layer = int(name.split(".")[2])
    return next(stage for stage in range(pp) if layer < sum(sizes[: stage + 1]))


def dimension_of(name, rank):
    """The dimension that is cut, if one is."""
    parts = name.split(".")
    generic = ".".join("*" if part.isdigit() else part for part in parts[1:-1] if parts[0] == "model")
    style = plan.get(generic or parts[0])
    if style is None or tp == 1:
        return None
    return rank - 1 if style == "rowwise" else 0


def bounds(size):
    share = -(-size // tp)
    start = min(tp_rank * share, size)
    return slice(start, min(start + share, size))


def part_of(file, name):
    tensor = file.get_slice(name)
    shape = tensor.get_shape()
    dim = dimension_of(name, len(shape))
    if dim is None:
        part = tensor[:]
    else:
        part = tensor[(*[slice(None)] * dim, bounds(shape[dim]))]
    # numpy copies the part. torch only says where it lies in the mapped file; what a rank keeps is a copy.
    return part.clone(memory_format=torch.contiguous_format) if framework == "pt" else part


times = []
with safe_open(path, framework=framework) as file:
    names = [name for name in file.keys() if stage_of(name) == stage]  # noqa: SIM118
    for _ in range(REPEATS + 1):
        tensors = None
        start = perf_counter()
        tensors = {name: part_of(file, name) for name in names}
        times.append((perf_counter() - start) * 1000)
digest = hashlib.sha256()
for name in sorted(tensors):
    part = tensors[name].numpy() if framework == "pt" else tensors[name]
    digest.update(numpy.ascontiguousarray(part).reshape(-1).view("uint8"))
report(first=times[0], again=times[1:], checksum=digest.hexdigest())
