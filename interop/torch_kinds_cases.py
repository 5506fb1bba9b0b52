"""PyTorch checkpoints with tensors of every kind: what is saved in each, and with which options it is to be read."""

import collections
import sys
import types

import ml_dtypes
import numpy
import torch

from torch_cases import Call, numbers
from torch_saving import torch_save

CASES = {}

QUANTIZED = {"quantized": "raw"}, {"quantized": "dequantize"}
SPARSE = {"sparse": "densify"}, {"sparse": "parts"}


def case(made, *options, save=torch.save):
    """Registers a function whose result is saved to NAME.pt, and read once with each of the options."""

    def register(build):
        CASES[build.__name__.replace("_", "-") + ".pt"] = build, save, made, options or ({},)
        return build

    return register


# ---- Modules --------------------------------------------------------------------------------------------------------


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(5, 3)
        self.norm = torch.nn.BatchNorm1d(3)
        self.blocks = torch.nn.ModuleList([torch.nn.Linear(3, 3), torch.nn.Linear(3, 3, bias=False)])
        self.heads = torch.nn.ModuleDict({"a": torch.nn.Linear(3, 2), "none": torch.nn.Identity()})
        self.scales = torch.nn.ParameterList([torch.ones(2), torch.zeros(1)])
        self.named = torch.nn.ParameterDict({"xy": torch.ones(3)})
        self.register_buffer("steps", torch.tensor(3))
        self.register_buffer("cache", torch.ones(4), persistent=False)
        self.register_buffer("nothing", None)
        self.register_parameter("no_bias", None)
        self.rnn = torch.nn.LSTM(2, 2)
        self.attribute = torch.ones(7)
        self.lm_head = torch.nn.Linear(3, 5, bias=False)
        self.lm_head.weight = self.embed.weight
        self.missing = None


class Settings(dict):
    pass


class Ordered(collections.OrderedDict):
    pass


class Layers(list):
    pass


class ModelCheckpoint:
    pass


# To the pickles they are classes of a package that nobody else has.
sys.modules["company.nets"] = types.ModuleType("company.nets")
for foreign in (Net, Settings, Ordered, Layers, ModelCheckpoint):
    foreign.__module__ = "company.nets"
    setattr(sys.modules["company.nets"], foreign.__name__, foreign)


def net():
    made = Net()
    for tensor in made.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(numbers(*tensor.shape))
    return made


@case("a whole module of a class that nobody knows, with modules, buffers and tied parameters")
def whole_module():
    return net()


@case("a module wrapped for several devices", save=torch_save(pickle_protocol=4))
def wrapped_module():
    return torch.nn.DataParallel(torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3)))


@case(
    "whole modules in a training checkpoint, as YOLO's training saves them",
    {},
    {"key": "model"},
    {"key": "model.blocks.0"},
    {"key": "optimizer.state"},
    {"flatten": True},
)
def module_in_checkpoint():
    model = net()
    optimizer = torch.optim.Adam(model.blocks.parameters())
    for parameter in model.blocks.parameters():
        parameter.grad = numbers(*parameter.shape)
    optimizer.step()
    for state in optimizer.state.values():
        state["exp_avg"], state["exp_avg_sq"] = numbers(3, 3), numbers(3)
    return {"epoch": -1, "model": model, "ema": None, "optimizer": optimizer.state_dict(), "date": "2026"}


@case("two whole modules: which one is meant must be said", {"key": "model"}, {"key": "ema"}, {"key": ""})
def model_and_ema():
    layer = torch.nn.Linear(3, 2)
    average = torch.nn.Linear(3, 2).half()
    for tensor in [*layer.state_dict().values(), *average.state_dict().values()]:
        tensor.copy_(numbers(*tensor.shape))
    return {"epoch": 3, "model": layer, "ema": average}


@case("a training checkpoint of Lightning", {}, {"key": "optimizer_states.0"})
def lightning():
    return {
        "epoch": 1,
        "global_step": 10,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": collections.OrderedDict({"net.weight": numbers(2, 3), "net.bias": numbers(2)}),
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 1}}}},
        "callbacks": {ModelCheckpoint: {"best_model_score": torch.tensor(0.5)}},
        "optimizer_states": [
            {"state": {0: {"exp_avg": numbers(2, 3)}}, "param_groups": [{"params": [0, 1]}]}
        ],
        "lr_schedulers": [{"last_epoch": 1}],
        "hparams_name": "kwargs",
        "hyper_parameters": {"lr": 0.1},
    }


@case("objects of subclasses of dict and list")
def subclasses():
    return Settings(a=numbers(2), b=Ordered(c=numbers(3)), d=Layers([numbers(1), numbers(2)]), e=Settings())


