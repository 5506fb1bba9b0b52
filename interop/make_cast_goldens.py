"""Writes what PyTorch makes of floats when it casts them: packages/safetensors/test/fixtures/cast-goldens.json.

Inputs are all codes of the 16-bit types, and for the others a sequence that the test makes again. NaNs are compared as
one, since their payload depends on the processor's instructions. With `--check` the file is compared instead of written.
"""

import numpy
import torch
from fixtures import FIXTURES, sha256, write_or_check

COUNT = 200_000
TYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
WORDS = {8: torch.int64, 4: torch.int32, 2: torch.int16}


def sequence(words: int) -> numpy.ndarray:
    """Numbers of 32 bits by the generator of Numerical Recipes."""
    values = numpy.empty(words, "uint32")
    value = 1
    for i in range(words):
        value = (value * 1664525 + 1013904223) & 0xFFFFFFFF
        values[i] = value
    return values


def inputs(name: str) -> torch.Tensor:
    size = TYPES[name].itemsize
    if size == 2:
        data = numpy.arange(1 << 16, dtype="uint16").tobytes()
    else:
        data = sequence(COUNT * size // 4).tobytes()
    tensor = torch.frombuffer(bytearray(data), dtype=TYPES[name])
    if name != "F64":
        return tensor
    # Random exponents of doubles are nearly all out of reach of the others: halves keep theirs near one.
    scaled = torch.frombuffer(bytearray(data), dtype=torch.int64) & ~(0x7F << 56) | (0x3F << 56)
    return torch.cat([tensor, scaled.view(torch.float64)])


def digest(tensor: torch.Tensor) -> str:
    tensor = torch.where(torch.isnan(tensor), torch.zeros((), dtype=tensor.dtype), tensor)
    return sha256(tensor.view(torch.uint8).numpy().tobytes())


goldens = {
    source: {target: digest(inputs(source).to(TYPES[target])) for target in TYPES if target != source}
    for source in TYPES
}
write_or_check(FIXTURES / "cast-goldens.json", goldens)
