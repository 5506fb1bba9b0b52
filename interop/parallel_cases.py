"""Makes small models, and what each rank has of them by transformers' own tensor parallelism.

Usage: parallel_cases.py FOLDER. For each case it writes, in a folder of its own, `whole.safetensors` and, for
each number of ranks and each rank, `<axis>-<world>-<rank>.safetensors`, and prints a JSON list of {case,
folder, rules, config, worlds, stacked}. Ranks are played one after the other, with a process group that does
nothing.
"""

import json
import pathlib
import re
import sys
from types import SimpleNamespace

import torch
import torch.distributed as dist
from parallel_models import LLAMA, MLA, PLANNED, SIZES
from safetensors.torch import load_file, save_file
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed.fake_pg import FakeStore
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM
from transformers.distributed.configuration_utils import DistributedConfig
from transformers.distributed.sharding_utils import DtensorShardOperation
from transformers.distributed.tensor_parallel import ALL_PARALLEL_STYLES, apply_tensor_parallelism
from transformers.utils import logging

logging.set_verbosity_error()
logging.disable_progress_bar()
torch.manual_seed(7)

WORLDS = (2, 4, 8)


def built(model_type, sizes, auto=AutoModelForCausalLM):
    config = AutoConfig.for_model(model_type, **sizes)
    model = auto.from_config(config, dtype=torch.bfloat16)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.randn(tensor.shape))
    return config, model


def written(path, tensors):
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, path)


def divide(model, axis, mesh):
    """Makes the parameters of a model those of this rank."""
    sizes = {"tp_size": mesh.size(), "ep_size": mesh.size() if axis == "ep" else 1}
    tp_plan, ep_plan, _ = model._resolve_parallel_plans(DistributedConfig(**sizes))
    if axis == "tp":
        apply_tensor_parallelism(model, mesh, tp_plan)
        return
    for name, style in ep_plan.items():
        if style == "grouped_gemm":
            module, _, parameter = name.rpartition(".")
            ALL_PARALLEL_STYLES[style].shard_param(model.get_submodule(module), parameter, mesh)


def as_rank(axis, rank, world, model_type, sizes, tensors):
    """What transformers keeps of each tensor of a checkpoint, on this rank."""
    hook = sys.excepthook
    dist.init_process_group("fake", rank=rank, world_size=world, store=FakeStore())
    sys.excepthook = hook
    try:
        config = AutoConfig.for_model(model_type, **sizes)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
        mesh = init_device_mesh("cpu", (world,))
        divide(model, axis, mesh)
        parameters = dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers())
        mine = {name: kept(name, tensor, parameters, mesh) for name, tensor in tensors.items()}
        return {name: tensor for name, tensor in mine.items() if tensor is not None}
    finally:
        dist.destroy_process_group()


def kept(name, tensor, parameters, mesh):
    name, expert = parameter_of(name)
    parameter = parameters[name]
    if not isinstance(parameter, DTensor):
        return tensor
    # Torch remembers the mesh of the first rank that was played, as it is equal; this rank has another place.
    part = SimpleNamespace(
        device_mesh=mesh, placements=parameter.placements, shape=parameter.shape, ndim=parameter.ndim
    )
    return DtensorShardOperation(part).shard_tensor(tensor, tensor_idx=expert)


def parameter_of(name):
    """The parameter that a tensor of a checkpoint goes to, and the expert that it is of."""
    name = name.replace(".block_sparse_moe.", ".mlp.")
    found = re.fullmatch(r"(.*\.experts)\.(\d+)\.(\w+)\.weight", name)
    if not found:
        return name, None
    module, expert, kind = found.groups()
    fused = "down_proj" if kind in ("down_proj", "w2") else "gate_up_proj"
    return f"{module}.{fused}", int(expert)


def planned(folder, model_type, sizes):
    """A checkpoint, and the model itself, where experts are stacked."""
    config, model = built(model_type, sizes)
    model.save_pretrained(folder / "saved")
    forms = {"saved": load_file(folder / "saved" / "model.safetensors"), "model": model.state_dict()}
    for form, tensors in forms.items():
        here = folder / form
        here.mkdir(exist_ok=True)
        written(here / "whole.safetensors", tensors)
        experts = getattr(config, "num_experts", None) or getattr(config, "num_local_experts", None) or 0
        worlds = [("tp", world) for world in WORLDS]
        worlds += [("ep", world) for world in WORLDS if experts and experts % world == 0]
        for axis, world in worlds:
            for rank in range(world):
                mine = as_rank(axis, rank, world, model_type, sizes, tensors)
                written(here / f"{axis}-{world}-{rank}.safetensors", mine)
        # Which parameters transformers spreads over the ranks expert by expert.
        ep_plan = config.base_model_ep_plan or {}
        stacked = [rule for rule, style in ep_plan.items() if style == "grouped_gemm"]
        cases.append(
            {
                "case": f"{model_type}/{form}",
                "folder": str(here),
                "rules": "transformers",
                "config": config.to_dict(),
                "worlds": worlds,
                "stacked": stacked,
            }
        )


