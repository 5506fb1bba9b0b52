"""Device maps of accelerate for small models, on the meta device.

Usage: parallel_device_maps.py. Prints JSON of {amounts, cases}: pairs of an amount of memory and its bytes,
null for none; and a list of {case, by_names, tensors, aliases, whole, settings}: whether names are enough to
tell the order and the modules that are not split; the tensors with their bytes, in the order of the model;
names of tensors that are others; the class of each module that is not split; and for each setting {memory,
strategy, map}: a map without modules that have no tensors, as no checkpoint has them, and then cleaned; null
where accelerate fails, as it does for some tensors that are tied to one which is not in a module of its own.
"""

import itertools
import json
import logging
import random

import torch
from accelerate import infer_auto_device_map
from accelerate.utils import find_tied_parameters, get_balanced_memory
from accelerate.utils.modeling import clean_device_map, convert_file_size_to_int
from parallel_models import LLAMA, PLANNED, SIZES
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM

logging.disable()
random.seed(7)

DEEP = {"num_hidden_layers": 5}
TIED = DEEP | {"tie_word_embeddings": True}
OLDER = {"vocab_size": 97, "n_embd": 64, "hidden_size": 64, "n_layer": 5, "n_head": 8}
T5 = {"vocab_size": 97, "d_model": 64, "d_kv": 8, "d_ff": 96, "num_layers": 3, "num_decoder_layers": 4}
ALSO_TIED = ("llama", "qwen2", "gemma", "mixtral", "phi3")
MODELS = (
    {name: (name, sizes | DEEP) for name, sizes in PLANNED.items()}
    | {f"{name}-tied": (name, PLANNED[name] | TIED) for name in ALSO_TIED}
    | {
        "gpt2": ("gpt2", OLDER),
        "bloom": ("bloom", OLDER),
        "falcon": ("falcon", SIZES | DEEP | {"ffn_hidden_size": 96, "tie_word_embeddings": True}),
        "opt": ("opt", SIZES | TIED | {"ffn_dim": 96, "word_embed_proj_dim": 64}),
        "bert": ("bert", SIZES | TIED | {"intermediate_size": 96}),
        "t5": ("t5", T5 | {"tie_word_embeddings": True}),
        "t5-untied": ("t5", T5 | {"tie_word_embeddings": False}),
        "wide-head": ("llama", LLAMA | TIED | {"vocab_size": 5000}),
    }
)
AUTO = {"bert": AutoModelForMaskedLM, "t5": AutoModelForSeq2SeqLM}
# Experts in one tensor have no modules but an activation, by which accelerate would split them: no checkpoint
# has it.
STACKED = ("mixtral", "qwen2_moe", "qwen3_moe", "deepseek_v2", "deepseek_v3")
# The names of tensors do not tell that the last norm comes before the layers, that embeddings are not split,
# and that layers of encoders and decoders are of one class.
NOT_BY_NAMES = ("opt", "bert", "t5", "t5-untied")
EACH = 1
RANDOM = 10
numbers = itertools.count(10**6)


def memories(total):
    """Few and many devices, too small and large enough ones."""
    yield {0: total * 2}
    yield {0: total, 1: total}
    yield {0: 0, 1: total, 2: total}
    yield {"cpu": total // 2}
    yield {"mps": total // 2, "cpu": total * 2}
    for _ in range(EACH):
        gpus = random.choice((1, 2, 2, 3, 4))
        share = total / gpus
        memory = {gpu: int(share * random.uniform(0.3, 2)) for gpu in range(gpus)}
        if random.random() < 0.5:
            memory["cpu"] = int(total * random.uniform(0.05, 1))
        yield memory


def map_of(model, memory, strategy, classes):
    memory = dict(memory)
    if strategy != "sequential":
        low = strategy == "balanced_low_0"
        memory = get_balanced_memory(model, memory, no_split_module_classes=classes, low_zero=low)
    try:
        found = infer_auto_device_map(model, memory, no_split_module_classes=classes, clean_result=False)
    except IndexError:
        return None
    names = [f"{name}." for name in model.state_dict()]
    return clean_device_map(
        {key: place for key, place in found.items() if any(name.startswith(f"{key}.") for name in names)}
    )


def settings_of(model, total, classes):
    for memory in memories(total):
        for strategy in ("sequential", "balanced", "balanced_low_0"):
            found = map_of(model, memory, strategy, classes)
            yield {"memory": list(memory.items()), "strategy": strategy, "map": found}


def tensors_of(model):
    yield from model.named_parameters()
    yield from model.named_buffers()


class Block(torch.nn.Module):
    """A module that is not split, of models made at random."""


class Wide(Block):
    """Another kind of these."""


def module_at_random(depth, parameters):
    """Modules in modules, some of them with parameters of others. No name is the end of another one."""
    kind = torch.nn.Module if depth == 4 else random.choice((torch.nn.Module, Block, Wide))
    module = kind()
    for _ in range(random.choice((0, 1, 2)) if depth else 2):
        size = random.choice((1, 5, 10, 10, 20, 50, 100, 200))
        fresh = torch.nn.Parameter(torch.empty(size, dtype=torch.uint8, device="meta"), requires_grad=False)
        parameter = random.choice(parameters) if parameters and random.random() < 0.12 else fresh
        parameters.append(parameter)
        setattr(module, f"w{next(numbers)}e", parameter)
    for _ in range(random.randint(1, 3) if depth else 0):
        setattr(module, f"m{next(numbers)}e", module_at_random(depth - 1, parameters))
    return module


def models_at_random():
    for number in range(RANDOM):
        model = module_at_random(random.choice((2, 3, 4)), [])
        yield from cases_of(f"model {number} at random", model, ([], ["Block"], ["Block", "Wide"]))


def models():
    for case, (model_type, sizes) in MODELS.items():
        config = AutoConfig.for_model(model_type, **sizes)
        with torch.device("meta"):
            model = AUTO.get(model_type, AutoModelForCausalLM).from_config(config, dtype=torch.bfloat16)
        model.tie_weights()
        for module in model.modules():
            for name in module._non_persistent_buffers_set:
                del module._buffers[name]
        kinds = [sorted(model._no_split_modules or [])] + ([] if model_type in STACKED else [[]])
        yield from cases_of(case, model, kinds)


def cases_of(case, model, kinds):
    tensors = [(name, tensor.nbytes) for name, tensor in tensors_of(model)]
    stored = {name for name, _ in tensors}
    aliases = [
        (name, kept)
        for group in find_tied_parameters(model)
        for kept in [next(name for name in group if name in stored)]
        for name in group
        if name != kept
    ]
    total = sum(size for _, size in tensors)
    for classes in kinds:
        whole = {
            name: type(module).__name__
            for name, module in model.named_modules()
            if type(module).__name__ in classes
        }
        yield {
            "case": f"{case}, {classes or 'all may be split'}",
            "by_names": bool(classes) and case in MODELS and case not in NOT_BY_NAMES,
            "tensors": tensors,
            "aliases": aliases,
            "whole": whole,
            "settings": list(settings_of(model, total, classes)),
        }


def bytes_of(amount):
    try:
        return convert_file_size_to_int(amount)
    except ValueError:
        return None


units = "KB kb Mb MB GB Gb gB KiB KIb MIB GiB gib GIB TB B".split()
amounts = [
    f"{number}{space}{unit}"
    for number in ("10", "1.5", ".5", "3.", "0", "-1", "")
    for space in ("", " ")
    for unit in (*units, "")
]
found = [(amount, bytes_of(amount)) for amount in amounts]
print(json.dumps({"amounts": found, "cases": [*models(), *models_at_random()]}))
