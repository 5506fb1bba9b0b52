"""Writes format-cases.json and encode-cases.json: what the reference implementation reads and writes.

format-cases.json: small files, valid and not, each with the verdict of the reference:
  name      the rule's group and what is special
  base64    the file
  accepted  whether the reference reads it
  error     its message, where it does not; without a name in it where that is random
  tensors   in the order of (data_offsets, name): name, dtype, shape, data_offsets
  metadata  object, or null where there is none
encode-cases.json: tensors and metadata, with the first bytes (length and header) of the file the reference writes.

Integers above 2^53 - 1 are written as strings. With `--check` the files are compared instead of written.
"""

import base64
import ctypes
import itertools
import json
import os
import pathlib
import tempfile

import safetensors
from safetensors import SafetensorError, TensorSpec, safe_open

from fixtures import FIXTURES, write_or_check
from format_files import all_files

# Names that TensorSpec takes, with the bits of one element. It knows no six-bit floats.
DTYPES = {
    "BOOL": ("bool", 8),
    "F4": ("float4_e2m1fn_x2", 4),
    "U8": ("uint8", 8),
    "I8": ("int8", 8),
    "F8_E5M2": ("float8_e5m2", 8),
    "F8_E4M3": ("float8_e4m3fn", 8),
    "F8_E8M0": ("float8_e8m0fnu", 8),
    "F8_E4M3FNUZ": ("float8_e4m3fnuz", 8),
    "F8_E5M2FNUZ": ("float8_e5m2fnuz", 8),
    "I16": ("int16", 16),
    "U16": ("uint16", 16),
    "F16": ("float16", 16),
    "BF16": ("bfloat16", 16),
    "I32": ("int32", 32),
    "U32": ("uint32", 32),
    "F32": ("float32", 32),
    "C64": ("complex64", 64),
    "F64": ("float64", 64),
    "I64": ("int64", 64),
    "U64": ("uint64", 64),
}


def exact(integers):
    return [value if value < 2**53 else str(value) for value in integers]


# ---- Reading --------------------------------------------------------------------------------------------------------


def in_memory(data):
    """The tensors as (name, dtype, shape), or the error's text."""
    try:
        return {(name, t["dtype"], tuple(t["shape"])) for name, t in safetensors.deserialize(data)}
    except SafetensorError as error:
        return str(error).removeprefix("Error while deserializing: ")


def from_file(path):
    """The same through a file, and the metadata."""
    try:
        with safe_open(path, "numpy") as file:
            slices = {name: file.get_slice(name) for name in file.offset_keys()}
            return {(n, s.get_dtype(), tuple(s.get_shape())) for n, s in slices.items()}, file.metadata()
    except SafetensorError as error:
        return str(error).removeprefix("Error while deserializing header: "), None


