"""Writes what floats become when they are cast: packages/safetensors/test/fixtures/cast-goldens.json.

For each two dtypes one hash, of the result that does not saturate and the one that does, behind one another. Inputs are
all codes of dtypes of at most 16 bits; of the others a sequence that the test makes again, and all values and midpoints
of the target with their two neighbours. NaNs are zeros in the hashed result, since their payload depends on the
processor's instructions, and in the input where the target has none.

The results are computed here by comparing with exact midpoints, and must be those of NumPy, ml_dtypes and PyTorch where
these have the dtype, but for what is named below. With `--check` the file is compared instead of written.
"""

import functools

import ml_dtypes
import numpy
import torch

from fixtures import FIXTURES, sha256, write_or_check

COUNT = 20_000
NUMPY = {
    "F64": numpy.float64,
    "F32": numpy.float32,
    "F16": numpy.float16,
    "BF16": ml_dtypes.bfloat16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
    "F8_E4M3FNUZ": ml_dtypes.float8_e4m3fnuz,
    "F8_E5M2FNUZ": ml_dtypes.float8_e5m2fnuz,
    "F8_E8M0": ml_dtypes.float8_e8m0fnu,
    "F6_E2M3": ml_dtypes.float6_e2m3fn,
    "F6_E3M2": ml_dtypes.float6_e3m2fn,
    "F4": ml_dtypes.float4_e2m1fn,
}
TORCH = {
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
    "F8_E8M0": torch.float8_e8m0fnu,
}
BITS = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4}
UNSIGNED = {1: numpy.uint8, 2: numpy.uint16, 4: numpy.uint32, 8: numpy.uint64}


def bits_of(name):
    return BITS.get(name, 8)


def codes_type(name):
    return UNSIGNED[numpy.dtype(NUMPY[name]).itemsize]


def values_of(name, codes):
    """Codes -> doubles."""
    elements = codes.astype(codes_type(name)).view(NUMPY[name])
    with numpy.errstate(invalid="ignore"):
        return (elements if name == "F64" else elements.astype("float32")).astype("float64")


@functools.cache
def magnitudes(name):
    """The finite values that are not negative, by code."""
    signed = name != "F8_E8M0"
    values = values_of(name, numpy.arange(2 ** (bits_of(name) - signed)))
    return values[numpy.isfinite(values)]


@functools.cache
def sequence(words):
    """Numbers of 32 bits by the generator of Numerical Recipes."""
    values = numpy.empty(words, "uint32")
    value = 1
    for i in range(words):
        value = (value * 1664525 + 1013904223) & 0xFFFFFFFF
        values[i] = value
    return values


def edges(target, source):
    """Values of the target and midpoints between them, each with its neighbours in the source, and all that negated."""
    if target == "F64":
        return numpy.empty(0, NUMPY[source])
    if target == "F32":
        below = sequence(COUNT) % 0x7F800000
        both = below, below + numpy.uint32(1)
        lower, upper = (words.view("float32").astype("float64") for words in both)
        upper[numpy.isinf(upper)] = 2.0**128
    else:
        lower = magnitudes(target)
        last = 2 * lower[-1] if target == "F8_E8M0" else 2 * lower[-1] - lower[-2]
        upper = numpy.append(lower[1:], last)
    points = numpy.concatenate([lower, (lower + upper) / 2]).astype(NUMPY[source])
    words = points.view(codes_type(source))
    one = numpy.array(1, words.dtype)
    words = numpy.concatenate([numpy.maximum(words, one) - one, words, words + one])
    points = words.view(NUMPY[source])
    return numpy.concatenate([points, -points])


@functools.cache
def samples(source):
    """Codes of the source, whatever the target."""
    if bits_of(source) <= 16:
        return numpy.arange(2 ** bits_of(source)).astype(codes_type(source))
    if source == "F32":
        return sequence(COUNT)
    # Random exponents of doubles are nearly all out of reach of the others: halves keep theirs near one.
    words = sequence(2 * COUNT).view("uint64")
    near = words & ~numpy.uint64(0x7F << 56) | numpy.uint64(0x3F << 56)
    return numpy.concatenate([words, near])


