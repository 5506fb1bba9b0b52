"""Makes one file for measuring: make_data.py KIND AMOUNT PATH.

model       a language model of AMOUNT GB with random weights, safetensors
model-bin   the same, as PyTorch saves it
zeros       a language model of AMOUNT GB with weights of zero, safetensors; takes no memory to make
bf16        AMOUNT weights of 4,096 x 4,096 numbers in BF16, none of them a NaN
weights     a weight with AMOUNT rows and columns, and one with a quarter of them and what its inputs are like
header      AMOUNT tensors of one element: nearly all of the file is header
cut         a tensor of 16-bit numbers with AMOUNT rows and columns, and one of 32-bit with half as many
one         AMOUNT tensors of one element, and one of 8 MB
sparse      a language model of AMOUNT GB: one tensor of 64 MB has data, the rest of the file are holes
small-bin   AMOUNT tensors of 512 bytes, as PyTorch saves them
tiny-bin    AMOUNT tensors of one element, as PyTorch saves them
sparse-bin  a tensor of AMOUNT GB with zeros, as PyTorch saves it; in the file they are holes
zeros-bin   the same as zeros, as PyTorch saves it
"""

import json
import os
import sys
from collections.abc import Iterator

import numpy
import safetensors.numpy
import safetensors.torch
import torch

MB = 10**6
HIDDEN, INNER, WORDS = 2048, 5632, 32000
LAYER = {
    "input_layernorm": (HIDDEN,),
    "self_attn.q_proj": (HIDDEN, HIDDEN),
    "self_attn.k_proj": (HIDDEN, HIDDEN),
    "self_attn.v_proj": (HIDDEN, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HIDDEN),
    "post_attention_layernorm": (HIDDEN,),
    "mlp.gate_proj": (INNER, HIDDEN),
    "mlp.up_proj": (INNER, HIDDEN),
    "mlp.down_proj": (HIDDEN, INNER),
}


