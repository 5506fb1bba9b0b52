"""Reads the NumPy files of a folder with NumPy, prints what it finds in each.

For each file: the first member with a wrong checksum, whether NumPy gives the arrays their members' names,
and for each array its dtype (as NumPy names it), shape, and the sha256 of its bytes.
"""

import json
import pathlib
import sys
import zipfile

import numpy

from fixtures import sha256


def describe(array):
    return {"dtype": array.dtype.str, "shape": list(array.shape), "sha256": sha256(array.tobytes())}


def read(path):
    if path.suffix == ".npy":
        return {"arrays": {"arr_0": describe(numpy.load(path, allow_pickle=False))}}
    with numpy.load(path, allow_pickle=False) as loaded, zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        members = {name: archive.open(f"{name}.npy") for name in names}
        return {
            "damaged": archive.testzip(),
            "names": loaded.files == names,
            "arrays": {name: describe(numpy.lib.format.read_array(file)) for name, file in members.items()},
        }


found = {path.name: read(path) for path in sorted(pathlib.Path(sys.argv[1]).iterdir())}
json.dump(found, sys.stdout)
