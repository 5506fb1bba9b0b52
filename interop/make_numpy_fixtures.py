"""Writes small NumPy files of every kind, and expected.json: what NumPy itself finds in each of them.

An entry of expected.json has
  made        how the file was made
  tensors     its arrays: name, dtype and shape as safetensors has them, sha256 of the packed little-endian
              bytes
  refused     the code of the error with which this library refuses the file
  tensor      the array that is to blame then

headers.json holds the headers that numpy.save writes for plain dtypes.
"""

import io
import pathlib
import sys
import zipfile
import zlib

import ml_dtypes
import numpy

from fixtures import FIXTURES, sha256, to_json

DTYPES = {
    "b1": "BOOL",
    "i1": "I8",
    "i2": "I16",
    "i4": "I32",
    "i8": "I64",
    "u1": "U8",
    "u2": "U16",
    "u4": "U32",
    "u8": "U64",
    "f2": "F16",
    "f4": "F32",
    "f8": "F64",
    "c8": "C64",
}
SHAPES = [(), (0,), (1,), (7,), (3, 0), (2, 3, 4), (1234567, 0), (10**12, 0), (1,) * 32, (0,) * 64]


def made_of(random, dtype, shape):
    """Random bits; booleans are 0 or 1."""
    dtype = numpy.dtype(dtype)
    count = int(numpy.prod(shape)) * dtype.itemsize
    data = random.integers(0, 2 if dtype == bool else 256, count, dtype=numpy.uint8)
    return data.view(dtype).reshape(shape)


def packed_bytes(array):
    return array.astype(array.dtype.newbyteorder("<"), order="C").tobytes()


def describe(name, array):
    dtype = DTYPES[array.dtype.str[1:]]
    return {"name": name, "dtype": dtype, "shape": list(array.shape), "sha256": sha256(packed_bytes(array))}


def npy(array, version=None):
    file = io.BytesIO()
    numpy.lib.format.write_array(file, array, version)
    return file.getvalue()


def npz(arrays, save=numpy.savez):
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


def by_hand(header, data, version=1):
    """A file with this text as its header, as other programs and old versions of NumPy wrote it."""
    length = len(header).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + data


