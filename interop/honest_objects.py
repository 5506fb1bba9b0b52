"""Files as people have them: tensors of every kind, objects of Python and NumPy, and formats beside PyTorch's."""

import argparse
import collections
import datetime
import decimal
import fractions
import functools
import gzip
import pathlib
import random
import types
import uuid
import zlib

import numpy
import safetensors.torch
import torch

from honest_saving import FLAT, belongs_to, case, joblib_saved, npy_saved, npz_saved, numbers, pickled

# ---- Tensors --------------------------------------------------------------------------------------------------------


@case("sparse tensors")
def sparse():
    x = torch.eye(4) * 3
    return {"coo": x.to_sparse(), "csr": x.to_sparse_csr(), "bsr": x.to_sparse_bsr((2, 2)), "dense": x}


@case("quantized tensors")
def quantized():
    x, scales, zeros = numbers(2, 3), torch.tensor([0.5, 0.25], dtype=torch.float64), torch.tensor([0, 1])
    return {
        "per tensor": torch.quantize_per_tensor(x, 0.5, 3, torch.qint8),
        "per channel": torch.quantize_per_channel(x, scales, zeros, 0, torch.quint8),
    }


@case("tensors of many dtypes, lazy views, parameters with attributes")
def tensors():
    complex_numbers = torch.complex(numbers(2, 3), numbers(2, 3))
    noted = torch.nn.Parameter(numbers(2))
    noted.note = "seen"
    return {
        **{
            str(dtype): numbers(4).to(dtype) for dtype in (torch.float16, torch.bfloat16, torch.float8_e4m3fn)
        },
        **{
            str(dtype): torch.arange(3).to(dtype)
            for dtype in (torch.uint16, torch.uint64, torch.int8, torch.bool)
        },
        "conj": complex_numbers.conj(),
        "complex128": complex_numbers.to(torch.complex128),
        "expanded": numbers(1).expand(2, 3),
        "empty": torch.empty(0, 3),
        "parameter": noted,
        "buffer": torch.nn.Buffer(numbers(2)),
    }


@case("one tensor")
def tensor():
    return numbers(2, 3)


@case("batches of a data set: a list of pairs")
def batches():
    return [(numbers(2, 3), torch.tensor([0, 1])), (numbers(2, 3), torch.tensor([1, 1]))]


@case("parts of a data set, and a padded batch", readings=())
def datasets():
    data = torch.utils.data.TensorDataset(numbers(3, 2), torch.arange(3))
    return {
        "train": torch.utils.data.Subset(data, [0, 2]),
        "batch": torch.nn.utils.rnn.pack_padded_sequence(numbers(3, 2, 1), [3, 2]),
        "mean": numbers(2),
    }


@case("a storage by itself beside a tensor")
def storage():
    return {"storage": numbers(3).untyped_storage(), "tensor": numbers(2)}


# ---- Objects of Python ----------------------------------------------------------------------------------------------


def objects():
    return {
        "namespace": argparse.Namespace(lr=0.1, name="run", layers=[1, 2]),
        "ordered": collections.OrderedDict(a=1),
        "default": collections.defaultdict(list, a=[1]),
        "nested default": collections.defaultdict(dict, a={1: 2}),
        "counter": collections.Counter("aab"),
        "deque": collections.deque([1, 2], maxlen=3),
        "path": pathlib.Path("out/model"),
        "pure path": pathlib.PureWindowsPath("C:/out"),
        "date": datetime.date(2026, 1, 2),
        "time": datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC),
        "took": datetime.timedelta(hours=3),
        "decimal": decimal.Decimal("0.1"),
        "fraction": fractions.Fraction(1, 3),
        "uuid": uuid.UUID(int=1),
        "partial": functools.partial(torch.nn.LayerNorm, eps=1e-6),
        "simple": types.SimpleNamespace(a=1),
        "generic": list[int],
        "chain": collections.ChainMap({"a": 1}),
        "user": [collections.UserDict(a=1), collections.UserList([1])],
        "random": random.Random(1),
        "set": {1, "a"},
        "frozen": frozenset([1]),
        "complex": 1 + 2j,
        "bytes": b"\x00\xff",
        "bytearray": bytearray(b"abc"),
        "slice": slice(1, 2),
        "range": range(3),
        "type": dict,
        "ellipsis": ...,
        "big": 2**200,
        "text": "é\ud800",
        "size": torch.Size([2, 3]),
        "dtype": torch.float16,
        "device": torch.device("cuda:0"),
        "layout": torch.strided,
    }


for number in (2, 4, 5):
    case(
        f"objects of Python, in protocol {number}", pickled(number), readings=(), name=f"objects-{number}.pkl"
    )(objects)