def inputs(source, target):
    """Doubles that the source holds."""
    values = values_of(source, samples(source))
    if bits_of(source) > 16:
        values = numpy.concatenate([values, edges(target, source).astype("float64")])
    if bits_of(target) < 8:
        values = numpy.where(numpy.isnan(values), 0, values)
    return values


def exact(values, target, saturates):
    """Doubles -> codes of the target."""
    if target == "F64":
        return values.view("uint64")
    if target == "F32":
        with numpy.errstate(over="ignore"):
            floats = values.astype("float32")
        largest = numpy.finfo("float32").max
        return (numpy.clip(floats, -largest, largest) if saturates else floats).view("uint32")
    steps = magnitudes(target)
    last = len(steps) - 1
    middles = numpy.append((steps[:-1] + steps[1:]) / 2, steps[-1] + (steps[-1] - steps[-2]) / 2)
    magnitude = numpy.abs(values)
    # The number of midpoints below the value, and of those at most the value.
    low, high = (numpy.searchsorted(middles, magnitude, side) for side in ("left", "right"))
    if target == "F8_E8M0":
        middles = steps * 1.5
        # Ties go up, and from the lowest value everything does.
        low = high = numpy.searchsorted(middles[1:], magnitude, "right") + (magnitude > steps[0])
    code = numpy.where(low % 2 == 0, low, high)
    if saturates or bits_of(target) < 8:
        code = numpy.minimum(code, last)
    code[numpy.isnan(values)] = 0
    beyond = code > last
    signs = numpy.signbit(values) & ~numpy.isnan(values)
    if target.endswith("FNUZ"):
        code = numpy.where(signs & (code > 0), code | 0x80, code)
        code[beyond] = 0x80
    elif target != "F8_E8M0":
        code = numpy.where(signs, code | (1 << (bits_of(target) - 1)), code)
    return code.astype(codes_type(target))


def without_nan(codes, target):
    values = values_of(target, codes)
    return numpy.where(numpy.isnan(values), 0, codes).astype(codes.dtype)


def compare(name, values, target, ours, theirs):
    wrong = numpy.flatnonzero(without_nan(ours, target) != without_nan(theirs, target))
    if len(wrong):
        i = wrong[0]
        raise SystemExit(
            f"{name}, {target}: {len(wrong)} differ, as {values[i]!r}: {ours[i]:#x}, {theirs[i]:#x}"
        )


def compare_with_originals(source, target, values):
    # Both round doubles to float32 first, where they do not know better.
    floats = values.astype("float32").astype("float64") if source == "F64" else values
    known = values if target == "F16" else floats
    theirs = known.astype("float32" if target not in ("F16", "F32") else "float64").astype(NUMPY[target])
    mine = exact(known, target, False)
    # For ml_dtypes, zero and negative numbers are NaN as E8M0.
    same = known > 0 if target == "F8_E8M0" else numpy.full(len(known), True)
    compare("ml_dtypes", known[same], target, mine[same], theirs.view(codes_type(target))[same])
    if target in TORCH:
        # Of 8-bit floats only E4M3FN saturates.
        ours = exact(floats, target, target == "F8_E4M3")
        tensor = torch.from_numpy(values if source == "F64" else values.astype("float32")).to(TORCH[target])
        theirs = tensor.view(torch.uint8).numpy().view(codes_type(target))
        compare("PyTorch", floats, target, ours, theirs)


def pack(codes, bits):
    if bits >= 8:
        return codes.tobytes()
    digits = (codes[:, None] >> numpy.arange(bits)) & 1
    return numpy.packbits(digits.astype("uint8").reshape(-1), bitorder="little").tobytes()


def golden(source, target):
    values = inputs(source, target)
    with numpy.errstate(over="ignore", invalid="ignore"):
        if target not in ("F64", "F32"):
            compare_with_originals(source, target, values)
        both = [without_nan(exact(values, target, saturates), target) for saturates in (False, True)]
    return sha256(b"".join(pack(codes, bits_of(target)) for codes in both))


if __name__ == "__main__":
    goldens = {
        source: {target: golden(source, target) for target in NUMPY if target != source} for source in NUMPY
    }
    write_or_check(FIXTURES / "cast-goldens.json", goldens)