def model_shapes(gigabytes: float) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of a Llama of 16-bit weights; the last tensor is as long as needed to reach the size."""
    left = round(gigabytes * 1e9) // 2
    layers = ((f"model.layers.{i}.{part}.weight", shape) for i in range(10**6) for part, shape in LAYER.items())
    for name, shape in [("model.embed_tokens.weight", (WORDS, HIDDEN))] if gigabytes > 0.5 else []:
        yield name, shape
        left -= WORDS * HIDDEN
    for name, shape in layers:
        count = int(numpy.prod(shape))
        if count >= left:
            yield "lm_head.weight", (left,)
            return
        yield name, shape
        left -= count


def random_model(gigabytes: float) -> dict[str, numpy.ndarray]:
    random = numpy.random.default_rng(0)
    return {
        name: random.integers(1 << 16, size=shape, dtype="uint16").view("float16")
        for name, shape in model_shapes(gigabytes)
    }


def zero_model(gigabytes: float) -> dict[str, numpy.ndarray]:
    return {name: numpy.zeros(shape, "float16") for name, shape in model_shapes(gigabytes)}


def experts(count: int) -> list[str]:
    """Names as a mixture of experts has them: those of the longest headers."""
    parts = ("gate_proj", "up_proj", "down_proj")
    return [f"model.layers.{i // 768}.mlp.experts.{i // 3 % 256}.{parts[i % 3]}.weight" for i in range(count)]


def small_tensors(count: int) -> dict[str, numpy.ndarray]:
    return {name: numpy.zeros(1, "float32") for name in experts(count)}


def random_bits(*shape: int, bits: int) -> numpy.ndarray:
    numbers = numpy.random.default_rng(0).integers(1 << bits, size=shape, dtype=f"uint{bits}")
    return numbers.view(f"float{bits}")


def bf16_weights(count: int) -> dict[str, torch.Tensor]:
    """Random bits, but for the highest of the exponent."""
    random = numpy.random.default_rng(0)
    words = (random.integers(1 << 16, size=(4096, 4096), dtype="uint16") & 0xBFFF for _ in range(count))
    return {f"layers.{i}.weight": torch.from_numpy(bits).view(torch.bfloat16) for i, bits in enumerate(words)}


def weights(side: int) -> dict[str, torch.Tensor]:
    """Inputs that correlate with 0.9 to the power of their distance; eight channels are ten times as loud."""
    make = torch.Generator().manual_seed(0)
    columns = side // 4
    tokens = torch.randn(4 * columns, columns, generator=make)
    for i in range(1, columns):
        tokens[:, i] = 0.9 * tokens[:, i - 1] + (1 - 0.9**2) ** 0.5 * tokens[:, i]
    tokens[:, torch.randperm(columns, generator=make)[:8]] *= 10
    return {
        "large": torch.randn(side, side, generator=make) * 0.02,
        "small": torch.randn(columns, columns, generator=make) * 0.02,
        "hessian": tokens.T @ tokens,
    }


def write_sparse(gigabytes: float, path: str) -> None:
    """Only the header and one tensor in the middle are written; the other bytes take no room on the disk."""
    shapes = [*model_shapes(gigabytes)][:-1]
    weight = random_bits(32 * MB, bits=16)
    shapes.insert(len(shapes) // 2, ("lm_head.weight", weight.shape))
    header, end = {}, 0
    for name, shape in shapes:
        begin, end = end, end + 2 * int(numpy.prod(shape))
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.seek(header["lm_head.weight"]["data_offsets"][0], os.SEEK_CUR)
        weight.tofile(file)
        file.truncate(8 + len(text) + end)


class Sparse:
    """A file in which blocks of zeros become holes."""

    BLOCK = 1 << 20

    def __init__(self, file):
        self.file = file

    def write(self, data) -> int:
        view = memoryview(data).cast("B")
        for start in range(0, len(view), self.BLOCK):
            block = view[start : start + self.BLOCK]
            if len(block) == self.BLOCK and not numpy.frombuffer(block, "uint64").any():
                self.file.seek(self.BLOCK, os.SEEK_CUR)
            else:
                self.file.write(block)
        return len(view)

    def flush(self) -> None:
        self.file.flush()


def as_torch(arrays: dict[str, numpy.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def make(kind: str, amount: float, path: str) -> None:
    if kind == "model":
        safetensors.numpy.save_file(random_model(amount), path)
    elif kind == "zeros":
        safetensors.numpy.save_file(zero_model(amount), path)
    elif kind == "model-bin":
        torch.save(as_torch(random_model(amount)), path)
    elif kind == "header":
        safetensors.numpy.save_file(small_tensors(int(amount)), path)
    elif kind == "cut":
        side = int(amount)
        half, single = random_bits(side, side, bits=16), random_bits(side // 2, side // 2, bits=32)
        safetensors.numpy.save_file({"half": half, "single": single}, path)
    elif kind == "bf16":
        safetensors.torch.save_file(bf16_weights(int(amount)), path)
    elif kind == "weights":
        safetensors.torch.save_file(weights(int(amount)), path)
    elif kind == "one":
        weight = random_bits(4 * MB, bits=16)
        safetensors.numpy.save_file({**small_tensors(int(amount)), "lm_head.weight": weight}, path)
    elif kind == "sparse":
        write_sparse(amount, path)
    elif kind == "small-bin":
        random = numpy.random.default_rng(0)
        torch.save({name: torch.from_numpy(random.random(128, "float32")) for name in experts(int(amount))}, path)
    elif kind == "tiny-bin":
        torch.save({name: torch.tensor([float(i)]) for i, name in enumerate(experts(int(amount)))}, path)
    elif kind == "sparse-bin":
        with open(path, "wb") as file:
            torch.save({"weight": torch.zeros(round(amount * 1e9) // 2, dtype=torch.float16)}, Sparse(file))
    elif kind == "zeros-bin":
        torch.save(as_torch(zero_model(amount)), path)
    else:
        sys.exit(f"there is no kind {kind!r}")


kind, amount, path = sys.argv[1:]
# Under its own name only when it is complete: a file that is there is taken as it is.
make(kind, float(amount), f"{path}.part")
os.replace(f"{path}.part", path)
