"""Checkpoints divided by the rules of DeepSeek's converter, gpt-oss, vLLM and Megatron, as torch does it.

Usage: parallel_rules.py FOLDER. Writes for each case, in a folder of its own, `whole.safetensors` and for
each number of ranks and each rank `<world>-<rank>.safetensors`. Prints JSON of {cases, stages, partitions}: a
list of {case, folder, worlds, config, plans}, with plans by numbers of ranks where they are not those of the
configuration; the layers of pipeline stages; and partitions in vLLM's text form with what they give, null
where vLLM refuses them.
"""

import json
import pathlib
import random
import sys

import torch
from safetensors.torch import save_file

torch.manual_seed(7)
random.seed(7)
WORLDS = (2, 4, 8)


def bf16(*shape):
    return torch.randn(shape).to(torch.bfloat16)


def written(folder, tensors, by_rank):
    """Writes a checkpoint and what each rank has of it, by a function of rank and world."""
    folder.mkdir(parents=True)
    save_file(tensors, folder / "whole.safetensors")
    for world in WORLDS:
        for rank in range(world):
            mine = {name: tensor.contiguous() for name, tensor in by_rank(tensors, rank, world).items()}
            save_file(mine, folder / f"{world}-{rank}.safetensors")


# --- DeepSeek-V3's inference/convert.py ---

# Along which axis the converter divides the tensors of a module, the scales of its blocks too.
DEEPSEEK_AXES = dict.fromkeys(("embed_tokens", "lm_head", "q_proj", "q_b_proj", "kv_b_proj"), 0)
DEEPSEEK_AXES |= {"gate_proj": 0, "up_proj": 0, "o_proj": 1, "down_proj": 1}
DEEPSEEK_WHOLE = {"norm", "input_layernorm", "post_attention_layernorm", "q_a_proj", "q_a_layernorm", "gate"}
DEEPSEEK_WHOLE |= {"kv_a_proj_with_mqa", "kv_a_layernorm"}
BLOCK = 8
DEEPSEEK = {
    "model_type": "deepseek_v3",
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "n_routed_experts": 16,
    "tie_word_embeddings": False,
    "quantization_config": {
        "quant_method": "fp8",
        "fmt": "e4m3",
        "activation_scheme": "dynamic",
        "weight_block_size": [BLOCK, BLOCK],
    },
}


