"""The PyTorch checkpoints that the tests read: what is saved in each, and how."""

import argparse
import collections
import datetime
import os
import pathlib
import pickle
import sys
import types
import zipfile

import numpy
import torch

from torch_saving import (
    big_endian_save,
    edited,
    legacy_save,
    like_torch_1_13,
    rezipped,
    to_buffer,
    torch_save,
    torchscript,
    unaligned,
    with_pickle,
    without,
    without_crc,
)

DTYPES = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.uint16: "U16",
    torch.int32: "I32",
    torch.uint32: "U32",
    torch.int64: "I64",
    torch.uint64: "U64",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.complex64: "C64",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.float8_e8m0fnu: "F8_E8M0",
    torch.float8_e4m3fnuz: "F8_E4M3FNUZ",
    torch.float8_e5m2fnuz: "F8_E5M2FNUZ",
    torch.float4_e2m1fn_x2: "F4",
}


# ---- Cases ----------------------------------------------------------------------------------------------------------

CASES = {}


def case(made, save=torch.save, **expected):
    """Registers a function whose result is saved to NAME.pt; two underscores in its name stand for a dot."""

    def register(build):
        CASES[build.__name__.replace("__", ".").replace("_", "-") + ".pt"] = (
            build,
            save,
            {"made": made, **expected},
        )
        return build

    return register


def numbers(*shape, dtype=torch.float32):
    """Small multiples of 1/16, or integers: the same on every machine."""
    return (torch.randint(-128, 128, shape) / (16 if dtype.is_floating_point else 1)).to(dtype)


def small_module():
    module = torch.nn.Sequential(
        torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 2, bias=False)
    )
    for parameter in module.parameters():
        parameter.data.copy_(numbers(*parameter.shape))
    return module


def plain():
    return {"weight": numbers(3, 5), "bias": numbers(5, dtype=torch.bfloat16), "step": torch.tensor(7)}


def every_bit_pattern(dtype):
    data = torch.arange(256).to(torch.uint8)
    return (data % 2 if dtype == torch.bool else data).view(dtype)


