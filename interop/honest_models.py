"""Models as people save them: what is saved in each file, and how."""

import copy
import functools

import torch
import torch.nn.functional as F
from torch import nn
from torch.ao import quantization
from transformers.activations import ACT2FN, GELUActivation

from honest_saving import FLAT, belongs_to, case, legacy, numbers, protocol, script_saved

# ---- State dicts ----------------------------------------------------------------------------------------------------


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2)
        self.register_buffer("mask", torch.ones(4, 4, dtype=torch.bool).tril())

    def forward(self, x):
        return self.attention(x, x, x)[0]


class LanguageModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(16, 8)
        self.layers = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(8, 2, 16), 2, enable_nested_tensor=False
        )
        self.head = nn.Linear(8, 16, bias=False)
        self.head.weight = self.embed.weight


def conv_net():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.PReLU(),
        nn.ConvTranspose2d(4, 2, 2),
        nn.GroupNorm(2, 2),
    )


MODELS = {
    "perceptron": lambda: nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Dropout(), nn.Linear(4, 2)),
    "conv-net": conv_net,
    "instance-norm": lambda: nn.InstanceNorm3d(4, affine=True, track_running_stats=True),
    "transformer": lambda: nn.Transformer(8, 2, 1, 1, 16),
    "lstm": lambda: nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2),
    "gru": lambda: nn.GRU(3, 4),
    "attention": Attention,
    "embedding-bag": lambda: nn.EmbeddingBag(10, 3, padding_idx=0),
    "bilinear": lambda: nn.Bilinear(2, 3, 4),
    "tied-language-model": LanguageModel,
    "data-parallel": lambda: nn.DataParallel(conv_net()),
    "compiled": lambda: torch.compile(conv_net()),
    "averaged": lambda: torch.optim.swa_utils.AveragedModel(conv_net()),
    "weight-norm": lambda: nn.utils.weight_norm(nn.Linear(3, 2)),
    "parametrized": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)),
    "spectral-norm": lambda: nn.utils.spectral_norm(nn.Linear(3, 2)),
    "half": lambda: conv_net().half(),
    "bfloat16": lambda: LanguageModel().bfloat16(),
    "channels-last": lambda: conv_net().to(memory_format=torch.channels_last),
}

# Those that are saved as whole modules as well.
WHOLE = (
    "perceptron",
    "conv-net",
    "transformer",
    "lstm",
    "gru",
    "embedding-bag",
    "bilinear",
    "data-parallel",
    "weight-norm",
    "spectral-norm",
)

for model, make in MODELS.items():
    case(f"the state dict of a model: {model}", readings=({}, FLAT), name=f"model-{model}.pt")(
        lambda make=make: make().state_dict()
    )
    if model in WHOLE:
        case(f"a whole module of torch's own classes: {model}", name=f"module-{model}.pt")(make)

case("a state dict in the format before 1.6", save=legacy(), name="legacy-state-dict.pt")(
    lambda: LanguageModel().state_dict()
)
case("a whole module in the format before 1.6", save=legacy(), name="legacy-module.pt")(conv_net)
for number in (2, 3, 4, 5):
    case(f"pickle protocol {number}", save=protocol(number), name=f"protocol-{number}.pt")(
        lambda: conv_net().state_dict()
    )
    case(
        f"the format before 1.6 in pickle protocol {number}", save=legacy(number), name=f"legacy-{number}.pt"
    )(lambda: {"state_dict": conv_net().state_dict(), "epoch": 3})


@case("a moving average of a model beside it", readings=({"key": "model"}, {"key": "ema"}, FLAT))
def ema():
    model = conv_net()
    return {"model": model.state_dict(), "ema": copy.deepcopy(model).half().state_dict(), "decay": 0.999}


@case("a state dict with its prefix in an OrderedDict with an attribute of its own")
def annotated():
    state = conv_net().state_dict(prefix="module.")
    state.version = "1.2"
    return state


# ---- Functions as values ----------------------------------------------------------------------------------------------


def with_functions():
    model = nn.Sequential(nn.Linear(4, 4), nn.TransformerEncoderLayer(4, 2, 8, activation=torch.relu))
    model.activation, model.gate, model.final = torch.relu, torch.sigmoid, functools.partial(F.softmax, dim=-1)
    model.by_name = {"relu": F.relu, "gelu": F.gelu, "tanh": torch.tanh, "silu": F.silu, "softplus": F.softplus}
    model.gelu_tanh = functools.partial(F.gelu, approximate="tanh")
    model.functions = [torch.softmax, torch.matmul, F.conv2d, torch.einsum, F.scaled_dot_product_attention]
    return model


for number in (2, 4):
    case(
        f"a whole module whose attributes are functions of torch, protocol {number}",
        save=protocol(number),
        name=f"functions-{number}.pt",
    )(with_functions)
case("the same in the format before 1.6", save=legacy(), name="functions-legacy.pt")(with_functions)


# Those of pure Python have methods as attributes, which are got by getattr.
ACTIVATIONS = sorted(set(ACT2FN) - {"gelu_python", "gelu_python_tanh", "xielu"})


@case("a whole module with the activations of transformers")
def transformers_activations():
    return nn.ModuleDict({name: ACT2FN[name] for name in ACTIVATIONS})


# ---- Quantized modules ----------------------------------------------------------------------------------------------


def quantized_net():
    model = nn.Sequential(
        quantization.QuantStub(), nn.Conv2d(1, 2, 3), nn.ReLU(), quantization.DeQuantStub()
    ).eval()
    model.qconfig = quantization.get_default_qconfig(torch.backends.quantized.engine)
    prepared = quantization.prepare(model)
    prepared(numbers(1, 1, 8, 8))
    return quantization.convert(prepared)


@case("the state dict of a quantized module")
def quantized_state_dict():
    return quantized_net().state_dict()


@case("the state dict of a module that is quantized as it runs")
def quantized_dynamic_state_dict():
    model = quantization.quantize_dynamic(nn.Sequential(nn.Linear(4, 3), nn.LSTM(3, 2)), dtype=torch.qint8)
    return {
        name: value for name, value in model.state_dict().items() if not isinstance(value, torch.ScriptObject)
    }


QUANTIZED_CLASSES = ["Quantize", "conv.Conv2d", "DeQuantize"]


@case(
    "a whole quantized module",
    readings=(),
    unknown=[f"torch.ao.nn.quantized.modules.{name}" for name in QUANTIZED_CLASSES],
)
def quantized_module():
    return quantized_net()


# ---- TorchScript ----------------------------------------------------------------------------------------------------


@case("a scripted module", save=script_saved, findings=["contains-code"])
def scripted():
    return torch.jit.script(conv_net())


@case("a traced module", save=script_saved, readings=({},), findings=["contains-code"])
def traced():
    return torch.jit.trace(Attention(), numbers(4, 1, 8))


# ---- Modules that have their methods as attributes --------------------------------------------------------------------


@belongs_to("ultralytics.nn.modules.conv")
class Conv(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 2)
        self.forward = self.forward_fuse

    def forward_fuse(self, x):
        return self.conv(x)


@belongs_to("models.layers")
class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(2, 3)
        self.forward = self._forward_fast

    def _forward_fast(self, x):
        return self.inner(x)


@case("a module whose activation and layer are methods", readings=({},))
def methods():
    return nn.Sequential(nn.Linear(2, 2), GELUActivation(use_gelu_python=True), Conv())


@case(
    "the same of a class that nobody knows",
    readings=({},),
    unknown=("models.layers.Layer",),
    findings=("indirect-call",),
)
def unknown_methods():
    return nn.Sequential(Layer())