def deepseek_tensors():
    tensors = {"model.embed_tokens.weight": bf16(96, 64), "lm_head.weight": bf16(96, 64)}
    tensors["model.norm.weight"] = bf16(64)

    def linear(name, rows, columns):
        tensors[f"{name}.weight"] = torch.randn(rows, columns).to(torch.float8_e4m3fn)
        tensors[f"{name}.weight_scale_inv"] = torch.rand(-(-rows // BLOCK), -(-columns // BLOCK))

    def mlp(name, size):
        linear(f"{name}.gate_proj", size, 64)
        linear(f"{name}.up_proj", size, 64)
        linear(f"{name}.down_proj", 64, size)

    # The layer that predicts further tokens has the number 61; the converter leaves it out.
    for layer in (0, 1, 61):
        here = f"model.layers.{layer}"
        tensors[f"{here}.input_layernorm.weight"] = bf16(64)
        tensors[f"{here}.post_attention_layernorm.weight"] = bf16(64)
        # A head of q has 12 rows, which is no multiple of a block.
        linear(f"{here}.self_attn.q_a_proj", 24, 64)
        linear(f"{here}.self_attn.q_b_proj", 16 * 12, 24)
        linear(f"{here}.self_attn.kv_a_proj_with_mqa", 16 + 4, 64)
        linear(f"{here}.self_attn.kv_b_proj", 16 * 16, 16)
        linear(f"{here}.self_attn.o_proj", 64, 16 * 8)
        tensors[f"{here}.self_attn.q_a_layernorm.weight"] = bf16(24)
        tensors[f"{here}.self_attn.kv_a_layernorm.weight"] = bf16(16)
        if layer == 0:
            mlp(f"{here}.mlp", 128)
            continue
        tensors[f"{here}.mlp.gate.weight"] = bf16(16, 64)
        tensors[f"{here}.mlp.gate.e_score_correction_bias"] = torch.randn(16)
        mlp(f"{here}.mlp.shared_experts", 64)
        for expert in range(16):
            mlp(f"{here}.mlp.experts.{expert}", 16)
    return tensors


def deepseek_rank(tensors, rank, world):
    mine = {}
    for name, tensor in tensors.items():
        parts = name.split(".")
        if "61" in parts:
            continue
        module = parts[-2]
        if "experts" in parts:
            each = DEEPSEEK["n_routed_experts"] // world
            if int(parts[-3]) // each == rank:
                mine[name] = tensor
        elif module in DEEPSEEK_AXES:
            axis = DEEPSEEK_AXES[module]
            assert tensor.shape[axis] % world == 0
            mine[name] = tensor.chunk(world, dim=axis)[rank]
        else:
            assert module in DEEPSEEK_WHOLE
            mine[name] = tensor
    return mine


# --- gpt-oss ---

FP4 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


def dense(blocks, scales):
    halves = torch.stack((blocks & 15, blocks >> 4), dim=-1).flatten(-2).long()
    return torch.ldexp(FP4[halves], scales.int().unsqueeze(-1) - 127).flatten(-2)


def mxfp4(experts, rows, columns):
    shape = (experts, rows, columns // 32)
    blocks = torch.randint(256, (*shape, 16), dtype=torch.uint8)
    return blocks, torch.randint(120, 130, shape, dtype=torch.uint8)


def gpt_oss_tensors(names, inner, hidden=64, experts=4):
    tensors = {}
    for (rows, columns), name in (((2 * inner, hidden), names["up"]), ((hidden, inner), names["down"])):
        blocks, scales = mxfp4(experts, rows, columns)
        tensors |= {names["blocks"].format(name): blocks, names["scales"].format(name): scales}
    tensors[names["up_bias"]] = bf16(experts, 2 * inner)
    tensors[names["down_bias"]] = bf16(experts, hidden)
    return tensors


def gpt_oss_rank(names, inner, per_rank):
    """Gate and up rows take turns, so a range of both is twice that of the inner size."""

    def cut(tensors, rank, world):
        each = per_rank(world)
        start, stop = min(rank * each, inner), min((rank + 1) * each, inner)
        mine = dict(tensors)
        up, up_scales = (names[kind].format(names["up"]) for kind in ("blocks", "scales"))
        down, down_scales = (names[kind].format(names["down"]) for kind in ("blocks", "scales"))
        for name in (up, up_scales, names["up_bias"]):
            mine[name] = tensors[name][:, 2 * start : 2 * stop]
        for name in (down, down_scales):
            mine[name] = tensors[name][:, :, start // 32 : stop // 32]
        # The same of the dense weights.
        rows = dense(tensors[up], tensors[up_scales])[:, 2 * start : 2 * stop]
        columns = dense(tensors[down], tensors[down_scales])[..., start:stop]
        assert torch.equal(dense(mine[up], mine[up_scales]), rows)
        assert torch.equal(dense(mine[down], mine[down_scales]), columns)
        return mine

    return cut


# As OpenAI's files and as those of the hub name them.
OPENAI = {
    "up": "block.0.mlp.mlp1_weight",
    "down": "block.0.mlp.mlp2_weight",
    "blocks": "{}.blocks",
    "scales": "{}.scales",
    "up_bias": "block.0.mlp.mlp1_bias",
    "down_bias": "block.0.mlp.mlp2_bias",
}
HUB = {
    "up": "model.layers.0.mlp.experts.gate_up_proj",
    "down": "model.layers.0.mlp.experts.down_proj",
    "blocks": "{}_blocks",
    "scales": "{}_scales",
    "up_bias": "model.layers.0.mlp.experts.gate_up_proj_bias",
    "down_bias": "model.layers.0.mlp.experts.down_proj_bias",
}
GPT_OSS_DENSE = {
    "model_type": "gpt_oss",
    "num_hidden_layers": 1,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "num_local_experts": 4,
}
GPT_OSS = GPT_OSS_DENSE | {"quantization_config": {"quant_method": "mxfp4"}}


def units(names, unit, transposed):
    out = {"along": "out", "kind": "units", "unit": 2 * unit, "transposed": transposed}
    into = {"along": "in", "kind": "units", "unit": unit, "transposed": transposed}
    return {names["up"]: out, names["up_bias"]: out, names["down"]: into}


def generic(plan):
    return {pattern.replace(".0.", ".*."): style for pattern, style in plan.items()}


# --- Megatron ---

HEADS, GROUPS, DIM, HIDDEN, FFN, VOCABULARY, MULTIPLE = 16, 8, 4, 64, 48, 97, 16


def megatron_tensors():
    layer = "decoder.layers.0"
    return {
        "embedding.word_embeddings.weight": bf16(VOCABULARY, HIDDEN),
        f"{layer}.self_attention.linear_qkv.weight": bf16((HEADS + 2 * GROUPS) * DIM, HIDDEN),
        f"{layer}.self_attention.linear_qkv.bias": bf16((HEADS + 2 * GROUPS) * DIM),
        f"{layer}.self_attention.linear_proj.weight": bf16(HIDDEN, HEADS * DIM),
        f"{layer}.self_attention.linear_proj.bias": bf16(HIDDEN),
        f"{layer}.mlp.linear_fc1.weight": bf16(2 * FFN, HIDDEN),
        f"{layer}.mlp.linear_fc2.weight": bf16(HIDDEN, FFN),
        f"{layer}.input_layernorm.weight": bf16(HIDDEN),
        "output_layer.weight": bf16(VOCABULARY, HIDDEN),
    }


def megatron_rank(tensors, rank, world):
    def vocabulary(w):
        padded = -(-VOCABULARY // (MULTIPLE * world)) * MULTIPLE * world
        rows = torch.cat([w, torch.zeros(padded - VOCABULARY, HIDDEN, dtype=w.dtype)])
        return rows.chunk(world)[rank]

    def groups(w):
        """Of each group its query heads, its key and its value."""
        each = w.reshape(GROUPS, HEADS // GROUPS + 2, DIM, -1)
        return each.chunk(world)[rank].reshape(-1, *w.shape[1:])

    def gate_and_up(w):
        return torch.cat([half.chunk(world)[rank] for half in w.chunk(2)])

    rules = {
        "word_embeddings.weight": vocabulary,
        "output_layer.weight": vocabulary,
        "linear_qkv.weight": groups,
        "linear_qkv.bias": groups,
        "linear_proj.weight": lambda w: w.chunk(world, dim=1)[rank],
        "linear_fc1.weight": gate_and_up,
        "linear_fc2.weight": lambda w: w.chunk(world, dim=1)[rank],
    }
    whole = {"linear_proj.bias", "input_layernorm.weight"}
    mine = {}
    for name, tensor in tensors.items():
        kind = ".".join(name.split(".")[-2:])
        assert kind in rules or kind in whole
        mine[name] = rules[kind](tensor) if kind in rules else tensor
    return mine


def megatron_plan(world):
    vocabulary = {"along": "out", "kind": "vocabulary", "multiple": MULTIPLE * world}
    heads = {"heads": HEADS, "keyValueHeads": GROUPS, "headDim": DIM}
    return {
        "embedding.word_embeddings": vocabulary,
        "output_layer": vocabulary,
        "decoder.layers.*.self_attention.linear_qkv": {
            "along": "out",
            "kind": "fused_heads",
            "order": "groups",
            **heads,
        },
        "decoder.layers.*.self_attention.linear_proj": {"along": "in", "kind": "heads", "heads": HEADS},
        "decoder.layers.*.mlp.linear_fc1": {"along": "out", "kind": "blocks", "blocks": 2},
        "decoder.layers.*.mlp.linear_fc2": {"along": "in", "kind": "plain"},
    }


# --- vLLM's pipeline stages ---


def ranges(counts):
    ends = [sum(counts[: stage + 1]) for stage in range(len(counts))]
    return [[end - count, end] for end, count in zip(ends, counts, strict=True)]


def stage_layers(layers, stages):
    """What is left over goes to the stages before the last, from the back."""
    counts = [layers // stages] * stages
    for stage in range(stages - 2, stages - 2 - layers % stages, -1):
        counts[stage] += 1
    return ranges(counts)


# What vLLM's own tests expect (tests/distributed/test_pipeline_partition.py).
PUBLISHED = {
    (2, 2): [[0, 1], [1, 2]],
    (3, 2): [[0, 2], [2, 3]],
    (3, 3): [[0, 1], [1, 2], [2, 3]],
    (4, 3): [[0, 1], [1, 3], [3, 4]],
    (5, 3): [[0, 2], [2, 4], [4, 5]],
}
PUBLISHED_PARTITIONS = [
    ["5,5,5,5", 20, 4, [[0, 5], [5, 10], [10, 15], [15, 20]]],
    ["4,6,6,4", 20, 4, [[0, 4], [4, 10], [10, 16], [16, 20]]],
    ["5,6,5,6", 22, 4, [[0, 5], [5, 11], [11, 16], [16, 22]]],
    ["5,5,5,5,", 20, 4, None],
    ["5,5,5,a", 20, 4, None],
    ["5,5,5", 20, 4, None],
    ["5,5,5,5", 21, 4, None],
]


def partitions():
    yield from PUBLISHED_PARTITIONS
    for _ in range(200):
        counts = [random.randint(0, 9) for _ in range(random.randint(1, 16))]
        yield [",".join(map(str, counts)), sum(counts), len(counts), ranges(counts)]


def case(title, config, tensors, by_rank, plan_of=None, worlds=WORLDS):
    folder = root / title
    written(folder, tensors, by_rank)
    plans = {world: plan_of(world) for world in worlds} if plan_of else None
    return {"case": title, "folder": str(folder), "worlds": worlds, "config": config, "plans": plans}


root = pathlib.Path(sys.argv[1])
even, uneven = 256, 192


def strict(inner):
    return lambda world: inner // world


def in_blocks(inner):
    """vLLM's rule: whole blocks of 32 inputs, rounded up."""
    return lambda world: -(-inner // 32 // world) * 32


def dense_tensors(names, inner, swapped):
    """Without blocks; as the hub has them with inputs before outputs."""
    up, down = bf16(4, 2 * inner, 64), bf16(4, 64, inner)
    return {
        names["up"]: up.transpose(1, 2).contiguous() if swapped else up,
        names["down"]: down.transpose(1, 2).contiguous() if swapped else down,
        names["up_bias"]: bf16(4, 2 * inner),
        names["down_bias"]: bf16(4, 64),
    }


def dense_rank(names, inner, swapped):
    def cut(tensors, rank, world):
        each = inner // world
        start, stop = rank * each, (rank + 1) * each
        up, down = tensors[names["up"]], tensors[names["down"]]
        return tensors | {
            names["up"]: up[..., 2 * start : 2 * stop] if swapped else up[:, 2 * start : 2 * stop],
            names["up_bias"]: tensors[names["up_bias"]][:, 2 * start : 2 * stop],
            names["down"]: down[:, start:stop] if swapped else down[..., start:stop],
        }

    return cut


cases = [
    case("deepseek-v3", DEEPSEEK, deepseek_tensors(), deepseek_rank),
    case(
        "gpt-oss, dense, named by OpenAI",
        GPT_OSS_DENSE,
        dense_tensors(OPENAI, 40, swapped=False),
        dense_rank(OPENAI, 40, swapped=False),
        lambda world: generic(units(OPENAI, 1, transposed=False)),
    ),
    case(
        "gpt-oss, dense",
        GPT_OSS_DENSE,
        dense_tensors(HUB, 40, swapped=True),
        dense_rank(HUB, 40, swapped=True),
    ),
    case(
        "gpt-oss, files of OpenAI",
        GPT_OSS,
        gpt_oss_tensors(OPENAI, even),
        gpt_oss_rank(OPENAI, even, strict(even)),
        lambda world: generic(units(OPENAI, 1, transposed=False)),
    ),
    case("gpt-oss", GPT_OSS, gpt_oss_tensors(HUB, even), gpt_oss_rank(HUB, even, strict(even))),
    case(
        "gpt-oss, blocks that do not divide",
        GPT_OSS,
        gpt_oss_tensors(HUB, uneven),
        gpt_oss_rank(HUB, uneven, in_blocks(uneven)),
        lambda world: generic(units(HUB, 32, transposed=True)),
    ),
    case("megatron", {"model_type": "gpt"}, megatron_tensors(), megatron_rank, megatron_plan),
]
grid = {(layers, stages): stage_layers(layers, stages) for layers in range(1, 101) for stages in range(1, 17)}
assert all(grid[key] == expected for key, expected in PUBLISHED.items())
stages = [[*key, expected] for key, expected in (grid | PUBLISHED).items()]
print(json.dumps({"cases": cases, "stages": stages, "partitions": list(partitions())}))