@case("objects of Python beside tensors")
def objects_and_tensors():
    return {"weight": numbers(2, 2), "objects": objects()}


@case(
    "a memory format, which no earlier protocol can hold", pickled(4), readings=(), name="memory-format.pkl"
)
def memory_format():
    return {"memory_format": torch.channels_last}


@case("settings in argparse.Namespace, as fairseq saves them", readings=({},))
def namespace():
    return {
        "args": argparse.Namespace(arch="transformer"),
        "model": {"w": numbers(2)},
        "extra_state": {"epoch": 1},
    }


@belongs_to("acme.settings")
class Settings:
    pass


@belongs_to("acme.settings")
class Point(collections.namedtuple("Point", "x y")):
    pass


@case("objects of somebody's classes", unknown=["acme.settings.Settings", "acme.settings.Point"])
def own_objects():
    settings = Settings()
    settings.rank, settings.point = 8, Point(1, 2)
    return {"weight": numbers(2), "settings": settings}


@case(
    "an object of somebody's class, in protocol 0",
    pickled(0),
    readings=(),
    unknown=["acme.settings.Settings"],
    name="own-0.pkl",
)
def own_old():
    return Settings()


# ---- NumPy ----------------------------------------------------------------------------------------------------------


def arrays():
    return {
        "f4": numpy.arange(6, dtype="f4").reshape(2, 3),
        "fortran": numpy.asfortranarray(numpy.arange(6.0).reshape(2, 3)),
        "big": numpy.arange(3, dtype=">i2"),
        "bool": numpy.array([True, False]),
        "empty": numpy.zeros((0, 2), "i8"),
    }


def other_numpy():
    return {
        "names": numpy.array(["a", "b"]),
        "objects": numpy.array([1, None, "a"], dtype=object),
        "times": numpy.array(["2026-01-02"], dtype="datetime64[D]"),
        "records": numpy.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]),
        "masked": numpy.ma.masked_array([1, 2], [0, 1]),
        "matrix": numpy.matrix([[1, 2]]),
        "record array": numpy.rec.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]),
        "scalar": numpy.float32(0.5),
        "integer": numpy.int64(3),
        "dtype": numpy.dtype("f4"),
        "type": numpy.float64,
        "state": numpy.random.RandomState(1),
        "generator": numpy.random.default_rng(1),
    }


for number in (2, 4, 5):
    case(f"NumPy arrays, in protocol {number}", pickled(number), name=f"arrays-{number}.pkl")(arrays)
    case(
        f"other objects of NumPy, in protocol {number}",
        pickled(number),
        readings=(),
        name=f"numpy-{number}.pkl",
    )(other_numpy)


@case("NumPy's arrays and scalars beside tensors")
def numpy_and_tensors():
    return {"weight": numbers(2), **arrays(), "step": numpy.int64(3), "loss": numpy.float64(0.5)}


case("an array", npy_saved, readings=(), name="array.npy")(lambda: numpy.arange(6.0).reshape(2, 3))
case("arrays", npz_saved, readings=(), name="arrays.npz")(arrays)
case("an array of objects", npy_saved, readings=(), name="objects.npy")(
    lambda: numpy.array([1, "a", None], dtype=object)
)


# ---- Other formats --------------------------------------------------------------------------------------------------


for number in (2, 4):
    case(f"tensors in a plain pickle, protocol {number}", pickled(number), name=f"tensors-{number}.pkl")(
        lambda: {"w": numbers(2, 3), "p": torch.nn.Parameter(numbers(2)), "args": {"lr": 0.1}}
    )

case("a state dict in a plain pickle", pickled(4), readings=({}, FLAT), name="state-dict.pkl")(
    lambda: torch.nn.Linear(3, 2).state_dict()
)


def sklearn_like():
    return {
        "coef": numpy.arange(6.0).reshape(2, 3),
        "classes": numpy.array(["a", "b"], dtype=object),
        "n": numpy.int64(3),
    }


for number in (3, 4, 5):
    case(f"joblib, protocol {number}", joblib_saved(number), readings=(), name=f"arrays-{number}.joblib")(
        sklearn_like
    )
case("joblib, compressed by zlib", joblib_saved(compress=zlib.compress), readings=(), name="zlib.joblib")(
    sklearn_like
)
case("joblib, compressed by gzip", joblib_saved(compress=gzip.compress), readings=(), name="gzip.joblib")(
    sklearn_like
)

case("safetensors", safetensors.torch.save_file, readings=(), name="model.safetensors")(
    lambda: {"weight": numbers(2, 3), "bias": numbers(2)}
)