# ---- Kinds of tensors -----------------------------------------------------------------------------------------------


@case("conjugate and negative views of every dtype that can have them")
def lazy_views():
    tensors = {}
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        tensors[str(dtype)] = torch._neg_view(numbers(3, 5).to(dtype).t())
    for dtype in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64):
        tensors[str(dtype)] = torch._neg_view(numbers(7, dtype=torch.int32).to(dtype))
    value = torch.complex(numbers(4, 6), numbers(4, 6))
    value[0, 0] = complex(0.0, -0.0)
    value[0, 1] = complex(float("inf"), float("nan"))
    tied = value.conj()
    return {
        **tensors,
        "conj": tied,
        "tied": tied,
        "slice": value.conj()[1:, ::2],
        "adjoint": value.mH,
        "scalar": value[1, 1].conj(),
        "empty": value[:0].conj(),
        "expanded": value[:1].conj().expand(5, 6),
        "neg of conj": torch._neg_view(value.conj())[1:],
        "imag": value.clone().conj().imag,
        "channels_last": torch._neg_view(numbers(2, 3, 4, 5)).to(memory_format=torch.channels_last),
    }


@case("complex numbers that safetensors has not", {"complex128": "split"})
def complex_numbers():
    value = torch.complex(numbers(4, 3).double(), numbers(4, 3).double())
    half = torch.complex(numbers(5).half(), numbers(5).half())
    return {
        "plain": value,
        "transposed": value.t(),
        "conj": value.conj(),
        "neg": torch._neg_view(value),
        "both": torch._neg_view(value.conj())[1:],
        "scalar": value[2, 1],
        "empty": value[:0],
        "half": half,
        "half conj": half.conj(),
        "f32": numbers(2),
    }


@case("quantized tensors: per tensor and per channel", *QUANTIZED)
def quantized():
    x = numbers(4, 6)
    scales, zeros = torch.tensor([0.1, 0.03, 0.5, 0.7]), torch.tensor([3, 0, -5, 100])
    per_channel = torch.quantize_per_channel(x, scales.double(), zeros, 0, torch.qint8)
    images = numbers(2, 3, 4, 5).to(memory_format=torch.channels_last)
    return {
        "qint8": torch.quantize_per_tensor(x, 0.1, 3, torch.qint8),
        "quint8": torch.quantize_per_tensor(x, 0.07, 128, torch.quint8),
        "qint32": torch.quantize_per_tensor(x * 1e7, 1e-3, -12345, torch.qint32),
        "transposed": torch.quantize_per_tensor(x, 0.1, 3, torch.qint8).t(),
        "row": torch.quantize_per_tensor(x, 0.1, 3, torch.qint8)[1],
        "scalar": torch.quantize_per_tensor(torch.tensor(1.5), 0.1, 3, torch.qint8),
        "empty": torch.quantize_per_tensor(torch.empty(0, 3), 0.1, 3, torch.qint8),
        "axis 0": per_channel,
        "axis 1": torch.quantize_per_channel(x.t(), scales.double(), zeros, 1, torch.qint8),
        "axis 1 of 4": torch.quantize_per_channel(
            images.contiguous(),
            torch.tensor([0.1, 0.2, 0.3]).double(),
            torch.tensor([1, 2, 3]),
            1,
            torch.quint8,
        ),
        "floats": torch.quantize_per_channel(x, scales, torch.tensor([0.5, 1.25, 0, 7]), 0, torch.quint8),
        "32 per channel": torch.quantize_per_channel(x * 1e7, scales.double(), zeros, 0, torch.qint32),
        "plain": x,
    }


