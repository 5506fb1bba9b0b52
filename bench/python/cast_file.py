"""Casts all tensors of a file to F32 and writes them to another. `work` leaves the imports out."""

import sys
from time import perf_counter

from report import report
from safetensors.torch import load_file, save_file

source, target = sys.argv[1:]
start = perf_counter()
save_file({name: tensor.float() for name, tensor in load_file(source).items()}, target)
report(work=(perf_counter() - start) * 1000)
