"""Checkpoints as people have them, of models and of training: what is saved in each, and how."""

import collections
import copy
import dataclasses
import enum
import random

import numpy
import torch
from torch import nn

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
        self.layers = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 16, bias=False)
        self.head.weight = self.embed.weight


def conv_net():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.PReLU(), nn.ConvTranspose2d(4, 2, 2), nn.GroupNorm(2, 2)
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
    "weight-norm": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)),
    "spectral-norm": lambda: nn.utils.spectral_norm(nn.Linear(3, 2)),
    "half": lambda: conv_net().half(),
    "bfloat16": lambda: LanguageModel().bfloat16(),
    "channels-last": lambda: conv_net().to(memory_format=torch.channels_last),
}

for model, make in MODELS.items():
    case(f"the state dict of a model: {model}", readings=({}, FLAT), name=f"model-{model}.pt")(
        lambda make=make: make().state_dict()
    )
    # What people save with it: the whole module.
    if model in ("perceptron", "conv-net", "transformer", "lstm", "gru", "embedding-bag", "data-parallel"):
        case(f"a whole module of torch's own classes: {model}", name=f"module-{model}.pt")(make)

case("a state dict in the format before 1.6", save=legacy(), name="legacy-state-dict.pt")(
    lambda: LanguageModel().state_dict()
)
case("a whole module in the format before 1.6", save=legacy(), name="legacy-module.pt")(conv_net)
for number in (2, 3, 4, 5):
    case(f"pickle protocol {number}", save=protocol(number), name=f"protocol-{number}.pt")(
        lambda: conv_net().state_dict()
    )
    case(f"the format before 1.6 in pickle protocol {number}", save=legacy(number), name=f"legacy-{number}.pt")(
        lambda: {"state_dict": conv_net().state_dict(), "epoch": 3}
    )


@case("a moving average of a model beside it", readings=({"key": "model"}, {"key": "ema"}, FLAT))
def ema():
    model = conv_net()
    return {"model": model.state_dict(), "ema": copy.deepcopy(model).half().state_dict(), "decay": 0.999}


@case("a state dict with its prefix in an OrderedDict with an attribute of its own")
def annotated():
    state = conv_net().state_dict(prefix="module.")
    state.version = "1.2"
    return state


# ---- Optimizers and what goes with them -----------------------------------------------------------------------------


OPTIMIZERS = {
    "sgd": lambda weights: torch.optim.SGD(weights, 0.1, momentum=0.9, nesterov=True),
    "adam": torch.optim.Adam,
    "adamw-amsgrad": lambda weights: torch.optim.AdamW(weights, amsgrad=True),
    "rmsprop": lambda weights: torch.optim.RMSprop(weights, momentum=0.1, centered=True),
    "adagrad": torch.optim.Adagrad,
    "lbfgs": torch.optim.LBFGS,
}


def trained(make):
    """A model and its optimizer after two steps."""
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1))
    optimizer = make(model.parameters())

    def loss():
        optimizer.zero_grad()
        value = model(numbers(5, 4)).square().mean()
        value.backward()
        return value

    for _ in range(2):
        optimizer.step(loss)
    return model, optimizer


for optimizer, make in OPTIMIZERS.items():
    case(f"the state of an optimizer: {optimizer}", name=f"optimizer-{optimizer}.pt")(
        lambda make=make: trained(make)[1].state_dict()
    )


SCHEDULERS = {
    "step": lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 10),
    "cosine": lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 5),
    "lambda": lambda optimizer: torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.9**epoch),
    "one-cycle": lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, 100),
    "plateau": torch.optim.lr_scheduler.ReduceLROnPlateau,
}

for scheduler, make in SCHEDULERS.items():
    case(f"the state of a scheduler: {scheduler}", readings=(), name=f"scheduler-{scheduler}.pt")(
        lambda make=make: make(trained(OPTIMIZERS["sgd"])[1]).state_dict()
    )


@case("a training checkpoint with all that is needed to go on", readings=({}, {"key": "optimizer.state"}, FLAT))
def training():
    model, optimizer = trained(torch.optim.AdamW)
    return {
        "epoch": 7,
        "state_dict": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": SCHEDULERS["plateau"](optimizer).state_dict(),
        "scaler": torch.amp.GradScaler("cpu").state_dict(),
        "best_acc1": torch.tensor(71.5),
        "rng_state": torch.get_rng_state(),
        "losses": collections.defaultdict(list, train=[0.5, numpy.float64(0.25)]),
    }


