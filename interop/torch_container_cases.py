"""The PyTorch checkpoints in every container: what is saved in each, and how."""

import bz2
import io
import lzma
import zipfile
import zlib

import torch

from torch_cases import CASES, case, numbers, plain, small_module
from torch_containers import (
    Numbered,
    Storage,
    View,
    committed,
    compressed_by,
    gzipped,
    legacy_with_views,
    pickled,
    tar,
)
from torch_saving import big_endian_save, legacy_save, rezipped, torchscript

DEFLATED = zipfile.ZIP_DEFLATED


def typed():
    """A tensor of each dtype that has a storage class."""
    names = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8".split()
    tensors = {name: numbers(2, 3).abs().to(getattr(torch, name)) for name in names}
    yes = numbers(5) > 0
    return {**tensors, "bool": yes, "complex64": torch.complex(numbers(3), numbers(3))}


# ---- ZIP archives ---------------------------------------------------------------------------------------------------


@case(
    "zipped again, members in reverse order, not compressed",
    save=rezipped(order=lambda names: names[::-1]),
)
def rezipped_reversed():
    return plain()


@case(
    "zipped again, with ZIP64 fields for every member, compressed",
    save=rezipped(zip64=True, method=DEFLATED),
)
def rezipped_zip64():
    return plain()


@case(
    "zipped again into a stream: sizes follow the compressed data",
    save=rezipped(streamed=True, method=DEFLATED),
)
def rezipped_streamed():
    return {**plain(), "tied": (weight := numbers(4, 4)), "again": weight, "transposed": weight.t()}


@case(
    "with the record `.data/version` instead of `version`",
    save=rezipped(rename={"archive/version": "archive/.data/version"}),
)
def data_version():
    return plain()


@case("every dtype with a storage class, as a big-endian machine writes it", save=big_endian_save)
def big_endian_dtypes():
    return {**typed(), "empty": torch.empty(0)}


@case(
    "a dtype without a storage class, as a big-endian machine writes it: torch does not swap its bytes",
    save=big_endian_save,
    unsupported="big-endian",
)
def big_endian_untyped():
    return {"x": torch.arange(4).to(torch.uint16)}


# ---- Pickles one after the other ------------------------------------------------------------------------------------


@case("the format before 1.6: a state dict", save=legacy_save())
def legacy_state_dict():
    return small_module().state_dict()


@case("the format before 1.6: every dtype with a storage class", save=legacy_save())
def legacy_dtypes():
    return typed()


@case("the format before 1.6: tied tensors, views, empty and 0-dimensional ones", save=legacy_save())
def legacy_views():
    weight = numbers(4, 6)
    views = {"again": weight, "transposed": weight.t(), "row": weight[1], "corner": weight[1::2, 2:]}
    return {"weight": weight, **views, "empty": torch.empty(0, 3), "scalar": torch.tensor(5)}


@case("the format before 1.6, pickle protocol 1", save=legacy_save(1))
def legacy_protocol_1():
    return plain()


@case("the format before 1.6, pickle protocol 4", save=legacy_save(4))
def legacy_protocol_4():
    return plain()


@case("the format before 1.6, pickle protocol 5", save=legacy_save(5), state_dict="state_dict")
def legacy_protocol_5():
    return {"state_dict": plain(), "epoch": 3}


@case("the format of 0.3: storages that are parts of others", save=legacy_with_views)
def legacy_parts():
    data = numbers(12)
    whole = Storage(7, data)
    part = Storage(7, data, view=("8", 4, 6))
    return {
        "whole": View(whole, 0, (3, 4), (4, 1)),
        "part": View(part, 0, (6,), (1,)),
        "in part": View(part, 2, (2, 2), (2, 1)),
        "other": View(Storage(11, numbers(4, dtype=torch.int64)), 1, (3,), (1,)),
    }


@case("the format before 1.6: a whole module, with the source of its class", save=legacy_save())
def legacy_module():
    module = torch.nn.Linear(3, 2)
    for parameter in module.parameters():
        parameter.data.copy_(numbers(*parameter.shape))
    return module


# ---- tar archives ---------------------------------------------------------------------------------------------------


def tar_parts():
    storages = {
        94000: numbers(12),
        94001: numbers(5, dtype=torch.int64),
        94002: numbers(3).to(torch.float64),
    }
    parts = [(95000, 94000, 4, 6)]
    tensors = {
        96000: (94000, 0, (3, 4), (4, 1)),
        96001: (95000, 2, (2, 2), (2, 1)),
        96002: (94001, 1, (4,), (1,)),
        96003: (94000, 0, (4, 3), (1, 4)),
        96004: (94002, 2, (), ()),
    }
    value = {
        "weight": Numbered(96000),
        "part": Numbered(96001),
        "ints": Numbered(96002),
        "transposed": Numbered(96003),
        "scalar": Numbered(96004),
        "again": Numbered(96000),
    }
    return storages, parts, tensors, value


