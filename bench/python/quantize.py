"""Quantises weights of a file with torch by one thread, over and over; only that is timed.

Then hashes what would be stored, and writes the codes of GPTQ to another file. The arithmetic is that of
compressed-tensors, transformers and AutoGPTQ, in as few steps as torch allows; interop/ compares with packages.
"""

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import torch
from report import report
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parents[2] / "interop"))
from quant_calibrated import gptq

source, codes_path = sys.argv[1:]
REPEATS = 3
MAX = 448
BLOCK = 128

tensors = load_file(source)
weight, small, hessian = (tensors[name].clone() for name in ("large", "small", "hessian"))
rows, columns = weight.shape
torch.set_num_threads(1)


def to_f8(values: torch.Tensor) -> torch.Tensor:
    return values.clamp_(-MAX, MAX).to(torch.float8_e4m3fn)


def fp8_dynamic() -> list[torch.Tensor]:
    scales = weight.abs().amax(1, keepdim=True) / MAX
    return [to_f8(weight / scales), scales]


def fp8_block() -> list[torch.Tensor]:
    blocks = weight.view(rows // BLOCK, BLOCK, columns // BLOCK, BLOCK)
    factors = MAX / blocks.abs().amax((1, 3))
    return [to_f8(blocks * factors[:, None, :, None]), 1 / factors]


def gptq_int4() -> list[torch.Tensor]:
    """Rounded to nearest, symmetric, by groups of 128; packed as AutoGPTQ does."""
    groups = weight.view(rows, -1, BLOCK)
    scales = 2 * groups.abs().amax(2) / 15
    codes = (groups / scales[..., None]).round_().add_(8).clamp_(0, 15).to(torch.int32)
    shifts = torch.arange(0, 32, 4, dtype=torch.int32)
    words = codes.view(rows, -1, 8).bitwise_left_shift_(shifts).sum(2, dtype=torch.int32)
    zeros = torch.full((columns // BLOCK, rows // 8), 0x77777777, dtype=torch.int32)
    index = torch.arange(columns, dtype=torch.int32) // BLOCK
    return [words.t().contiguous(), zeros, scales.t().contiguous().half(), index]


def measure(compute: Callable[[], object]) -> tuple[list[float], object]:
    times = []
    for _ in range(2 * REPEATS):
        start = perf_counter()
        result = compute()
        times.append((perf_counter() - start) * 1000)
    return times[REPEATS:], result


measured = {}
schemes = {"fp8-dynamic": fp8_dynamic, "fp8-block": fp8_block, "gptq-int4-g128": gptq_int4}
for name, compute in schemes.items():
    times, result = measure(compute)
    state = hashlib.sha256()
    for tensor in result:
        state.update(tensor.view(torch.uint8).numpy().reshape(-1))
    measured[name] = {"times": times, "checksum": state.hexdigest()}
times, result = measure(lambda: gptq(small, hessian, 4, 128, True, False, False))
Path(codes_path).write_bytes(result[0].numpy().tobytes())
report(measured={**measured, "gptq": {"times": times}})
