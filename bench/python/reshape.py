"""Splits, merges, extracts or casts a checkpoint as people do it in Python. `work` leaves the imports out."""

import re
import sys
from pathlib import Path
from time import perf_counter

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from report import report
from safetensors import safe_open
from safetensors.torch import load_file, save_file

task, source, target = sys.argv[1:]
start = perf_counter()
if task == "split":
    tensors = load_file(source)
    size = sum(tensor.nbytes for tensor in tensors.values())
    split = split_torch_state_dict_into_shards(tensors, max_shard_size=-(-size // 4))
    Path(target).mkdir()
    for file, names in split.filename_to_tensors.items():
        save_file({name: tensors[name] for name in names}, Path(target, file), metadata={"format": "pt"})
elif task == "merge":
    tensors = {}
    for path in sorted(Path(source).glob("*.safetensors")):
        tensors |= load_file(path)
    save_file(tensors, target)
elif task == "extract":
    with safe_open(source, "pt") as file:
        names = [name for name in file.keys() if re.search(r"\.layers\.\d*[02468]\.", name)]
        save_file({name: file.get_tensor(name) for name in names}, target)
else:
    save_file({name: tensor.to(torch.bfloat16) for name, tensor in load_file(source).items()}, target)
report(work=(perf_counter() - start) * 1000)
