"""Writes small quantised checkpoints into the fixtures, and others.json: what their libraries make of them.

An entry of others.json has, for each dense weight of a case, dtype and shape as safetensors has them, and
sha256 of the packed little-endian bytes; where these libraries round more than once it has `bound` instead,
the largest difference that this can make, and the values lie in dense.safetensors.
"""

import pathlib
import shutil
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file

from fixtures import FIXTURES, sha256, to_json
from quant_others import write_cases

DTYPES = {torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32"}
CASES = (
    "bitnet",
    "bitsandbytes-4bit",
    "bitsandbytes-int8",
    "comfyui",
    "comfyui-metadata",
    "comfyui-scaled-fp8",
    "gpt-oss",
    "gpt-oss-original",
    "hqq-float32",
    "mlx-affine-3-bfloat16",
    "mlx-affine-3-float32",
    "mlx-mxfp4-4-float32",
    "mlx-mxfp8-8-float32",
    "mlx-nvfp4-4-float32",
    "quanto-float32",
    "torchao-bfloat16",
)


def describe(tensor, bound):
    entry = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape)}
    if bound is not None:
        return entry | {"bound": bound}
    return entry | {"sha256": sha256(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())}


def write_all(folder):
    """Writes the files into `folder`."""
    expected = {}
    with tempfile.TemporaryDirectory() as made:
        made = pathlib.Path(made)
        for case in write_cases(made, 5):
            name = case["case"]
            if name not in CASES:
                continue
            target = folder / name
            target.mkdir(parents=True, exist_ok=True)
            for file in ("model.safetensors", "config.json"):
                shutil.copyfile(made / name / file, target / file)
            dense = load_file(made / name / "dense.safetensors")
            bounds = case["bounds"]
            if bounds:
                save_file({key: dense[key] for key in bounds}, target / "dense.safetensors")
            expected[name] = {key: describe(tensor, bounds.get(key)) for key, tensor in dense.items()}
    (folder / "others.json").write_text(to_json(expected), newline="\n")


if __name__ == "__main__":
    write_all(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else FIXTURES / "quant")