def zip_of(files):
    """An archive of Python's zipfile, deflated, written to a stream: sizes and checksums follow the data."""

    class Stream(io.BytesIO):
        def seekable(self):
            return False

        def tell(self):
            raise OSError

    stream = Stream()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def cases(random):
    """File, how it was made, its bytes; the code of the refusal and the array to blame, if there is one."""

    def make(dtype, *shape):
        return made_of(random, dtype, shape)

    small = make("<f4", 2, 3)
    yield "one.npy", "numpy.save", npy(small)
    yield "version-2.npy", "version 2.0", npy(small, (2, 0))
    yield "version-3.npy", "version 3.0", npy(make("<i8", 5), (3, 0))
    yield "scalar.npy", "no dimensions", npy(make("<f8"))
    yield "empty.npy", "no elements", npy(make("<f8", 0, 3))
    yield "fortran.npy", "Fortran order", npy(numpy.asfortranarray(make("<f4", 3, 4, 5)))
    yield "big-endian.npy", "big-endian", npy(make(">f8", 4, 5))
    both = numpy.asfortranarray(make(">c8", 4, 5, 2))
    yield "big-endian-fortran.npy", "big-endian, Fortran order", npy(both)
    old = b"{'descr': '>i2', 'fortran_order': False, 'shape': (3L, 2L), }"
    yield "python-2.npy", "as Python 2 wrote it on Windows", by_hand(old + b" \n", make(">i2", 6).tobytes())
    odd = b'\n{"shape":(4,),\t"fortran_order" :True,"descr":"<u2"}'
    yield "by-hand.npy", "other spaces and quotes", by_hand(odd, make("<u2", 4).tobytes(), 2)

    dtypes = {f"{name} {DTYPES[name]}": make(name, 3, 5) for name in DTYPES}
    yield "dtypes.npz", "numpy.savez of every dtype", npz(dtypes)
    big = {name: make(f">{name}", 3, 5) for name in DTYPES}
    yield "big-endian.npz", "numpy.savez of every dtype, big-endian", npz(big)
    unnamed = io.BytesIO()
    numpy.savez(unnamed, small, make("u1", 4))
    yield "unnamed.npz", "numpy.savez of arrays without names", unnamed.getvalue()
    names = ["a/b", "a.npy", "with space", "ünï😀", "constructor", "x" * 300]
    yield "names.npz", "unusual names", npz({name: make("u1", 2) for name in names})
    yield "nothing.npz", "numpy.savez of nothing", npz({})
    long = numpy.arange(200_000, dtype="<i4").reshape(1000, 200) // 100
    compressed = {
        "long": long,
        "zeros": numpy.zeros((300, 200)),
        "noise": make("u1", 3000),
        "big": long.astype(">i8")[:40],
        "fortran": numpy.asfortranarray(long[:30, :40]),
        "scalar": make("<f4"),
        "empty": make("<f4", 0),
    }
    yield "compressed.npz", "numpy.savez_compressed", npz(compressed, numpy.savez_compressed)
    streamed = {f"{name}.npy": npy(array) for name, array in compressed.items()}
    yield "streamed.npz", "compressed and written to a stream", zip_of(streamed)

    structured = numpy.zeros(3, [("a", "<f4"), ("b", "<i4", (2,)), ("é", "S3")])
    yield "structured.npy", "records", npy(structured), "UNSUPPORTED", "arr_0"
    unicode_names = numpy.zeros(3, [("名", "<f4"), ("x", [("y", "u1")])])
    yield "structured-unicode.npy", "records, version 3.0", npy(unicode_names), "UNSUPPORTED", "arr_0"
    objects = numpy.array([1, "a", None], object)
    yield "objects.npy", "Python objects", npy(objects), "UNSUPPORTED", "arr_0"
    with_objects = npz({"fine": small, "objects": objects})
    yield "objects.npz", "an array of Python objects beside another", with_objects, "UNSUPPORTED", "objects"
    for name, array in {
        "strings": numpy.array(["a", "bc"]),
        "bytes": numpy.array([b"a", b"bc"]),
        "dates": numpy.array(["2020-01-01"], "M8[D]"),
        "times": numpy.array([3], "m8[ns]"),
        "complex128": numpy.ones(2, "<c16"),
        "longdouble": numpy.zeros(2, numpy.longdouble),
        "void": numpy.zeros(2, "V5"),
        "bfloat16": numpy.ones(2, ml_dtypes.bfloat16),
        "float8-e4m3": numpy.ones(2, ml_dtypes.float8_e4m3fn),
        "float8-e5m2": numpy.ones(2, ml_dtypes.float8_e5m2),
    }.items():
        yield f"{name}.npy", name, npy(array), "UNSUPPORTED", "arr_0"
    yield "two.npy", "two arrays in one file", npy(small) + npy(small), "TRAILING_BYTES", "arr_0"


def read(path):
    loaded = numpy.load(path, allow_pickle=False)
    if isinstance(loaded, numpy.ndarray):
        return [describe("arr_0", loaded)]
    with loaded:
        # As members, because NumPy gives two names to one that ends in .npy itself.
        return [
            describe(name.removesuffix(".npy"), numpy.lib.format.read_array(loaded.zip.open(name)))
            for name in loaded.zip.namelist()
        ]


def write_all(folder):
    """Writes the files into `folder`, with what is to be expected of them."""
    folder.mkdir(parents=True, exist_ok=True)
    expected = {}
    for file, made, data, *refusal in cases(numpy.random.default_rng(zlib.crc32(b"numpy"))):
        (folder / file).write_bytes(data)
        expected[file] = {"made": made}
        if refusal:
            expected[file] |= {"refused": refusal[0], "tensor": refusal[1]}
        else:
            expected[file] |= {"tensors": read(folder / file)}
    (folder / "expected.json").write_text(to_json(expected), newline="\n")
    headers = [
        {"dtype": DTYPES[name], "shape": list(shape), "header": header_of(name, shape)}
        for name in DTYPES
        for shape in SHAPES
    ]
    (folder / "headers.json").write_text(to_json(headers), newline="\n")


def header_of(name, shape):
    file = io.BytesIO()
    fields = {"descr": numpy.dtype(name).str, "fortran_order": False, "shape": shape}
    numpy.lib.format.write_array_header_1_0(file, fields)
    return file.getvalue().decode("latin1")


if __name__ == "__main__":
    write_all(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else FIXTURES / "numpy")