@case("the format before 0.2: a tar archive", save=tar())
def tar_archive():
    return tar_parts()


@case(
    "a tar archive as Python wrote it for torch: with a property before each member",
    save=tar(1488888888.25),
)
def tar_properties():
    return tar_parts()


# ---- TorchScript ----------------------------------------------------------------------------------------------------


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 3)
        self.register_buffer("mask", numbers(3, 3) > 0)
        self.register_buffer("scratch", numbers(2), persistent=False)
        self.dim = 3

    def forward(self, x):
        return self.linear(x) * self.mask + torch.tensor([7.0, 8.0, 9.0])


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(0.5))
        self.net = Block()
        self.layers = torch.nn.ModuleList([torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)])
        last = torch.nn.Sequential(torch.nn.LayerNorm(3), torch.nn.ReLU())
        self.named = torch.nn.ModuleDict({"last": last})
        self.shared = self.net.linear
        self.names = ["a", "b"]
        self.sizes = {"x": 1}
        for parameter in self.parameters():
            parameter.data.copy_(numbers(*parameter.shape))

    def forward(self, x):
        x = self.named["last"](self.net(x))
        return self.layers[0](x) + self.layers[1](x) * self.scale


class Wrapper(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = torch.nn.Linear(2, 2).half()
        self.model.weight.data.copy_(numbers(2, 2))

    def forward(self, x):
        return self.model(x)


@case("a scripted module with modules, buffers and constants", save=torchscript(torch.jit.script))
def script_model():
    return Model().eval()


@case("a scripted module whose tensors all lie in one module below it", save=torchscript(torch.jit.script))
def script_wrapper():
    return Wrapper().eval()


@case(
    "a traced module, also with traced inputs",
    save=torchscript(lambda module: torch.jit.trace(module, torch.ones(1, 3))),
)
def script_traced():
    return Model().eval()


class Frozen(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(numbers(2, 3))
        self.bias = torch.nn.Parameter(numbers(2).half())

    def forward(self, x):
        return x @ self.weight.t() + self.bias


@case(
    "a frozen module, whose weights are constants of its code",
    save=torchscript(lambda module: torch.jit.freeze(torch.jit.script(module)), alignment=1),
)
def script_frozen():
    return Frozen().eval()


# ---- Compressed as a whole ------------------------------------------------------------------------------------------


@case("compressed by gzip", save=compressed_by(gzipped))
def gzip():
    return plain()


@case("the format before 1.6, compressed by gzip", save=compressed_by(gzipped, legacy_save()))
def gzip_legacy():
    return plain()


@case("a pickle compressed by zlib, as joblib writes it", save=compressed_by(zlib.compress, pickled(3)))
def zlib_pickle():
    return plain()


@case("compressed by xz", save=compressed_by(lzma.compress), refused="compressed by xz")
def xz():
    return plain()


@case("compressed by bzip2", save=compressed_by(bz2.compress), refused="compressed by bzip2")
def bzip2():
    return plain()


# ---- Pickles of other programs --------------------------------------------------------------------------------------


def with_views():
    weight = numbers(3, 5)
    return {"weight": weight, "row": weight[1], "parameter": torch.nn.Parameter(numbers(2)), "step": 3}


for protocol in range(6):
    made = f"tensors in a pickle of protocol {protocol}"
    CASES[f"pickle-{protocol}.pt"] = with_views, pickled(protocol), {"made": made}


class Holder:
    """Pickles its value as bytes of torch.save, as PyTorch does it with storages."""

    def __init__(self, value):
        self.value = value

    def __reduce__(self):
        buffer = io.BytesIO()
        torch.save(self.value, buffer, _use_new_zipfile_serialization=False)
        return torch.storage._load_from_bytes, (buffer.getvalue(),)


@case("a PyTorch file inside of the pickle of another one", save=legacy_save())
def nested_files():
    inner = {"x": (x := numbers(2, 3)), "tied": x, "deep": Holder({"y": numbers(2)})}
    return {"outer": numbers(2), "inner": Holder(inner)}


# ---- Files of old versions ------------------------------------------------------------------------------------------


@case("written by torch 1.13.1: a state dict", save=committed)
def old_zip():
    return None


@case("written by torch 1.13.1 in the format before 1.6", save=committed)
def old_legacy():
    return None


@case("written by torch 1.13.1: a scripted module", save=committed)
def old_script():
    return None


@case("written by torch 1.13.1: a pickle of protocol 4", save=committed)
def old_pickle():
    return None
