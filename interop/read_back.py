"""Reads the safetensors files of a folder with the reference, prints what it finds in each.

For each file: header, the bytes (base64) that the reference itself would begin a file of these tensors with (null where
it has no name for a dtype), metadata, and for each tensor its dtype, shape and the sha256 of its bytes as read through
`deserialize`, torch and numpy ("unsupported" where these two say that they do not know the dtype).
"""

import base64
import json
import pathlib
import sys

import ml_dtypes  # noqa: F401  With it numpy knows bfloat16.
import numpy
from safetensors import SafetensorError, deserialize, safe_open

from fixtures import sha256
from format_cases import DTYPES, written
from make_torch_fixtures import packed_bytes


def hash_with(file, name, to_bytes):
    try:
        return sha256(to_bytes(file.get_tensor(name)))
    except (SafetensorError, AttributeError, TypeError, KeyError) as error:
        return f"unsupported: {error}"


def read(path):
    tensors = {name: tensor for name, tensor in deserialize(path.read_bytes())}
    with safe_open(path, "pt") as torch_file, safe_open(path, "numpy") as numpy_file:
        rows = {
            name: {
                "dtype": tensor["dtype"],
                "shape": tensor["shape"],
                "deserialize": sha256(tensor["data"]),
                "torch": hash_with(torch_file, name, packed_bytes),
                "numpy": hash_with(numpy_file, name, numpy.ndarray.tobytes),
            }
            for name, tensor in tensors.items()
        }
        metadata = torch_file.metadata()
    header = None
    if all(row["dtype"] in DTYPES for row in rows.values()):
        specs = [(name, row["dtype"], row["shape"]) for name, row in rows.items()]
        header = base64.b64encode(written(specs, metadata)).decode()
    return {"header": header, "metadata": metadata, "tensors": rows}


json.dump({path.name: read(path) for path in sorted(pathlib.Path(sys.argv[1]).iterdir())}, sys.stdout)
