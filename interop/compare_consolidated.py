"""Reads checkpoints that this library put together, and lets torch put the same files of ranks together.

Standard input is a list of {"name", "input", "output"}: the folder of the ranks, and what was made of it. Printed is, by
name, "ours": the tensors of the output as the reference reads them; and for PyTorch's own files "torch": the tensors
that its consolidation writes, or "error": how it failed.
"""

import json
import pathlib
import sys
import tempfile

from safetensors import safe_open
from torch.distributed.checkpoint._consolidate_hf_safetensors import consolidate_safetensors_files

from make_consolidate_fixtures import describe


def read(folder):
    """All tensors of a folder, by name."""
    tensors = []
    for path in sorted(pathlib.Path(folder).glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            tensors += [describe(name, file.get_tensor(name)) for name in file.keys()]  # noqa: SIM118
    return sorted(tensors, key=lambda tensor: tensor["name"])


def consolidated(folder, names):
    """What torch makes of it, in two files."""
    with tempfile.TemporaryDirectory() as output:
        mapping = {name: 1 + number % 2 for number, name in enumerate(names)}
        try:
            consolidate_safetensors_files(folder, output, mapping)
            return {"torch": read(output)}
        except Exception as error:  # Whatever it is, it is to be reported.
            return {"error": f"{type(error).__name__}: {error}"}


found = {}
for case in json.load(sys.stdin):
    ours = read(case["output"])
    found[case["name"]] = {"ours": ours}
    if any(pathlib.Path(case["input"]).glob("shard-*")):
        found[case["name"]] |= consolidated(case["input"], [tensor["name"] for tensor in ours])
json.dump(found, sys.stdout)
