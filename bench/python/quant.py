"""Makes weights dense, or casts them, with torch, over and over; only that is timed.

Then hashes the results. All of the tasks that are named, by one thread and by all.
"""

import hashlib
import os
import sys
from collections.abc import Callable
from functools import cache
from time import perf_counter

# Huge pages for both sides; read by torch when it first takes memory.
os.environ["THP_MEM_ALLOC_ENABLE"] = "1"

import torch
from report import report

side, *tasks = sys.argv[1:]
REPEATS = 11

n = int(side)
GROUP = 128


def words(count: int, seed: int) -> torch.Tensor:
    """32 bits each, the same as in JavaScript."""
    i = torch.arange(count, dtype=torch.int64)
    low = 0xFFFFFFFF
    return (((i + seed) * 0x9E3779B9) & low) ^ (((i * 0x85EBCA6B) & low) >> 13)


def as_int32(values: torch.Tensor) -> torch.Tensor:
    return torch.where(values >= 2**31, values - 2**32, values).to(torch.int32)


@cache
def floats(count: int) -> torch.Tensor:
    return as_int32(0x3C000000 | (words(count, 7) >> 9)).view(torch.float32)


@cache
def f8() -> torch.Tensor:
    return as_int32(words(n * n // 4, 1) & 0xF7F7F7F7).view(torch.float8_e4m3fn)


DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16, "f8": torch.float8_e4m3fn}

Compute = Callable[[], torch.Tensor]

# Each computes in 32-bit floats into memory that it has already, and with as few steps as torch allows.
values = torch.empty(n, n)


def gptq(result: torch.Tensor) -> Compute:
    """As GPTQModel does it, but for the order in memory, which is that of a linear layer."""
    qweight = as_int32(words(n * n // 8, 1)).view(n // 8, n)
    scales = floats(n * n // GROUP).view(n // GROUP, 1, n)
    shifts = torch.arange(0, 32, 4, dtype=torch.int32).view(1, 8, 1)

    def compute() -> torch.Tensor:
        codes = torch.bitwise_right_shift(qweight.unsqueeze(1), shifts).bitwise_and_(15).view(-1, GROUP, n)
        torch.mul(codes.sub_(8), scales, out=values.view(-1, GROUP, n))
        return result.copy_(values.t())

    return compute


def awq(result: torch.Tensor) -> Compute:
    qweight = as_int32(words(n * n // 8, 1)).view(n, n // 8)
    scales = floats(n * n // GROUP).view(n // GROUP, 1, n)
    shifts = torch.tensor([0, 16, 4, 20, 8, 24, 12, 28], dtype=torch.int32).view(1, 1, 8)

    def compute() -> torch.Tensor:
        codes = torch.bitwise_right_shift(qweight.unsqueeze(-1), shifts).bitwise_and_(15).view(-1, GROUP, n)
        torch.mul(codes.sub_(8), scales, out=values.view(-1, GROUP, n))
        return result.copy_(values.t())

    return compute


def fp8(result: torch.Tensor) -> Compute:
    codes = f8().view(n // GROUP, GROUP, n // GROUP, GROUP)
    scales = floats((n // GROUP) ** 2).view(n // GROUP, 1, n // GROUP, 1)

    def compute() -> torch.Tensor:
        blocks = values.view(codes.shape)
        torch.mul(blocks.copy_(codes), scales, out=blocks)
        return result.copy_(values)

    return compute


def mxfp4(result: torch.Tensor) -> Compute:
    """As transformers does it for gpt-oss, in 32-bit floats."""
    codes = as_int32(words(n * n // 8, 1)).view(torch.uint8).view(-1, 16)
    exponents = 120 + (words(n * n // 32, 7) >> 29).to(torch.int32).view(-1, 1) - 127
    table = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])

    def compute() -> torch.Tensor:
        blocks = values.view(-1, 32)
        blocks[:, 0::2] = table[(codes & 15).int()]
        blocks[:, 1::2] = table[(codes >> 4).int()]
        torch.ldexp(blocks, exponents, out=blocks)
        return result.copy_(values)

    return compute


def cast(source: str, result: torch.Tensor) -> Compute:
    given = (f8() if source == "f8" else floats(n * n).to(DTYPES[source])).view(n, n)
    return lambda: result.copy_(given)


KINDS = {"gptq": gptq, "awq": awq, "fp8": fp8, "mxfp4": mxfp4}


def measure(compute: Compute) -> dict[str, object]:
    """The first run only brings what it needs into memory."""
    times = []
    for _ in range(REPEATS + 1):
        start = perf_counter()
        result = compute()
        times.append((perf_counter() - start) * 1000)
    checksum = hashlib.sha256(result.view(torch.uint8).numpy().reshape(-1)).hexdigest()
    return {"times": times[1:], "checksum": checksum}


measured = {}
for task in tasks:
    source, _, target = task.partition("-")
    result = torch.empty(n, n, dtype=DTYPES[target or "f32"])
    compute = KINDS[source](result) if source in KINDS else cast(source, result)
    measured[task] = {}
    for name, threads in {"one": 1, "all": os.cpu_count()}.items():
        torch.set_num_threads(threads)
        measured[task][name] = measure(compute)
report(measured=measured)
