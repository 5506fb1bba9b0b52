"""Writes one safetensors file with the reference.

The description comes as JSON on stdin: where to write, the file with the raw bytes, and for each tensor its name,
dtype, shape and where its bytes are in that file.
"""

import json
import sys

import numpy
import safetensors.numpy

NAMES = {"U8": "uint8", "F16": "float16", "F32": "float32", "I64": "int64"}

wanted = json.load(sys.stdin)
with open(wanted["raw"], "rb") as file:
    raw = file.read()
arrays = {}
for tensor in wanted["tensors"]:
    part = raw[tensor["start"] : tensor["end"]]
    arrays[tensor["name"]] = numpy.frombuffer(part, NAMES[tensor["dtype"]]).reshape(tensor["shape"])
safetensors.numpy.save_file(arrays, wanted["path"])