@case("sparse tensors of every layout", *SPARSE)
def sparse():
    # Without -0, whose sign torch loses where it adds elements to zeros.
    x = torch.where(torch.arange(24).reshape(4, 6) % 3 == 0, numbers(4, 6), 0)
    twice = torch.sparse_coo_tensor([[2, 0, 2, 2], [1, 1, 1, 0]], [1.5, 2.0, 0.25, 3.0], (3, 2))
    int32 = torch.sparse_csr_tensor(
        torch.tensor([0, 1, 3], dtype=torch.int32),
        torch.tensor([1, 0, 2], dtype=torch.int32),
        numbers(3),
        (2, 3),
    )
    return {
        "coo": x.to_sparse_coo(),
        "twice": twice,
        "twice int": torch.sparse_coo_tensor([[1, 1, 0]], torch.tensor([120, 10, 3], dtype=torch.int8), (3,)),
        "twice complex": torch.sparse_coo_tensor([[1, 1]], torch.tensor([1 + 2j, 3 - 1j]), (2,)),
        "thrice half": torch.sparse_coo_tensor([[1, 1, 1]], torch.tensor([0.1, 2.3, 700.0]).half(), (2,)),
        "thrice bfloat16": torch.sparse_coo_tensor(
            [[1, 1, 1]], torch.tensor([0.1, 2.3, 7.0]).bfloat16(), (2,)
        ),
        "hybrid": torch.sparse_coo_tensor([[2, 0]], numbers(2, 3, 2), (4, 3, 2)),
        "half": x.half().to_sparse_coo(),
        "bool": (x > 0).to_sparse_coo(),
        "f8": torch.sparse_coo_tensor([[2, 0]], numbers(2).to(torch.float8_e4m3fn), (4,)),
        "nothing": torch.zeros(3, 3).to_sparse_coo(),
        "empty": torch.zeros(0, 3).to_sparse_coo(),
        "csr": x.to_sparse_csr(),
        "csc": x.to_sparse_csc(),
        "bsr": x.to_sparse_bsr((2, 3)),
        "bsc": x.to_sparse_bsc((2, 2)),
        "bsr hybrid": torch.sparse_bsr_tensor([0, 1, 2], [1, 0], numbers(2, 2, 1, 3), (4, 2, 3)),
        "batch": torch.sparse_csr_tensor(
            torch.tensor([[0, 1, 2], [0, 0, 2]]), torch.tensor([[1, 0], [0, 2]]), numbers(2, 2), (2, 2, 3)
        ),
        "int32": int32,
        "plain": x,
    }


ARRAY_TYPES = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "?"]


@case("NumPy arrays of every dtype, as weights")
def arrays():
    values = numpy.arange(-6, 6).reshape(3, 4)
    named = {code: values.astype(code) for code in ARRAY_TYPES}
    return {
        **named,
        "big i2": values.astype(">i2"),
        "big f8": values.astype(">f8"),
        "big c8": (values + 1j * values[::-1]).astype(">c8"),
        "fortran": numpy.asfortranarray(values.astype("f4")),
        "scalar": numpy.array(2.5, dtype="f4"),
        "empty": numpy.zeros((0, 3), "f4"),
        "bfloat16": values.astype(ml_dtypes.bfloat16),
        "f8_e4m3": values.astype(ml_dtypes.float8_e4m3fn),
        "names": numpy.array(["a", "b"]),
        "objects": numpy.array([1, None], dtype=object),
        "number": numpy.float32(3),
    }


@case("the same in pickle protocol 5", save=torch_save(pickle_protocol=5))
def arrays_5():
    return arrays()


@case("tensors that were on a device without storages, in the form that PyTorch had for it before 2.0")
def device_tensors():
    def rebuilt(array, dtype):
        return Call(torch._utils._rebuild_device_tensor_from_numpy, array, dtype, "cpu", False)

    return {
        "f32": rebuilt(numpy.arange(6, dtype="f4").reshape(2, 3), torch.float32),
        "i64": rebuilt(numpy.arange(6).reshape(2, 3).T, torch.int64),
        "bf16": rebuilt(
            numpy.array([1, -2.5, 3.14159, 1e-40, numpy.inf, 1.00390625, 1.01171875], dtype="f4"),
            torch.bfloat16,
        ),
        "cpu": Call(
            torch._utils._rebuild_device_tensor_from_cpu_tensor, numbers(2, 3), torch.float32, "cpu", False
        ),
    }


class OldTensor:
    """Pickles as a tensor of PyTorch before 0.2: made empty, filled by its state."""

    def __init__(self, tensor, cls):
        state = tensor._typed_storage(), tensor.storage_offset(), tuple(tensor.shape), tensor.stride()
        self.reduced = cls, (), state

    def __reduce__(self):
        return self.reduced


@case("tensors that are made empty and filled by their state, as before PyTorch 0.2")
def old_tensors():
    base = numbers(6, 4)
    return {
        "float": OldTensor(base, torch.FloatTensor),
        "view": OldTensor(base.t()[1:], torch.FloatTensor),
        "long": OldTensor(torch.arange(3), torch.LongTensor),
        "half": OldTensor(numbers(2).half(), torch.HalfTensor),
        "plain": base,
    }


@case("parameters and buffers")
def parameters_and_buffers():
    return {
        "parameter": torch.nn.Parameter(numbers(2, 3)),
        "conj": torch.nn.Parameter(torch.complex(numbers(2), numbers(2)).conj()),
        "buffer": torch.nn.Buffer(numbers(3)),
        "transient": torch.nn.Buffer(numbers(2), persistent=False),
    }
