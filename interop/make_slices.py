"""Writes random tensors with the reference into a folder, prints what NumPy answers to random parts of them.

The folder gets the tensors three times: model.safetensors, sharded/ with an index, and model.bin, in which some tensors
lie transposed. Printed are the tensors, and the cases: the tensor's name, up to three steps (slice, transpose, reshape),
and the shape and the sha256 of the packed bytes that NumPy gives. NumPy sees the elements as unsigned integers, those
of F4 one in a byte. Everything is within what a view can say: a reshape needs no copy in NumPy either.
"""

import json
import math
import pathlib
import random
import sys

import numpy
import safetensors.torch
import torch

from fixtures import sha256
from make_torch_fixtures import packed_bytes
from torch_cases import DTYPES

TENSORS = 150
CASES = 4200
SHARDS = 4
# Of 8 MiB; by number, which decides the dtype: I32, F64, F32.
LARGE = {5: (2048, 1024), 52: (16, 257, 255), 71: (1 << 21,)}
UINTS = {1: numpy.uint8, 2: numpy.uint16, 4: numpy.uint32, 8: numpy.uint64}
# A mask of a long axis would be most of the output.
LONGEST_MASK = 300

rng = random.Random(20261126)
bytes_rng = numpy.random.default_rng(20261126)


# ---- Tensors --------------------------------------------------------------------------------------------------------


def random_shape(most):
    """Up to five dimensions, and up to so many elements, each order of magnitude alike; sometimes none at all."""
    left = math.exp(rng.uniform(0, math.log(most)))
    shape = []
    for more in range(rng.choice([0, 1, 1, 2, 2, 2, 3, 3, 4, 5]), 0, -1):
        size = max(1, round(left if more == 1 else math.exp(rng.uniform(0, math.log(max(left, 1))))))
        left /= size
        shape.append(size)
    rng.shuffle(shape)
    if shape and rng.random() < 0.08:
        shape[rng.randrange(len(shape))] = 0
    return shape


def random_tensor(index, dtype):
    item = torch.empty((), dtype=dtype).element_size()
    large = LARGE.get(index)
    shape = list(large) if large else random_shape(2**20 / item)
    if dtype == torch.float4_e2m1fn_x2 and not shape:
        shape = [3]
    if 0 in shape:
        return torch.empty(shape, dtype=dtype)
    raw = bytes_rng.integers(0, 2 if dtype == torch.bool else 256, math.prod(shape) * item, numpy.uint8)
    return torch.from_numpy(raw).view(dtype).reshape(shape)


def elements(tensor):
    """The elements as unsigned integers."""
    raw = numpy.frombuffer(packed_bytes(tensor), numpy.uint8)
    if tensor.dtype == torch.float4_e2m1fn_x2:
        nibbles = numpy.stack([raw & 15, raw >> 4], axis=-1)
        return nibbles.reshape(*tensor.shape[:-1], 2 * tensor.shape[-1])
    return raw.view(UINTS[tensor.element_size()]).reshape(tensor.shape)


def packed(array, is_f4):
    """The bytes in row-major order; bits behind the last element are zero."""
    if not is_f4:
        return array.tobytes()
    flat = numpy.append(array.ravel(), numpy.zeros(array.size % 2, numpy.uint8))
    return (flat[::2] | flat[1::2] << 4).tobytes()


def transposed_storage(tensor):
    return tensor.transpose(0, -1).contiguous().transpose(0, -1)


def write(folder, tensors, transposed):
    safetensors.torch.save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    torch.save(
        {name: transposed_storage(t) if name in transposed else t for name, t in tensors.items()},
        folder / "model.bin",
    )
    sharded = folder / "sharded"
    sharded.mkdir()
    weight_map = {}
    for shard in range(SHARDS):
        file = f"model-{shard + 1:05}-of-{SHARDS:05}.safetensors"
        own = dict(list(tensors.items())[shard::SHARDS])
        safetensors.torch.save_file(own, sharded / file)
        weight_map |= dict.fromkeys(own, file)
    index = json.dumps({"metadata": {}, "weight_map": weight_map})
    (sharded / "model.safetensors.index.json").write_text(index, encoding="utf-8")


# ---- Steps ----------------------------------------------------------------------------------------------------------


def random_bound(size):
    return None if rng.random() < 0.35 else rng.randint(-size - 2, size + 2)


