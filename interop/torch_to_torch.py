"""Compares PyTorch files that our converter made with the PyTorch files that it made them of.

Reads a JSON list of {source, output, stateDict} from the input, as compare_converted.py does. Prints for each the names
that are equal in all ways of loading, problems, and how many groups of names share a tensor.
"""

import json
import pathlib
import sys

import torch

from compare_converted import load_original
from make_torch_fixtures import aliases_of, packed_bytes

WAYS = {"weights only": {}, "mapped": {"mmap": True}}


def content(tensor):
    return tensor.dtype, list(tensor.shape), packed_bytes(tensor)


def ties(tensors):
    return sorted(sorted(names) for names in aliases_of(tensors.items()))


def compare(original, found):
    if type(found) is not dict:
        return [f"it is a {type(found).__name__}"]
    if found.keys() != original.keys():
        return [f"{sorted(found.keys() ^ original.keys())} are only in one of them"]
    problems = [f"{name!r} differs" for name, each in original.items() if content(each) != content(found[name])]
    if ties(original) != ties(found):
        problems.append(f"tied are {ties(found)}, not {ties(original)}")
    return problems


def compare_files(source, output, stateDict):
    original = load_original(pathlib.Path(source), stateDict)
    problems = [
        f"{way}: {problem}"
        for way, options in WAYS.items()
        for problem in compare(original, torch.load(output, weights_only=True, **options))
    ]
    return {"equal": [] if problems else list(original), "problems": problems, "ties": len(ties(original))}


json.dump([compare_files(**files) for files in json.load(sys.stdin)], sys.stdout)
