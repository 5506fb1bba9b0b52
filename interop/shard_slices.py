"""Opens files of ranks with safe_open and load_file, and compares them with the slices of a Llama that belong there.

Reads from stdin a JSON list of {folder, model, tp, pp}, ranks in the order of Megatron (neighbours differ in tp), and
prints a list of {file, wrong, tensors}: the names of tensors that are missing, too much or different.
"""

import json
import pathlib
import sys

import torch
from safetensors import safe_open
from safetensors.torch import load_file

COLUMNS = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj", "embed_tokens", "lm_head")
ROWS = ("o_proj", "down_proj")


def stage_of(name, layers, stages):
    """The rule of vLLM's get_pp_indices, and where what is no layer belongs."""
    if not name.startswith("model.layers."):
        return 0 if "embed_tokens" in name else stages - 1
    sizes = [layers // stages] * stages
    for i in range(2, layers % stages + 2):
        sizes[-i] += 1
    layer = int(name.split(".")[2])
    return next(stage for stage in range(stages) if layer < sum(sizes[: stage + 1]))


def slice_of(name, tensor, tp, rank):
    module, _, kind = name.rpartition(".")
    last = module.rpartition(".")[2]
    dim = 0 if last in COLUMNS else 1 if last in ROWS and kind == "weight" else None
    if dim is None:
        return tensor
    # Trailing ranks may have less, or nothing.
    size = -(-tensor.shape[dim] // tp)
    start = min(rank * size, tensor.shape[dim])
    return tensor.narrow(dim, start, min(size, tensor.shape[dim] - start))


def same(one, other):
    return one.dtype == other.dtype and one.shape == other.shape and torch.equal(one, other)


def compare(path, expected):
    found = load_file(path)
    wrong = set(found) ^ set(expected)
    with safe_open(path, framework="pt") as file:
        for name in set(found) & set(expected):
            shape = file.get_slice(name).get_shape()
            if shape != list(expected[name].shape) or not same(file.get_tensor(name), expected[name]):
                wrong.add(name)
            if not same(found[name], expected[name]):
                wrong.add(name)
    return {"file": path.name, "wrong": sorted(wrong), "tensors": len(found)}


results = []
for case in json.load(sys.stdin):
    model = pathlib.Path(case["model"])
    whole = load_file(model / "model.safetensors")
    layers = json.loads((model / "config.json").read_text())["num_hidden_layers"]
    for rank in range(case["tp"] * case["pp"]):
        stage, tp_rank = divmod(rank, case["tp"])
        expected = {
            name: slice_of(name, tensor, case["tp"], tp_rank)
            for name, tensor in whole.items()
            if stage_of(name, layers, case["pp"]) == stage
        }
        path = pathlib.Path(case["folder"]) / f"model-rank-{rank}-part-0.safetensors"
        results.append(compare(path, expected))
json.dump(results, sys.stdout)
