"""Converts a PyTorch file to several safetensors files: one takes no header of more than 100 MB. See convert.py."""

import sys
from time import perf_counter

import torch
from report import report
from safetensors.torch import save_file

source, folder, files = sys.argv[1:]
start = perf_counter()
tensors = list(torch.load(source, map_location="cpu", mmap=False, weights_only=True).items())
each = -(-len(tensors) // int(files))
for first in range(0, len(tensors), each):
    save_file(dict(tensors[first : first + each]), f"{folder}/from-{first}.safetensors")
report(work=(perf_counter() - start) * 1000)
