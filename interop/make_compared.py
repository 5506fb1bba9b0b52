"""Writes pairs of checkpoints for the comparison, and prints what numpy finds between them.

For each dtype a tensor in two files, all values at random. Their differences are computed in float64 (integers
of 64 bits with Python's own), with the rule of numpy.isclose; the digests with hashlib.
"""

import hashlib
import json
import pathlib
import struct
import sys

import ml_dtypes
import numpy
import torch

ELEMENTS = 4096

NUMPY = {
    "BOOL": numpy.bool_,
    "U8": numpy.uint8,
    "I8": numpy.int8,
    "F8_E5M2": ml_dtypes.float8_e5m2,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E8M0": ml_dtypes.float8_e8m0fnu,
    "F8_E4M3FNUZ": ml_dtypes.float8_e4m3fnuz,
    "F8_E5M2FNUZ": ml_dtypes.float8_e5m2fnuz,
    "I16": numpy.int16,
    "U16": numpy.uint16,
    "F16": numpy.float16,
    "BF16": ml_dtypes.bfloat16,
    "I32": numpy.int32,
    "U32": numpy.uint32,
    "F32": numpy.float32,
    "C64": numpy.complex64,
    "F64": numpy.float64,
    "I64": numpy.int64,
    "U64": numpy.uint64,
}

# Below 8 bits numpy has an element in each byte, a file has them packed.
PACKED = {
    "F4": (4, ml_dtypes.float4_e2m1fn),
    "F6_E2M3": (6, ml_dtypes.float6_e2m3fn),
    "F6_E3M2": (6, ml_dtypes.float6_e3m2fn),
}

TOLERANCES = [(0.0, 0.0, False), (0.01, 0.05, False), (0.5, 0.0, True), (0.0, 1e-6, True)]


def plain(value):
    return value if numpy.isfinite(value) else str(value)


def integers(a, b, atol, rtol):
    """Exact differences of integers of 64 bits."""
    pairs = [(int(x), int(y)) for x, y in zip(a, b)]
    apart = [(abs(x - y), abs(y)) for x, y in pairs if x != y]
    close = [d <= atol if rtol == 0 else float(d) <= atol + rtol * float(r) for d, r in apart]
    relative = [float("inf") if r == 0 else float(d) / float(r) for d, r in apart]
    return {
        "different": len(apart),
        "beyond": close.count(False),
        "nan": 0,
        "maxAbsolute": str(max((d for d, _ in apart), default=0)),
        "maxRelative": plain(max(relative, default=0.0)),
    }


def numbers(a, b, atol, rtol, equal_nan):
    """Differences in doubles; bits decide about two NaNs, as the tensors have them."""
    wide = numpy.complex128 if a.dtype == numpy.complex64 else numpy.float64
    x, y = a.astype(wide), b.astype(wide)
    same_bytes = a.view(numpy.uint8) == b.view(numpy.uint8)
    same_bits = same_bytes.reshape(a.size, -1).all(axis=1)
    both = numpy.isnan(x) & numpy.isnan(y)
    wrong = (numpy.isnan(x) | numpy.isnan(y)) & ~(both & (same_bits | equal_nan))
    real = ~(numpy.isnan(x) | numpy.isnan(y))
    apart = (x != y) & real
    x, y = x[apart], y[apart]
    difference, reference = numpy.abs(x - y), numpy.abs(y)
    relative = difference / reference
    # An infinite difference of an infinite value is one without end.
    relative[numpy.isnan(relative)] = numpy.inf
    beyond = ~numpy.isclose(x, y, rtol=rtol, atol=atol)
    return {
        "different": int(apart.sum() + wrong.sum()),
        "beyond": int(beyond.sum() + wrong.sum()),
        "nan": int(wrong.sum()),
        "maxAbsolute": plain(float(difference.max(initial=0))),
        "maxRelative": plain(float(relative.max(initial=0))),
    }


def type_of(dtype):
    return PACKED[dtype][1] if dtype in PACKED else NUMPY[dtype]


def pair(dtype, generator):
    """Random bits, the second with a few of them changed, so that values are near and far."""
    size = ELEMENTS * numpy.dtype(type_of(dtype)).itemsize
    high = 2 if dtype == "BOOL" else 2 ** PACKED[dtype][0] if dtype in PACKED else 256
    a = generator.integers(0, high, size, dtype=numpy.uint8)
    b = a.copy()
    b[generator.integers(0, size, size // 4)] ^= 1
    b[:64] = generator.integers(0, high, 64, dtype=numpy.uint8)
    return a, b


def packed(dtype, codes):
    """The bytes in a file: the first element in the lowest bits."""
    if dtype not in PACKED:
        return codes.tobytes()
    bits = numpy.unpackbits(codes[:, None], axis=1, bitorder="little")[:, : PACKED[dtype][0]]
    return numpy.packbits(bits.reshape(-1), bitorder="little").tobytes()


def write(path, tensors):
    header, data = {}, b""
    for name, codes in tensors.items():
        piece = packed(name, codes)
        offsets = [len(data), len(data) + len(piece)]
        header[name] = {"dtype": name, "shape": [ELEMENTS], "data_offsets": offsets}
        data += piece
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True)
generator = numpy.random.default_rng(11)
numpy.seterr(all="ignore")
pairs = {dtype: pair(dtype, generator) for dtype in [*NUMPY, *PACKED]}
for position, name in enumerate(["a.safetensors", "b.safetensors"]):
    write(folder / name, {dtype: both[position] for dtype, both in pairs.items()})

found = []
for atol, rtol, equal_nan in TOLERANCES:
    differences = {}
    for dtype, (left, right) in pairs.items():
        a, b = left.view(type_of(dtype)), right.view(type_of(dtype))
        wide = dtype in ("I64", "U64")
        differences[dtype] = integers(a, b, atol, rtol) if wide else numbers(a, b, atol, rtol, equal_nan)
    found.append({"atol": atol, "rtol": rtol, "equalNan": equal_nan, "differences": differences})

# A checkpoint in two dtypes: what --cast compares.
weights = torch.randn(50, 60, generator=torch.Generator().manual_seed(1))
torch.save({"w": weights}, folder / "wide.pt")
torch.save({"w": weights.bfloat16()}, folder / "narrow.pt")
apart = (weights.double() - weights.bfloat16().double()).abs()
cast = {
    "different": int((apart != 0).sum()),
    "maxAbsolute": float(apart.max()),
    "maxRelative": float((apart / weights.bfloat16().double().abs()).max()),
}


def sha256(data):
    return hashlib.sha256(data).hexdigest()


digests = {
    "file": sha256((folder / "a.safetensors").read_bytes()),
    "tensors": {dtype: sha256(packed(dtype, left)) for dtype, (left, _) in pairs.items()},
}
json.dump({"found": found, "cast": cast, "digests": digests}, sys.stdout)
