"""Writes small PyTorch checkpoints of every kind, and expected.json: what torch itself finds in each of them.

An entry of expected.json has
  made        how the file was made
  globals     the Python names in its pickle, as written there
  stateDict   where the state dict lies, as a dotted path; "" is the top
  tensors     its tensors in their order: name, dtype and shape as safetensors has them, sha256 of the packed
              little-endian bytes, and the first values for a human reader
  outside     tensors that lie beside the state dict, with their whole path
  aliases     groups of names that are the same view of the same storage
  refused     why this library refuses the file; there are no tensors then where torch must not load it or cannot
"""

import codecs
import collections
import io
import json
import os
import pathlib
import pickle
import shutil
import sys
import zlib

import numpy
import torch

import torch_container_cases  # noqa: F401  (adds its cases)
from fixtures import FIXTURES, sha256, to_json
from torch_cases import CASES, DTYPES, SHARDED
from torch_containers import LEGACY, constants_of, load_any, pickles_of


def packed_bytes(tensor):
    tensor = tensor.detach().resolve_conj().resolve_neg().contiguous()
    return tensor.reshape(-1).view(torch.uint8).numpy().tobytes()


def describe(name, tensor):
    dtype, shape = DTYPES[tensor.dtype], list(tensor.shape)
    data = packed_bytes(tensor)
    if dtype == "F4":
        shape[-1] *= 2
        first = ["0x" + data[:2].hex()]
    else:
        first = [str(value.item()) for value in tensor.detach().flatten()[:4]]
    return {"name": name, "dtype": dtype, "shape": shape, "sha256": sha256(data), "first": first}


def is_readable(tensor):
    """Whether safetensors can hold it."""
    return (
        not tensor.is_quantized
        and tensor.layout == torch.strided
        and tensor.device.type != "meta"
        and tensor.dtype in DTYPES
    )


def tensors_of(value, path="", above=()):
    """All tensors below a value, with their dotted paths; a value inside itself is left out."""
    if isinstance(value, torch.Tensor):
        yield path if above else "tensor", value
        return
    if isinstance(value, numpy.ndarray) and value.dtype.kind in "biufc":
        yield path if above else "tensor", torch.from_numpy(value)
        return
    if isinstance(value, torch.nn.Module):
        value = value.state_dict()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    else:
        return
    for key, item in items if id(value) not in above else ():
        name = f"{path}.{key}" if above else str(key)
        yield from tensors_of(item, name, (*above, id(value)))


def aliases_of(tensors):
    groups = collections.defaultdict(list)
    for name, tensor in tensors:
        if tensor.numel():
            view = tensor.untyped_storage().data_ptr(), tensor.storage_offset(), tensor.shape, tensor.stride()
            groups[(*view, tensor.dtype, tensor.is_conj(), tensor.is_neg())].append(name)
    return [names for names in groups.values() if len(names) > 1]


class Inert:
    """Stands for anything a pickle names, and does nothing."""

    def __new__(cls, *_args, **_kwargs):
        return object.__new__(cls)

    def __call__(self, *_args, **_kwargs):
        return self

    __init__ = __setstate__ = __setitem__ = append = extend = lambda *_args, **_kwargs: None


def globals_of(data):
    """The names in a pickle, and in the files inside of it, as written; nothing of it is run."""
    found = set()

    class Reader(pickle.Unpickler):
        def find_class(self, module, name):
            found.add(f"{module}.{name}")
            if (module, name) == ("torch.storage", "_load_from_bytes"):
                return read
            return codecs.encode if (module, name) == ("_codecs", "encode") else Inert

        def persistent_load(self, pid):
            return pid[1] if pid[0] == "module" else Inert()

    def read(data):
        file = io.BytesIO(data)
        # A legacy file has three pickles before that of the object.
        for _ in range(4 if LEGACY in data[:40] or data[:1] == b"L" else 1):
            Reader(file, fix_imports=False).load()
        return Inert()

    read(data)
    return sorted(found)


def expectation(path, made, state_dict="", refused=None, unsupported=None):
    found = {name for data in pickles_of(path) for name in globals_of(data)}
    entry = {"made": made, "globals": sorted(found)}
    if refused:
        return {**entry, "refused": refused}
    if unsupported:
        entry["refused"] = unsupported
    loaded = load_any(path)
    found = [(name, tensor) for name, tensor in tensors_of(loaded) if is_readable(tensor)]
    prefix = f"{state_dict}." if state_dict else ""
    inside = [(name.removeprefix(prefix), tensor) for name, tensor in found if name.startswith(prefix)]
    outside = [(name, tensor) for name, tensor in found if not name.startswith(prefix)]
    if not inside[0][0].startswith("CONSTANTS"):
        outside += [(f"CONSTANTS.{name}", tensor) for name, tensor in constants_of(path).items()]
    return {
        **entry,
        "stateDict": state_dict,
        "tensors": [describe(*item) for item in inside],
        "outside": [describe(*item) for item in outside],
        "aliases": aliases_of(inside),
    }


def write_shards(folder, shards):
    """The layout of transformers: NAME-0000k-of-0000n.bin, and NAME.bin.index.json saying which tensor is where."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    weight_map, tensors, aliases, storages = {}, [], [], {}
    for number, shard in enumerate(shards, 1):
        file = f"pytorch_model-{number:05}-of-{len(shards):05}.bin"
        torch.save(shard, folder / file)
        weight_map |= dict.fromkeys(shard, file)
        tensors += [{**describe(*item), "file": file} for item in shard.items()]
        aliases += aliases_of(shard.items())
        storages |= {
            value.untyped_storage().data_ptr(): value.untyped_storage().nbytes() for value in shard.values()
        }
    index = {
        "metadata": {"total_size": sum(storages.values())},
        "weight_map": dict(sorted(weight_map.items())),
    }
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=2) + "\n", newline="\n")
    return {
        "made": f"{len(shards)} files and an index, as transformers saves them",
        "tensors": tensors,
        "aliases": aliases,
    }


def write_all(folder):
    """Writes the files into `folder` and returns what is to be expected of them."""
    folder.mkdir(parents=True, exist_ok=True)
    expected = {}
    for file, (build, save, options) in CASES.items():
        # Each file by itself, so that a new case leaves the others as they are.
        torch.manual_seed(zlib.crc32(file.encode()))
        save(build(), folder / file)
        expected[file] = expectation(folder / file, **options)
    for name, build in SHARDED.items():
        torch.manual_seed(zlib.crc32(name.encode()))
        expected[f"{name}/pytorch_model.bin.index.json"] = write_shards(folder / name, build())
    (folder / "expected.json").write_text(to_json(expected), newline="\n")


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        # TorchScript writes constants in the order of a set.
        os.execve(sys.executable, sys.orig_argv, {**os.environ, "PYTHONHASHSEED": "0"})
    write_all(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else FIXTURES / "torch")