@case("all states of random generators, as trainers save them")
def rng_state():
    return {
        "python": random.getstate(),
        "numpy": numpy.random.get_state(),
        "cpu": torch.random.get_rng_state(),
        "cuda": [torch.ByteTensor(16)],
    }


# ---- Trainers -------------------------------------------------------------------------------------------------------


@belongs_to("acme.callbacks")
class SaveBest:
    pass


@belongs_to("acme.callbacks")
class EarlyStop:
    pass


@belongs_to("pytorch_lightning.callbacks.model_checkpoint")
class ModelCheckpoint:
    pass


@belongs_to("pytorch_lightning.utilities.parsing")
class AttributeDict(dict):
    pass


def lightning_checkpoint(*callbacks):
    model, optimizer = trained(torch.optim.Adam)
    return {
        "epoch": 1,
        "global_step": 10,
        "pytorch-lightning_version": "1.4.9",
        "state_dict": model.state_dict(),
        "callbacks": {callback: {"best_model_score": torch.tensor(0.5), "dirpath": "runs"} for callback in callbacks},
        "optimizer_states": [optimizer.state_dict()],
        "lr_schedulers": [{"last_epoch": 1, "_last_lr": [0.1]}],
        "hparams_name": "hparams",
        "hyper_parameters": AttributeDict(lr=0.1, betas=(0.9, 0.99)),
    }


@case("a checkpoint of Lightning, whose callbacks are found by their class", readings=({},))
def lightning():
    return lightning_checkpoint(ModelCheckpoint)


CALLBACKS = "acme.callbacks.SaveBest", "acme.callbacks.EarlyStop"


@case("a checkpoint of Lightning with callbacks of somebody", readings=({},), unknown=CALLBACKS)
def lightning_own():
    return lightning_checkpoint(ModelCheckpoint, SaveBest, EarlyStop)


def training_arguments(package):
    """The class of a trainer's arguments, with the enumerations in it."""

    class IntervalStrategy(str, enum.Enum):
        NO = "no"
        STEPS = "steps"

    class SchedulerType(str, enum.Enum):
        LINEAR = "linear"

    @dataclasses.dataclass
    class TrainingArguments:
        output_dir: str = "out"
        learning_rate: float = 5e-5
        strategy: IntervalStrategy = IntervalStrategy.STEPS
        lr_scheduler_type: SchedulerType = SchedulerType.LINEAR
        optim_args: dict = dataclasses.field(default_factory=lambda: {"betas": (0.9, 0.999), "eps": None})
        device: torch.device = torch.device("cuda", 0)
        dtype: torch.dtype = torch.bfloat16

    for cls, module in ((IntervalStrategy, "trainer_utils"), (SchedulerType, "trainer_utils"), (TrainingArguments, "training_args")):
        cls.__qualname__ = cls.__name__
        belongs_to(f"{package}.{module}")(cls)
    return TrainingArguments()


@case("the arguments of a Trainer of transformers", readings=())
def training_args():
    return training_arguments("transformers")


OWN_ARGUMENTS = [
    "acme.trainer_utils.IntervalStrategy",
    "acme.trainer_utils.SchedulerType",
    "acme.training_args.TrainingArguments",
]


@case("the arguments of somebody's trainer", readings=(), unknown=OWN_ARGUMENTS)
def training_args_own():
    return training_arguments("acme")


@belongs_to("acme.nets")
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2)

    def forward(self, x):
        return self.norm(self.conv(x))


@case("a whole module of a class of somebody", readings=({}, FLAT), unknown=["acme.nets.Net"])
def own_module():
    return Net()


@case("a whole module as YOLO's training saves it", readings=({"key": "model"},), unknown=["acme.nets.Net"])
def own_module_in_checkpoint():
    return {"epoch": -1, "model": Net().half(), "ema": None, "date": "2026-01-02T03:04:05", "optimizer": None}


# ---- TorchScript ----------------------------------------------------------------------------------------------------


@case("a scripted module", save=script_saved, findings=["contains-code"])
def scripted():
    return torch.jit.script(conv_net())


@case("a traced module", save=script_saved, findings=["contains-code"])
def traced():
    return torch.jit.trace(Attention(), numbers(4, 1, 8))
