"""Compares converted checkpoints with their PyTorch originals, tensor by tensor and byte by byte.

Reads a JSON list of {source, output, stateDict} from the input: source is a file that torch wrote or an index of such
files, output what our converter made of it. Prints for each the names that are equal and a list of problems.
"""

import json
import pathlib
import sys

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from make_torch_fixtures import packed_bytes, tensors_of
from torch_containers import load_any


def load_original(source, state_dict):
    """name -> tensor, for the tensors of the state dict."""
    if source.suffix == ".json":
        files = sorted(set(json.loads(source.read_text())["weight_map"].values()))
        loaded = {}
        for file in files:
            loaded |= torch.load(source.parent / file)
    else:
        loaded = load_any(source)
    prefix = f"{state_dict}." if state_dict else ""
    found = ((name, tensor) for name, tensor in tensors_of(loaded) if name.startswith(prefix))
    return {name.removeprefix(prefix): tensor for name, tensor in found}


def load_converted(output):
    """name -> tensor and name -> metadata, of one file or of all files that an index names."""
    if output.is_dir():
        index = json.loads(next(output.glob("*.index.json")).read_text())
        files = [output / file for file in sorted(set(index["weight_map"].values()))]
    else:
        files = [output]
    tensors, metadata = {}, {}
    for path in files:
        tensors |= load_file(path)
        with safe_open(path, "pt") as file:
            metadata |= file.metadata() or {}
    return tensors, metadata


def compare(source, output, stateDict):
    original, (converted, metadata) = load_original(source, stateDict), load_converted(output)
    equal, problems = [], [f"{name!r} is not in the original" for name in converted.keys() - original.keys()]
    for name, tensor in original.items():
        # A name that is left out points to the one that is kept, as safetensors.torch does it.
        found = converted.get(name if name in converted else metadata.get(name))
        if found is None:
            problems.append(f"{name!r} is missing")
        elif (found.dtype, found.shape) != (tensor.dtype, tensor.shape):
            problems.append(
                f"{name!r} is {found.dtype} {list(found.shape)}, not {tensor.dtype} {list(tensor.shape)}"
            )
        elif packed_bytes(found) != packed_bytes(tensor):
            problems.append(f"{name!r} has other bytes")
        else:
            equal.append(name)
    return {"equal": equal, "problems": problems}


if __name__ == "__main__":
    pairs = json.load(sys.stdin)
    results = [compare(pathlib.Path(p["source"]), pathlib.Path(p["output"]), p["stateDict"]) for p in pairs]
    json.dump(results, sys.stdout)
