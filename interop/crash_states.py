"""Reads checkpoints in the subfolders of a folder, and prints for each which generation its tensors are of.

"index" follows the index where there is one, and loads all files otherwise; "single" takes the single file where there is
one. A number, if all elements of all tensors are the same; otherwise a text that says what is wrong.
"""

import json
import pathlib
import sys

import numpy
from safetensors import safe_open


def values_in(files):
    values = set()
    for path in files:
        with safe_open(path, "numpy") as file:
            for name in file.keys():
                values.update(numpy.unique(file.get_tensor(name)).tolist())
    return values


def generation(files):
    try:
        values = values_in(files)
    except Exception as error:  # noqa: BLE001  Whatever it is, the folder could not be read.
        return f"{type(error).__name__}: {error}"
    return values.pop() if len(values) == 1 else f"a mix of {sorted(values)}"


def indexed(folder):
    index = folder / "model.safetensors.index.json"
    if index.exists():
        return [folder / name for name in set(json.loads(index.read_text())["weight_map"].values())]
    return [path for path in folder.glob("*.safetensors") if not path.name.startswith(".")]


def read(folder):
    single = folder / "model.safetensors"
    by_index = indexed(folder)
    return {
        "index": generation(by_index),
        "single": generation([single] if single.exists() else by_index),
    }


json.dump({path.name: read(path) for path in sorted(pathlib.Path(sys.argv[1]).iterdir())}, sys.stdout)