def offsets_of(data):
    """name -> data_offsets, of a file that is known to be valid."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    return {name: e["data_offsets"] if isinstance(e, dict) else e[2] for name, e in header.items()}


def verdict(data, folder):
    path = pathlib.Path(folder) / "case.safetensors"
    path.write_bytes(data)
    tensors = in_memory(data)
    again, metadata = from_file(path)
    if isinstance(tensors, str) and isinstance(again, str):
        # Of tensors on one range the reference names any, in the order of a hash map; then no name is recorded.
        error = os.path.commonprefix([again, *(in_memory(data) for _ in range(20))])
        return {"accepted": False, "error": error, "tensors": [], "metadata": None}
    if tensors != again:
        raise SystemExit(f"deserialize and safe_open differ on {data!r}: {tensors} and {again}")
    offsets = offsets_of(data)
    rows = [
        {"name": name, "dtype": dtype, "shape": exact(shape), "data_offsets": exact(offsets[name])}
        for name, dtype, shape in sorted(tensors, key=lambda tensor: (offsets[tensor[0]], tensor[0]))
    ]
    return {
        "accepted": True,
        "error": None,
        "tensors": rows,
        "metadata": metadata and dict(sorted(metadata.items())),
    }


def format_cases():
    with tempfile.TemporaryDirectory() as folder:
        return [
            {"name": name, "base64": base64.b64encode(data).decode(), **verdict(data, folder)}
            for name, data in all_files()
        ]


# ---- Writing --------------------------------------------------------------------------------------------------------


def element_count(shape):
    count = 1
    for size in shape:
        count *= size
    return count


def written(tensors, metadata):
    """Length and header of the file that the reference writes for tensors of zeros."""
    sizes = {name: element_count(shape) * DTYPES[dtype][1] // 8 for name, dtype, shape in tensors}
    zeros = ctypes.create_string_buffer(max(sizes.values(), default=0) + 1)
    specs = {}
    for name, dtype, shape in tensors:
        # Of F4 a TensorSpec is told the bytes of the last dimension.
        told = [*shape[:-1], shape[-1] // 2] if dtype == "F4" else shape
        pointer = ctypes.addressof(zeros)
        specs[name] = TensorSpec(dtype=DTYPES[dtype][0], shape=told, data_ptr=pointer, data_len=sizes[name])
    data = safetensors.serialize(specs, metadata)
    return data[: 8 + int.from_bytes(data[:8], "little")]


def encode_inputs():
    yield [], None
    yield [], {"format": "pt"}
    for dtype in DTYPES:
        yield [("x", dtype, [2, 4])], None
        yield [("x", dtype, [0])], None
    for length in range(1, 9):
        yield [("n" * length, "U8", [1])], None
    for shape in [], [1], [0, 3], [3, 0], [2**40, 0], [1] * 12, [1, 2, 3, 4]:
        yield [("x", "F32", shape)], None
    names = [
        "",
        " ",
        '"quoted"',
        "back\\slash",
        "a/b",
        "\0",
        "\x01\x1f",
        "\b\t\n\f\r",
        "\x0b",
        "\x7f",
        "\x80\x9f",
    ]
    names += [
        "\u2028\u2029",
        "ünïcödé",
        "层.权重",
        "😀",
        "\ufeff",
        "\uffff",
        "e\u0301",
        "<script>&'",
        "__proto__",
    ]
    for name in names:
        yield [(name, "U8", [1])], None
        yield [("x", "U8", [1])], {name: name}
    # The order: alignment of the dtype, downwards; then names by their UTF-8 bytes, where UTF-16 has another order.
    yield [(dtype.lower(), dtype, [2]) for dtype in DTYPES], None
    yield [(dtype.lower(), dtype, [2]) for dtype in reversed(DTYPES)], {"format": "pt"}
    for names in itertools.permutations(["\ue000", "😀", "z"]):
        yield [(name, "F16", [1]) for name in names], None
    yield (
        [
            (name, "I8", [1])
            for name in ["b", "B", "a10", "a2", "a", "a.b", "ab", "A", "", "ä", "_", "\uffff", "𐀀"]
        ],
        None,
    )
    yield [("f", "F32", [0]), ("e", "F32", [1]), ("d", "F32", [0]), ("c", "F64", [0]), ("b", "U8", [3])], None
    yield [(f"layer.{index}.weight", "BF16", [2, 3]) for index in range(12)], {"format": "pt"}
    yield [("x", "BOOL", [3])], {}
    yield [("x", "F32", [1])], {"": ""}
    yield [("x", "F32", [1])], {"json": '{"a":[1,2]}'}


def encode_cases():
    return [
        {
            "tensors": [{"name": n, "dtype": d, "shape": exact(s)} for n, d, s in tensors],
            "metadata": metadata,
            "header": base64.b64encode(written(tensors, metadata)).decode(),
        }
        for tensors, metadata in encode_inputs()
    ]


if __name__ == "__main__":
    write_or_check(FIXTURES / "format-cases.json", format_cases())
    write_or_check(FIXTURES / "encode-cases.json", encode_cases())