def random_range(size):
    step = rng.choice([None, None, None, 1, 2, 3, 7, -1, -1, -2, -3, max(size // 5, 1)])
    start, stop = random_bound(size), random_bound(size)
    # Else most chains soon are of nothing.
    if rng.random() < 0.85 and len(range(*slice(start, stop, step).indices(size))) == 0:
        start, stop = None, None
    return slice(start, stop, step)


def random_list(size, length):
    """Indices of an axis, or a mask of it; so many, if a length is given."""
    count = length if length is not None else rng.choice([0, 1, 2, 3, 3, 5, 8])
    if rng.random() < 0.35 and size <= LONGEST_MASK and (length is None or length <= size):
        chosen = count if length is not None else rng.randint(0, size)
        return rng.sample([True] * chosen + [False] * (size - chosen), size)
    return [rng.randint(-size, size - 1) for _ in range(count)]


def random_items(shape):
    """The index of a slice: lists go together as in NumPy, element by element, so all have one length here, or one."""
    used = rng.choice([rng.randint(0, len(shape)), len(shape)])
    tail = rng.randint(0, used) if rng.random() < 0.3 else None
    axes = list(shape[:used]) if tail is None else [*shape[: used - tail], *shape[len(shape) - tail :]]
    several = rng.random() < 0.3
    length = rng.choice([0, 1, 2, 3, 4, 6]) if several else None
    may_list = rng.random() < 0.4
    items = []
    for size in axes:
        kind = rng.random()
        if kind < 0.2 and size > 0:
            items.append(rng.randint(-size, size - 1))
        elif may_list and kind < 0.6 and size > 0:
            items.append(random_list(size, length and rng.choice([length, length, 1])))
            may_list = several
        else:
            items.append(random_range(size))
    if tail is not None:
        items.insert(used - tail, ...)
    while rng.random() < 0.12:
        items.insert(rng.randint(0, len(items)), None)
    return items


def for_numpy(item):
    """Lists as arrays, so that an empty one is one of integers too."""
    if not isinstance(item, list):
        return item
    return numpy.array(item, bool if item and isinstance(item[0], bool) else int)


def as_text(items):
    def text(item):
        if item is ...:
            return "..."
        if isinstance(item, slice):
            bounds = item.start, item.stop, item.step
            start, stop, step = ("" if bound is None else str(bound) for bound in bounds)
            return f"{start}:{stop}:{step}" if step else f"{start}:{stop}"
        return str(item)

    return f"[{', '.join(map(text, items))}]"


def as_json(item):
    if item is ...:
        return "..."
    if item is None:
        return "newaxis"
    if isinstance(item, slice):
        bounds = {"start": item.start, "stop": item.stop, "step": item.step}
        return None if item == slice(None) else bounds
    return item


def is_mask(item):
    return isinstance(item, list) and len(item) > 0 and isinstance(item[0], bool)


def random_factors(count):
    shape = []
    while count > 1 and len(shape) < 5:
        divisors = [d for d in (*range(2, 65), count) if count % d == 0]
        shape.append(rng.choice(divisors))
        count //= shape[-1]
    shape.append(count)
    rng.shuffle(shape)
    if count > 0 and rng.random() < 0.3:
        shape[rng.randrange(len(shape))] = -1
    return shape


def random_step(array, can_reshape):
    """One step and its result, as views of the same memory where NumPy can."""
    kind = rng.random()
    if kind < 0.15:
        axes = list(range(array.ndim))
        rng.shuffle(axes)
        signed = [axis - array.ndim if rng.random() < 0.2 else axis for axis in axes]
        return {"transpose": signed}, array.transpose(signed)
    if kind < 0.3 and can_reshape:
        shape = random_factors(array.size)
        result = array.reshape(shape)
        if array.size == 0 or numpy.may_share_memory(array, result):
            return {"reshape": shape}, result
    items = random_items(array.shape)
    # An ellipsis at the end, for else NumPy gives no view of a single element.
    whole = items if ... in items else [*items, ...]
    result = array[tuple(map(for_numpy, whole))]
    as_list = any(map(is_mask, items)) or rng.random() < 0.4
    return {"slice": list(map(as_json, items)) if as_list else as_text(items)}, result


def has_list(step):
    index = step.get("slice", [])
    return "[" in index[1:] if isinstance(index, str) else any(isinstance(item, list) for item in index)


def random_case(name, array, is_f4, is_transposed):
    steps = []
    # Elements chosen by lists have no strides; in NumPy they are a copy, which hides that.
    can_reshape = not is_transposed
    result = array
    for _ in range(rng.randint(1, 3)):
        step, result = random_step(result, can_reshape)
        steps.append(step)
        can_reshape = can_reshape and not has_list(step)
    if result.nbytes > 2**20 and rng.random() < 0.8:
        return random_case(name, array, is_f4, is_transposed)
    return {
        "name": name,
        "steps": steps,
        "shape": list(result.shape),
        "sha256": sha256(packed(result, is_f4)),
    }


# ---- All ------------------------------------------------------------------------------------------------------------


def main(folder):
    folder.mkdir()
    dtypes = list(DTYPES.items())
    tensors, rows, transposed = {}, [], set()
    for index in range(TENSORS):
        dtype, dtype_name = dtypes[index % len(dtypes)]
        tensor = random_tensor(index, dtype)
        name = f"{dtype_name}.{index}"
        tensors[name] = tensor
        if index % 3 == 0 and dtype_name != "F4" and tensor.ndim > 1:
            transposed.add(name)
        rows.append({"name": name, "dtype": dtype_name, "shape": list(elements(tensor).shape)})
    write(folder, tensors, transposed)
    arrays = {name: elements(tensor) for name, tensor in tensors.items()}
    names = list(tensors)
    cases = []
    for index in range(CASES):
        name = names[index % len(names)]
        cases.append(random_case(name, arrays[name], name.startswith("F4."), name in transposed))
    json.dump({"tensors": rows, "cases": cases}, sys.stdout)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
