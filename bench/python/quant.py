"""Makes a weight dense, or casts one, with torch, over and over; only that is timed. Then hashes the result."""

import hashlib
import os
import sys
from time import perf_counter

import torch
from report import report

task, threads, side = sys.argv[1:]
REPEATS = 9

n = int(side)
GROUP = 128
torch.set_num_threads(1 if threads == "one" else os.cpu_count())


def words(count: int, seed: int) -> torch.Tensor:
    """32 bits each, the same as in JavaScript."""
    i = torch.arange(count, dtype=torch.int64)
    low = 0xFFFFFFFF
    return (((i + seed) * 0x9E3779B9) & low) ^ (((i * 0x85EBCA6B) & low) >> 13)


def as_int32(values: torch.Tensor) -> torch.Tensor:
    return torch.where(values >= 2**31, values - 2**32, values).to(torch.int32)


def floats(count: int) -> torch.Tensor:
    return as_int32(0x3C000000 | (words(count, 7) >> 9)).view(torch.float32)


def f8() -> torch.Tensor:
    return as_int32(words(n * n // 4, 1) & 0xF7F7F7F7).view(torch.float8_e4m3fn)


out_dtype = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16, "f8": torch.float8_e4m3fn}
source, _, target = task.partition("-")
dtype = out_dtype.get(target or "f32")

# Each computes in 32-bit floats into memory that it has already, and with as few steps as torch allows.
values = torch.empty(n, n)
result = torch.empty(n, n, dtype=dtype) if dtype else None

if source == "gptq":
    # As GPTQModel does it, but for the order in memory, which is that of a linear layer.
    qweight = as_int32(words(n * n // 8, 1)).view(n // 8, n)
    scales = floats(n * n // GROUP).view(n // GROUP, 1, n)
    shifts = torch.arange(0, 32, 4, dtype=torch.int32).view(1, 8, 1)

    def compute() -> torch.Tensor:
        codes = torch.bitwise_right_shift(qweight.unsqueeze(1), shifts).bitwise_and_(15).view(-1, GROUP, n)
        torch.mul(codes.sub_(8), scales, out=values.view(-1, GROUP, n))
        return result.copy_(values.t())

elif source == "awq":
    qweight = as_int32(words(n * n // 8, 1)).view(n, n // 8)
    scales = floats(n * n // GROUP).view(n // GROUP, 1, n)
    shifts = torch.tensor([0, 16, 4, 20, 8, 24, 12, 28], dtype=torch.int32).view(1, 1, 8)

    def compute() -> torch.Tensor:
        codes = torch.bitwise_right_shift(qweight.unsqueeze(-1), shifts).bitwise_and_(15).view(-1, GROUP, n)
        torch.mul(codes.sub_(8), scales, out=values.view(-1, GROUP, n))
        return result.copy_(values.t())

elif source == "fp8":
    codes = f8().view(n // GROUP, GROUP, n // GROUP, GROUP)
    scales = floats((n // GROUP) ** 2).view(n // GROUP, 1, n // GROUP, 1)

    def compute() -> torch.Tensor:
        blocks = values.view(codes.shape)
        torch.mul(blocks.copy_(codes), scales, out=blocks)
        return result.copy_(values)

elif source == "mxfp4":
    # As transformers does it for gpt-oss, in 32-bit floats.
    codes = as_int32(words(n * n // 8, 1)).view(torch.uint8).view(-1, 16)
    exponents = 120 + (words(n * n // 32, 7) >> 29).to(torch.int32).view(-1, 1) - 127
    table = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])

    def compute() -> torch.Tensor:
        blocks = values.view(-1, 32)
        blocks[:, 0::2] = table[(codes & 15).int()]
        blocks[:, 1::2] = table[(codes >> 4).int()]
        torch.ldexp(blocks, exponents, out=blocks)
        return result.copy_(values)

elif source == "copy":
    given = torch.zeros(n * n * int(target), dtype=torch.uint8)
    result = torch.zeros_like(given)

    def compute() -> torch.Tensor:
        return result.copy_(given)

else:
    given = f8() if source == "f8" else floats(n * n).to(out_dtype[source])
    result = torch.empty(n * n, dtype=dtype)

    def compute() -> torch.Tensor:
        return result.copy_(given)


times = []
for _ in range(REPEATS + 1):
    start = perf_counter()
    compute()
    times.append((perf_counter() - start) * 1000)
checksum = hashlib.sha256(result.view(torch.uint8).numpy().reshape(-1)).hexdigest()
report(times=times[1:], checksum=checksum)