class Call:
    """Pickles as a call of `function`; it is never loaded."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def foreign_class(module, name, base=object):
    """A class of a module that nobody else has."""
    made = type(name, (base,), {"__module__": module})
    for path in ("company", module):
        sys.modules[path] = types.ModuleType(path)
    setattr(sys.modules[module], name, made)
    return made


Settings = foreign_class("company.settings", "Settings")
Special = foreign_class("company.tensor", "Special", torch.Tensor)


@case("every dtype that safetensors can hold, with all byte values")
def dtypes():
    return {name: every_bit_pattern(dtype) for dtype, name in DTYPES.items()}


@case("dtypes of more than one dimension; float4_e2m1fn_x2 holds two elements a byte in its last one")
def dtypes_2d():
    return {name: every_bit_pattern(dtype)[:24].reshape(3, -1) for dtype, name in DTYPES.items()}


@case("state_dict of a module: an OrderedDict with a _metadata attribute")
def state_dict():
    return small_module().state_dict()


@case("parameters: bare, with Python attributes, and without gradient; a tensor with an attribute")
def parameters():
    tagged, noted = torch.nn.Parameter(numbers(2, 2)), numbers(2)
    tagged.tag, noted.note = "seen", "hello"
    frozen = torch.nn.Parameter(numbers(2), requires_grad=False)
    return {"bare": torch.nn.Parameter(numbers(2, 3)), "tagged": tagged, "frozen": frozen, "noted": noted}


@case("tensors that require gradients, a leaf and the result of an operation")
def requires_grad():
    leaf = numbers(2, 3).requires_grad_()
    return {"leaf": leaf, "result": leaf * 2}


@case("tied weights: the same view of one storage under several names")
def tied():
    embedding = numbers(6, 4)
    return {
        "wte.weight": embedding,
        "h.bias": numbers(4),
        "lm_head.weight": embedding,
        "copy": embedding.view(6, 4),
    }


@case("different views of one storage: overlapping, adjacent, reshaped")
def views():
    base = numbers(24)
    views = {
        "whole": base,
        "head": base[:10],
        "middle": base[5:15],
        "tail": base[14:],
        "matrix": base.view(4, 6),
    }
    return {**views, "second row": base.view(4, 6)[1], "one": base[23]}


@case("one view of a storage much larger than itself")
def offset():
    return {"x": numbers(500)[490:495]}


@case("views whose elements are not in order in their storage: transposed, permuted, stepped, channels last")
def non_contiguous():
    matrix, cube = numbers(6, 10), numbers(2, 3, 4, dtype=torch.int64)
    return {
        "transposed": matrix.t(),
        "permuted": cube.permute(2, 0, 1),
        "stepped": matrix[::2, 1::3],
        "column": matrix[:, 3],
        "channels_last": numbers(2, 3, 4, 5, dtype=torch.float16).to(memory_format=torch.channels_last),
        "fortran": numbers(5, 3, dtype=torch.float64).t().contiguous().t(),
        "diagonal": matrix.diagonal(),
        "windows": numbers(9, dtype=torch.int16).unfold(0, 4, 2),
        "size one": matrix.as_strided((1, 10, 1), (999, 1, 7)),
        "bytes": numbers(5, 7, dtype=torch.int8).t(),
    }


@case("a transposed tensor of which two elements share a byte")
def non_contiguous_f4():
    return {"packed": every_bit_pattern(torch.float4_e2m1fn_x2)[:12].reshape(3, 4).t()}


@case("expanded tensors: strides of 0")
def expanded():
    return {
        "scalar": torch.tensor(2.5).expand(2, 3),
        "row": numbers(3).expand(4, 3),
        "column": numbers(3, 1).expand(3, 4),
        "nothing": numbers(1).expand(0, 1),
    }


@case("tensors without dimensions and tensors without elements")
def scalar_and_empty():
    return {
        "scalar": torch.tensor(1.5),
        "scalar i64": torch.tensor(-(2**63)),
        "scalar of a storage": numbers(5)[3],
        "[0]": torch.empty(0),
        "[0,3]": torch.empty(0, 3, dtype=torch.int64),
        "[3,0]": torch.empty(3, 0, dtype=torch.bfloat16),
        "[2,0,5]": torch.empty(2, 0, 5, dtype=torch.bool),
        "cut": numbers(4)[4:],
    }


@case("conjugate and negative views: lazy in torch, applied to the data when it is read")
def conj_and_neg():
    value = torch.complex(numbers(2, 3), numbers(2, 3))
    return {
        "plain": value,
        "conj": value.conj(),
        "adjoint": value.t().conj(),
        "neg": torch._neg_view(numbers(4)),
        "imaginary of conj": value.clone().conj().imag,
        "both": torch._neg_view(value.clone().conj()),
        "real": torch.complex(numbers(3), numbers(3)).real,
    }


def optimizer():
    state = {
        index: {"step": torch.tensor(3.0), "exp_avg": numbers(3, 4), "exp_avg_sq": numbers(3, 4)}
        for index in (0, 1)
    }
    return {
        "state": state,
        "param_groups": [{"lr": 0.001, "betas": (0.9, 0.999), "foreach": None, "params": [0, 1]}],
    }


@case("a training checkpoint with its state dict under `state_dict`", state_dict="state_dict")
def training():
    return {"epoch": 3, "state_dict": small_module().state_dict(), "optimizer": optimizer(), "best": 0.75}


@case("a training checkpoint with its state dict under `model`", state_dict="model")
def training_model():
    return {"model": small_module().state_dict(), "optimizer": optimizer(), "args": {"lr": 0.001}}


@case("a state dict two levels down, and nothing else with tensors", state_dict="checkpoint.weights")
def deep():
    return {"checkpoint": {"weights": plain(), "step": 4}, "config": {"layers": [1, 2]}}


@case("two state dicts and no sign of which one is meant", unsupported="several state dicts")
def two_state_dicts():
    return {"generator": plain(), "discriminator": plain(), "step": 9}


@case("a flat dict of tensors and of other values")
def mixed():
    values = {
        "step": 3,
        "lr": 0.5,
        "name": "x",
        "none": None,
        "yes": True,
        "list": [1, "a", None],
        "big": 2**70,
    }
    return {"before": numbers(2), **values, "after": numbers(2), "nested": {"inner": numbers(1)}}


@case("a list of tensors, one of them in a tuple")
def list_of_tensors():
    return [numbers(2), numbers(3), (numbers(1), 5)]


@case("a tensor alone")
def bare_tensor():
    return numbers(2, 3)


@case("names that are hard to handle")
def names():
    names = [
        "",
        "__proto__",
        "constructor",
        "toString",
        "a.b.c",
        "with space",
        " ",
        "tab\t",
        "line\nbreak",
        "nul\0",
    ]
    names += [
        "ünïcödé",
        "层.权重",
        "😀",
        "\ue000",
        "\u2028",
        '"quoted"',
        "back\\slash",
        "../up",
        "/",
        "x" * 300,
    ]
    return {name: torch.tensor([float(index)]) for index, name in enumerate(names)}


@case("a tensor with the one name that a header reserves", refused="reserved name")
def reserved_name():
    return {"weight": numbers(2), "__metadata__": numbers(2)}


@case("a name with half of a surrogate pair, which UTF-8 cannot hold", refused="name")
def surrogate_name():
    return {"half \ud800": numbers(2)}


@case("integers as keys")
def int_keys():
    return {0: numbers(2), 1: numbers(3), 10: numbers(1), -1: numbers(1)}


@case("two keys with the same text", refused="same name")
def same_text_keys():
    return {1: numbers(2), "1": numbers(3)}


@case("two paths with the same text", refused="same name")
def same_text_paths():
    return {"a.b": numbers(2), "a": {"b": numbers(3)}}


@case("a key that is neither text nor an integer", refused="key")
def tuple_key():
    return {(1, 2): numbers(2)}


@case("nothing but settings", refused="no tensors")
def no_tensors():
    return {"lr": 0.1, "steps": [1, 2, 3]}


@case("an empty state dict", refused="no tensors")
def empty():
    return collections.OrderedDict()


@case("saved to a buffer: the folder in the archive is `archive`", save=to_buffer)
def buffer():
    return plain()


@case("saved to a path whose name has more than one dot: the folder in the archive is `with.dots`")
def with__dots():
    return plain()


@case("saved with checksums switched off: they are 0 in the archive", save=without_crc)
def no_crc():
    return plain()


@case("saved with a storage alignment of 1: storages may begin at any byte", save=unaligned)
def alignment_1():
    return {"odd": torch.arange(3).to(torch.uint8), **plain()}


@case(
    "as torch 2.1 to 2.6 write it: without the records .format_version and .storage_alignment",
    save=without(".format_version", ".storage_alignment"),
)
def torch_2__1():
    return plain()


@case(
    "as torch 1.6 to 2.0 write it: also without byteorder, and with storage 10 before storage 2",
    save=edited(like_torch_1_13),
)
def torch_1__13():
    return {f"layer.{index}": numbers(index + 1) for index in range(12)}


@case("without the byteorder record", save=torch_save(_disable_byteorder_record=True))
def no_byteorder():
    return plain()


@case("as a big-endian machine writes it", save=big_endian_save)
def big_endian():
    return {
        "f32": numbers(3, 2),
        "i32": numbers(4, dtype=torch.int32),
        "c64": torch.complex(numbers(3), numbers(3)),
    }


@case(
    "unpacked and zipped again with compression",
    save=rezipped(lambda names: ["archive/", "archive/data/", *names], zipfile.ZIP_DEFLATED),
)
def compressed():
    return {**plain(), "zeros": torch.zeros(1000)}


@case("pickle protocol 4", save=torch_save(pickle_protocol=4))
def protocol_4():
    return {**small_module().state_dict(), "tied": plain()}


@case("pickle protocol 5", save=torch_save(pickle_protocol=5))
def protocol_5():
    return {**small_module().state_dict(), "bytes": bytearray(b"abc")}


@case("harmless objects beside tensors")
def objects():
    return {
        "weight": numbers(2, 2),
        "namespace": argparse.Namespace(lr=0.1, name="run"),
        "path": pathlib.PosixPath("out/model"),
        "size": torch.Size([2, 3]),
        "dtype": torch.bfloat16,
        "device": torch.device("cuda:0"),
        "counter": collections.Counter("aab"),
        "default": collections.defaultdict(list, a=[1]),
        "deque": collections.deque([1, 2], maxlen=3),
        "set": {1},
        "frozen": frozenset([1]),
        "complex": 1 + 2j,
        "bytes": b"\x00\xff",
        "slice": slice(1, 2),
        "range": range(3),
        "date": datetime.datetime(2026, 1, 2, 3, 4, 5),
        "type": dict,
        "storage": numbers(3).untyped_storage(),
        "after": numbers(2),
    }


@case("NumPy scalars and arrays beside tensors: arrays are weights too")
def numpy_objects():
    array = numpy.arange(6, dtype=numpy.float32).reshape(2, 3)
    return {
        "weight": numbers(2),
        "scalar": numpy.float64(0.5),
        "array": array,
        "fortran": numpy.asfortranarray(array),
    }


@case("an instance of a class that nobody knows, beside tensors")
def unknown_class():
    settings = Settings()
    settings.rank = 8
    return {"weight": numbers(2, 2), "settings": settings}


@case("a tensor of a subclass that nobody knows", unsupported="class")
def unknown_subclass():
    return {"plain": numbers(2), "special": numbers(3).as_subclass(Special)}


@case("a value that refers to itself")
def cycle():
    state = {"weight": numbers(2)}
    state["self"] = [state]
    return state


@case("a whole module: classes of torch.nn by name, tensors in their __dict__")
def module():
    return small_module()


class Scale(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(numbers(2))

    def forward(self, x):
        return x * self.weight


@case("a TorchScript archive", save=torchscript(torch.jit.script))
def script():
    return Scale().eval()


UNREADABLE = {
    "coo": ("sparse", lambda: torch.eye(3).to_sparse()),
    "csr": ("sparse", lambda: torch.eye(3).to_sparse_csr()),
    "quantized": ("quantized", lambda: torch.quantize_per_tensor(numbers(4), 0.5, 3, torch.qint8)),
    "per-channel": (
        "quantized",
        lambda: torch.quantize_per_channel(
            numbers(2, 3), torch.tensor([0.5, 0.25]), torch.tensor([0, 1]), 0, torch.quint8
        ),
    ),
    "meta": ("meta", lambda: torch.empty(2, 3, device="meta")),
    "complex128": ("dtype", lambda: torch.zeros(2, dtype=torch.complex128)),
    "complex32": ("dtype", lambda: torch.zeros(2, dtype=torch.complex32)),
}

for name, (reason, build) in UNREADABLE.items():
    CASES[f"unreadable-{name}.pt"] = (
        lambda build=build: {"plain": numbers(2), "other": build()},
        torch.save,
        {
            "made": f"a {name} tensor, which safetensors cannot hold, beside one that it can",
            "unsupported": reason,
        },
    )


@case("the format before 1.6: pickles one after the other", save=legacy_save())
def legacy():
    return numbers(3, 5)


@case(
    "a pickle that torch has not written",
    save=lambda value, path: path.write_bytes(pickle.dumps(value, 2)),
    refused="no tensors",
)
def plain_pickle():
    return {"a": 1}


@case(
    "a ZIP file without a pickle",
    save=lambda value, path: zipfile.ZipFile(path, "w").writestr(zipfile.ZipInfo("notes.txt"), value),
    refused="archive",
)
def other_zip():
    return "hello"


@case("an archive that lacks a storage", save=without("data/0"), refused="storage")
def missing_storage():
    return plain()


@case(
    "an archive with a storage that is too short",
    save=edited(lambda records: {**records, "data/0": b"short"}),
    refused="storage",
)
def short_storage():
    return plain()


def rebuilt(storage, offset, size, stride):
    return {
        "x": Call(
            torch._utils._rebuild_tensor_v2, storage, offset, size, stride, False, collections.OrderedDict()
        )
    }


@case("a view that ends behind its storage", refused="bounds")
def out_of_bounds():
    return rebuilt(torch.zeros(4)._typed_storage(), 1, (4,), (1,))


@case("a view with a negative stride, which torch has not", refused="bounds")
def negative_stride():
    return rebuilt(torch.zeros(4)._typed_storage(), 3, (4,), (-1,))


@case("a view with a negative offset", refused="bounds")
def negative_offset():
    return rebuilt(torch.zeros(4)._typed_storage(), -1, (2,), (1,))


@case("a view with fewer strides than dimensions", refused="bounds")
def few_strides():
    return rebuilt(torch.zeros(4)._typed_storage(), 0, (2, 2), (1,))


@case("one element, repeated 10^12 times by strides of 0", refused="too large")
def expansion_bomb():
    return {"x": torch.zeros(1).expand(10**6, 10**6)}


@case(
    "the pickle asks for posix.system('echo hello'), as os.system is named there",
    refused="global:posix.system",
)
def posix_system():
    return {"weight": numbers(2), "x": Call(os.system, "echo hello")}


@case(
    "the pickle asks for os.system('echo hello')",
    refused="global:os.system",
    save=with_pickle(lambda data: data.replace(b"cposix\nsystem\n", b"cos\nsystem\n")),
)
def os_system():
    return {"weight": numbers(2), "x": Call(os.system, "echo hello")}


@case("the pickle asks for builtins.eval, deep inside a state", refused="global:builtins.eval")
def nested_eval():
    return {"state_dict": plain(), "hooks": [{"inner": (1, Call(eval, "1 + 1"))}]}


@case("a dangerous name that is only mentioned, not called", refused="global:builtins.exec")
def named_exec():
    return {"weight": numbers(2), "x": exec}


@case(
    "a dangerous name in pickle protocol 4, where names are built from strings",
    refused="global:posix.system",
    save=torch_save(pickle_protocol=4),
)
def posix_system_4():
    return {"weight": numbers(2), "x": Call(os.system, "echo hello")}


# ---- Sharded checkpoints --------------------------------------------------------------------------------------------


def plain_shards():
    half = torch.float16
    return [
        {"model.embed.weight": numbers(8, 4, dtype=half), "model.layers.0.weight": numbers(4, 4, dtype=half)},
        {"model.layers.1.weight": numbers(4, 4, dtype=half), "model.layers.1.bias": numbers(4)},
        {"model.norm.weight": numbers(4), "lm_head.weight": numbers(8, 4, dtype=half)},
    ]


def tied_shards():
    embedding = numbers(8, 4, dtype=torch.bfloat16)
    return [
        {"wte.weight": embedding, "lm_head.weight": embedding},
        {"h.0.attn.weight": numbers(4, 12).t(), "h.0.attn.mask": torch.ones(4, 4, dtype=torch.bool).tril()},
        {"h.1.mlp.weight": numbers(4, 4), "ln_f.weight": numbers(4), "step": torch.tensor(12)},
    ]


SHARDED = {"sharded": plain_shards, "sharded-tied": tied_shards}
