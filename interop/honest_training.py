"""Checkpoints of training as people have them: what is saved in each file, and how."""

import collections
import dataclasses
import enum
import random

import numpy
import torch
from torch import nn

from honest_saving import FLAT, belongs_to, case, numbers

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


@case("objects of an optimizer, a scheduler and a scaler, not their states", readings=())
def training_objects():
    optimizer = trained(OPTIMIZERS["sgd"])[1]
    return {
        "optimizer": optimizer,
        "scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10),
        "scaler": torch.amp.GradScaler("cpu"),
    }


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


@case("a scheduler that has a function of its class as an attribute", readings=())
def cyclic_scheduler():
    optimizer = trained(OPTIMIZERS["sgd"])[1]
    return torch.optim.lr_scheduler.CyclicLR(optimizer, 0.01, 0.1)


@case(
    "a training checkpoint with all that is needed to go on", readings=({}, {"key": "optimizer.state"}, FLAT)
)
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
        "callbacks": {
            callback: {"best_model_score": torch.tensor(0.5), "dirpath": "runs"} for callback in callbacks
        },
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
        device: torch.device = dataclasses.field(default_factory=lambda: torch.device("cuda", 0))
        dtype: torch.dtype = torch.bfloat16

    for cls, module in (
        (IntervalStrategy, "trainer_utils"),
        (SchedulerType, "trainer_utils"),
        (TrainingArguments, "training_args"),
    ):
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