class Rank:
    """What a rank has of weights [out, in] or biases [out], as vLLM's and Megatron's rules are defined."""

    def __init__(self, rank, world, heads, kv_heads):
        self.rank, self.world = rank, world
        self.heads = heads // world
        self.kv_heads = kv_heads
        # Query heads, and the key heads that these attend with.
        self.queries = range(rank * self.heads, (rank + 1) * self.heads)
        self.keys = sorted({query // (heads // kv_heads) for query in self.queries})

    def out(self, w):
        return w.chunk(self.world, dim=0)[self.rank]

    def into(self, w):
        return w if w.ndim == 1 else w.chunk(self.world, dim=-1)[self.rank]

    def vocabulary(self, w):
        padded = torch.zeros((-(-len(w) // 64) * 64, *w.shape[1:]), dtype=w.dtype)
        padded[: len(w)] = w
        return self.out(padded)

    def q(self, w):
        each = w.reshape(self.heads * self.world, -1, *w.shape[1:])
        return each[list(self.queries)].reshape(-1, *w.shape[1:])

    def kv(self, w):
        return w.reshape(self.kv_heads, -1, *w.shape[1:])[self.keys].reshape(-1, *w.shape[1:])

    def qkv(self, w):
        heads = self.heads * self.world
        dim = len(w) // (heads + 2 * self.kv_heads)
        q, k, v = w.split([heads * dim, self.kv_heads * dim, self.kv_heads * dim])
        return torch.cat([self.q(q), self.kv(k), self.kv(v)])

    def groups(self, w):
        """Of each key head its query heads, itself and its value head: those that are of this rank."""
        group = self.heads * self.world // self.kv_heads
        heads = w.reshape(self.kv_heads, group + 2, -1, *w.shape[1:])
        mine = []
        for key in self.keys:
            mine += [heads[key, query - key * group] for query in self.queries if query // group == key]
            mine += [heads[key, group], heads[key, group + 1]]
        return torch.stack(mine).reshape(-1, *w.shape[1:])

    def halves(self, w):
        return torch.cat([self.out(half) for half in w.chunk(2, dim=0)])

    def transposed(self, rule):
        return lambda w: rule(w.transpose(-1, -2)).transpose(-1, -2) if w.ndim > 1 else rule(w)

    def each(self, rule):
        """For experts that are stacked."""
        return lambda w: torch.stack([rule(expert) for expert in w])

    def turns(self, w):
        """Gate and up rows that take turns."""
        gate, up = self.out(w[::2]), self.out(w[1::2])
        return torch.stack([gate, up], dim=1).flatten(0, 1)


def llama_rules(r):
    return {
        r"embed_tokens|lm_head": r.vocabulary,
        r"self_attn\.q_proj": r.q,
        r"self_attn\.[kv]_proj": r.kv,
        r"self_attn\.o_proj": r.into,
        r"mlp(\.shared_experts?|\.experts\.\d+)?\.(gate|up)_proj": r.out,
        r"mlp(\.shared_experts?|\.experts\.\d+)?\.down_proj": r.into,
        r"block_sparse_moe\.experts\.\d+\.w[13]": r.out,
        r"block_sparse_moe\.experts\.\d+\.w2": r.into,
        r"mlp\.experts\.gate_up_proj": r.each(r.halves),
        r"mlp\.experts\.down_proj": r.each(r.into),
    }


def fused_rules(r):
    return {
        r"word_embeddings|lm_head": r.vocabulary,
        r"query_key_value": r.groups,
        r"dense_h_to_4h": r.out,
        r"(self_attention\.dense|dense_4h_to_h)": r.into,
    }


RULES = {
    "llama": llama_rules,
    "phi3": lambda r: llama_rules(r) | {r"qkv_proj": r.qkv, r"gate_up_proj": r.halves},
    "deepseek": lambda r: llama_rules(r) | {r"(q_b|kv_b|q)_proj": r.q},
    "gpt_oss": lambda r: (
        llama_rules(r)
        | {
            r"sinks": r.q,
            r"mlp\.experts\.gate_up_proj": r.each(r.transposed(r.turns)),
            r"mlp\.experts\.gate_up_proj_bias": r.each(r.turns),
            r"mlp\.experts\.down_proj": r.each(r.transposed(r.into)),
            r"mlp\.experts\.down_proj_bias": lambda w: w,
        }
    ),
    "gpt2": lambda r: {
        r"wte|lm_head": r.vocabulary,
        r"attn\.c_attn": r.transposed(r.qkv),
        r"mlp\.c_fc": r.transposed(r.out),
        r"c_proj": r.transposed(r.into),
    },
    "fused": fused_rules,
    "opt": lambda r: {
        r"embed_tokens|lm_head": r.vocabulary,
        r"[qkv]_proj": r.q,
        r"out_proj|fc2": r.into,
        r"fc1": r.out,
    },
    "bert": lambda r: {
        r"word_embeddings|cls\.predictions\.decoder|cls\.predictions": r.vocabulary,
        r"query|key|value": r.q,
        r"intermediate\.dense": r.out,
        r"layer\.\d+(\.attention)?\.output\.dense": r.into,
    },
}

# By the rules of vLLM: fewer key heads than ranks among them.
OLDER = {"vocab_size": 97, "n_embd": 64, "hidden_size": 64, "n_layer": 2, "n_head": 8}
FALCON = SIZES | {"ffn_hidden_size": 96, "bias": True}
HEADS = {
    "llama": ("llama", "llama", LLAMA | {"num_key_value_heads": 2}),
    "qwen2": ("qwen2", "llama", LLAMA | {"num_key_value_heads": 1}),
    "qwen3": ("qwen3", "llama", LLAMA),
    "gemma3_text": ("gemma3_text", "llama", LLAMA),
    "mixtral": ("mixtral", "llama", PLANNED["mixtral"]),
    "qwen2_moe": ("qwen2_moe", "llama", PLANNED["qwen2_moe"]),
    "qwen3_moe": ("qwen3_moe", "llama", PLANNED["qwen3_moe"]),
    "phi3": ("phi3", "phi3", LLAMA | {"num_key_value_heads": 2}),
    "deepseek_v2": ("deepseek_v2", "deepseek", MLA | {"q_lora_rank": None}),
    "deepseek_v3": ("deepseek_v3", "deepseek", MLA),
    "gpt_oss": ("gpt_oss", "gpt_oss", PLANNED["gpt_oss"] | {"num_key_value_heads": 2}),
    "gpt2": ("gpt2", "gpt2", OLDER),
    "bloom": ("bloom", "fused", OLDER),
    "falcon-new": ("falcon", "fused", FALCON | {"new_decoder_architecture": True, "num_kv_heads": 2}),
    "falcon-multi-query": ("falcon", "fused", FALCON | {"multi_query": True}),
    "falcon-old": ("falcon", "fused", FALCON | {"multi_query": False}),
    "opt": ("opt", "opt", SIZES | {"ffn_dim": 96, "word_embed_proj_dim": 64}),
    "bert": ("bert", "bert", SIZES | {"intermediate_size": 96}),
}


def by_heads(folder, case, model_type, family, sizes):
    auto = AutoModelForMaskedLM if model_type == "bert" else AutoModelForCausalLM
    config, model = built(model_type, sizes, auto)
    model.save_pretrained(folder / "saved")
    tensors = {
        name: tensor
        for name, tensor in (load_file(folder / "saved" / "model.safetensors") | model.state_dict()).items()
        if tensor.ndim > 0
    }
    written(folder / "whole.safetensors", tensors)
    heads = config.num_attention_heads
    of_falcon = {"falcon-new": 2, "falcon-multi-query": 1}
    kv_heads = of_falcon.get(case) or getattr(config, "num_key_value_heads", None) or heads
    for world in WORLDS:
        for rank in range(world):
            rules = RULES[family](Rank(rank, world, heads, kv_heads))
            here = {name: by_rules(name, tensor, rules) for name, tensor in tensors.items()}
            written(folder / f"tp-{world}-{rank}.safetensors", here)
    cases.append(
        {
            "case": f"{case}/heads",
            "folder": str(folder),
            "rules": "vllm",
            "config": config.to_dict(),
            "worlds": [("tp", world) for world in WORLDS],
        }
    )


def by_rules(name, tensor, rules):
    """The last rule counts whose pattern ends the name of the module or of the tensor itself."""
    for ending in (name, name.rpartition(".")[0]):
        matching = [rule for pattern, rule in rules.items() if re.search(rf"(^|\.)({pattern})$", ending)]
        if matching:
            return matching[-1](tensor)
    return tensor


root = pathlib.Path(sys.argv[1])
cases = []
for case, sizes in PLANNED.items():
    folder = root / case
    folder.mkdir(parents=True)
    planned(folder, case, sizes)
for case, how in HEADS.items():
    folder = root / f"{case}-heads"
    folder.mkdir(parents=True)
    by_heads(folder, case, *how)
print(json.dumps(cases))
