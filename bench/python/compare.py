"""Ends with an error unless a PyTorch file and a safetensors file hold the same tensors, byte for byte."""

import sys

import torch
from safetensors.torch import load_file


def description(tensor: torch.Tensor) -> tuple:
    return tensor.dtype, tensor.shape


source, target = sys.argv[1:]
expected = torch.load(source, map_location="cpu", mmap=True, weights_only=True)
found = load_file(target)
if expected.keys() != found.keys() or not expected:
    sys.exit(f"{target} has other names than {source}")
for name, tensor in expected.items():
    same = description(tensor) == description(found[name])
    # As bytes, since a NaN does not equal itself.
    if not same or not torch.equal(tensor.view(torch.uint8), found[name].view(torch.uint8)):
        sys.exit(f"tensor {name!r} of {target} differs from that of {source}")
