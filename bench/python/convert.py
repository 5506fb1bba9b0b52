"""Converts a PyTorch file to safetensors as people do it in Python. `work` leaves the imports out."""

import sys
from time import perf_counter

import torch
from report import report
from safetensors.torch import save_file

source, target = sys.argv[1:]
start = perf_counter()
save_file(torch.load(source, map_location="cpu", mmap=False, weights_only=True), target)
report(work=(perf_counter() - start) * 1000)
