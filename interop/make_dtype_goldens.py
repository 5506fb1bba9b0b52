"""Writes dtype-goldens.json: the 32-bit floats that the originals make of the elements of every dtype.

  patterns     for the small dtypes: the float32 bits (hex) of each bit pattern in its order, for BOOL of 0 and 1
  sha256       for F16 and BF16: hash of the little-endian float32 bits of all 65,536 patterns in their order
  conversions  for the others: [element, float32 bits]; integers in decimal, F64 as its bits in hex

NaN is written as 7fc00000, whatever its sign and payload. Where two originals know a dtype they must agree.
With `--check` the file is compared instead of written.
"""

import ml_dtypes
import numpy
import torch

from fixtures import FIXTURES, sha256, write_or_check

SMALL = {
    "F4": (ml_dtypes.float4_e2m1fn, None, 16),
    "F6_E2M3": (ml_dtypes.float6_e2m3fn, None, 64),
    "F6_E3M2": (ml_dtypes.float6_e3m2fn, None, 64),
    "F8_E5M2": (ml_dtypes.float8_e5m2, torch.float8_e5m2, 256),
    "F8_E4M3": (ml_dtypes.float8_e4m3fn, torch.float8_e4m3fn, 256),
    "F8_E8M0": (ml_dtypes.float8_e8m0fnu, torch.float8_e8m0fnu, 256),
    "F8_E4M3FNUZ": (ml_dtypes.float8_e4m3fnuz, torch.float8_e4m3fnuz, 256),
    "F8_E5M2FNUZ": (ml_dtypes.float8_e5m2fnuz, torch.float8_e5m2fnuz, 256),
    "BOOL": (numpy.bool_, torch.bool, 2),
    "U8": (numpy.uint8, torch.uint8, 256),
    "I8": (numpy.int8, torch.int8, 256),
}
HALF = {"F16": (numpy.float16, torch.float16), "BF16": (ml_dtypes.bfloat16, torch.bfloat16)}
INTEGERS = {
    "I16": (numpy.int16, torch.int16),
    "U16": (numpy.uint16, torch.uint16),
    "I32": (numpy.int32, torch.int32),
    "U32": (numpy.uint32, torch.uint32),
    "I64": (numpy.int64, torch.int64),
    "U64": (numpy.uint64, torch.uint64),
}


def float32_bits(raw, numpy_dtype, torch_dtype):
    """Raw elements as unsigned integers -> their float32 bits."""
    with numpy.errstate(over="ignore"):
        floats = raw.view(numpy_dtype).astype(numpy.float32)
    bits = numpy.where(numpy.isnan(floats), 0x7FC00000, floats.view(numpy.uint32)).astype("<u4")
    if torch_dtype is not None:
        again = torch.from_numpy(raw.copy()).view(torch_dtype).float().numpy()
        assert numpy.array_equal(floats, again, equal_nan=True), (numpy_dtype, floats, again)
        assert numpy.array_equal(
            numpy.signbit(floats[bits != 0x7FC00000]), numpy.signbit(again[bits != 0x7FC00000])
        )
    return bits


def pairs(elements, raw, numpy_dtype, torch_dtype):
    bits = float32_bits(raw, numpy_dtype, torch_dtype)
    return [[element, f"{value:08x}"] for element, value in zip(elements, bits.tolist(), strict=True)]


def integer_cases(numpy_dtype):
    """Small values, ends of the range, and numbers beside the midpoint between two floats. There a detour through
    float64 goes wrong: it rounds to the midpoint, and then a second time."""
    info = numpy.iinfo(numpy_dtype)
    values = {0, 1, 2, 3, 255, 256, info.max, info.max - 1, info.max // 2, info.max // 2 + 1}
    for exponent in range(24, info.bits):
        for last_bit in 0, 1:
            middle = 2**exponent + last_bit * 2 ** (exponent - 23) + 2 ** (exponent - 24)
            values |= {2**exponent, 2**exponent - 1, middle - 1, middle, middle + 1}
    values |= {-value for value in values} | {info.min, info.min + 1}
    return sorted(value for value in values if info.min <= value <= info.max)


def float64_cases():
    values = [
        0.0,
        1.0,
        0.1,
        1 / 3,
        2.0**-126,
        2.0**-149,
        2.0**-150,
        2.0**-151,
        1.5 * 2.0**-149,
        2.5 * 2.0**-149,
    ]
    values += [2.0**-1074, 2.0**-1022, 1.7976931348623157e308, 1e39, float("inf"), float("nan")]
    largest, step = (2 - 2.0**-23) * 2.0**127, 2.0**104
    for middle in (
        1 + 2.0**-24,
        1 + 3 * 2.0**-24,
        largest + step / 2,
        2.0**-150,
        3 * 2.0**-150,
        2.0**-126 - 2.0**-150,
    ):
        values += [middle, numpy.nextafter(middle, 0), numpy.nextafter(middle, numpy.inf)]
    return numpy.array([*values, *(-value for value in values)], "<f8").view("<u8")


def goldens():
    patterns, hashes, conversions = {}, {}, {}
    for name, (numpy_dtype, torch_dtype, count) in SMALL.items():
        bits = float32_bits(numpy.arange(count, dtype=numpy.uint8), numpy_dtype, torch_dtype)
        patterns[name] = [f"{value:08x}" for value in bits.tolist()]
    for name, types in HALF.items():
        hashes[name] = sha256(float32_bits(numpy.arange(2**16, dtype=numpy.uint16), *types).tobytes())
    for name, (numpy_dtype, torch_dtype) in INTEGERS.items():
        values = integer_cases(numpy_dtype)
        raw = numpy.array(values, numpy_dtype)
        conversions[name] = pairs(map(str, values), raw, numpy_dtype, torch_dtype)
    raw = float64_cases()
    conversions["F64"] = pairs([f"{value:016x}" for value in raw.tolist()], raw, numpy.float64, torch.float64)
    return {"patterns": patterns, "sha256": hashes, "conversions": conversions}


if __name__ == "__main__":
    write_or_check(FIXTURES / "dtype-goldens.json", goldens())
