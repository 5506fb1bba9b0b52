"""Makes checkpoints to be rearranged, and what torch and transformers make of them.

Usage: make_transform_cases.py FOLDER. For each case it writes `<case>/before.safetensors`, `<case>/after.safetensors` and
`<case>/config.json`, and prints a JSON list of {case, recipe}. Recipes in files are written too, as `<case>/recipe.json`.
"""

import json
import pathlib
import sys

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, MixtralConfig, Qwen3MoeConfig
from transformers.core_model_loading import Chunk, Interleave, PermuteForRope
from transformers.utils import logging

logging.set_verbosity_error()
logging.disable_progress_bar()
torch.manual_seed(20)

HEADS, KV_HEADS, HIDDEN, HEAD_DIM, INNER = 4, 2, 32, 8, 24
NUMBERS = {
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "hidden_size": HIDDEN,
    "head_dim": HEAD_DIM,
}


def weight(*shape, dtype=torch.bfloat16):
    return torch.randn(shape).to(dtype)


def layers(names):
    return {
        name.replace("#", str(layer)): weight(*shape) for layer in range(2) for name, shape in names.items()
    }


def run(op, inputs, targets, config=None):
    """What an operation of transformers makes of named lists of tensors."""
    kwargs = {"full_layer_name": targets[0], "model": None, "missing_keys": None}
    return op.convert(inputs, source_patterns=list(inputs), target_patterns=targets, config=config, **kwargs)


def one(value):
    return value[0] if isinstance(value, list) else value


def mixtral(folder):
    config = MixtralConfig(
        vocab_size=40,
        hidden_size=HIDDEN,
        intermediate_size=INNER,
        num_hidden_layers=2,
        num_local_experts=12,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        tie_word_embeddings=False,
    )
    return saved_by_transformers(config, folder)


def qwen(folder):
    config = Qwen3MoeConfig(
        vocab_size=40,
        hidden_size=HIDDEN,
        intermediate_size=INNER,
        moe_intermediate_size=16,
        num_hidden_layers=2,
        num_experts=11,
        num_experts_per_tok=2,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        head_dim=HEAD_DIM,
        tie_word_embeddings=False,
    )
    return saved_by_transformers(config, folder)


def saved_by_transformers(config, folder):
    """Experts: transformers saves them one by one and stacks them when it loads, so a model has the new form."""
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    after = model.state_dict()
    model.save_pretrained(folder / "saved")
    before = load_file(folder / "saved" / "model.safetensors")
    again = AutoModelForCausalLM.from_pretrained(folder / "saved", dtype=torch.bfloat16).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in after.items())
    return before, after


def meta_llama(_):
    before = {
        "tok_embeddings.weight": weight(40, HIDDEN),
        "norm.weight": weight(HIDDEN),
        "output.weight": weight(40, HIDDEN),
    } | layers(
        {
            "layers.#.attention.wq.weight": (HEADS * HEAD_DIM, HIDDEN),
            "layers.#.attention.wk.weight": (KV_HEADS * HEAD_DIM, HIDDEN),
            "layers.#.attention.wv.weight": (KV_HEADS * HEAD_DIM, HIDDEN),
            "layers.#.attention.wo.weight": (HIDDEN, HEADS * HEAD_DIM),
            "layers.#.feed_forward.w1.weight": (INNER, HIDDEN),
            "layers.#.feed_forward.w2.weight": (HIDDEN, INNER),
            "layers.#.feed_forward.w3.weight": (INNER, HIDDEN),
            "layers.#.attention_norm.weight": (HIDDEN,),
            "layers.#.ffn_norm.weight": (HIDDEN,),
        }
    )
    names = {
        "tok_embeddings": "model.embed_tokens",
        "norm": "model.norm",
        "output": "lm_head",
        "attention.wq": "self_attn.q_proj",
        "attention.wk": "self_attn.k_proj",
        "attention.wv": "self_attn.v_proj",
        "attention.wo": "self_attn.o_proj",
        "feed_forward.w1": "mlp.gate_proj",
        "feed_forward.w2": "mlp.down_proj",
        "feed_forward.w3": "mlp.up_proj",
        "attention_norm": "input_layernorm",
        "ffn_norm": "post_attention_layernorm",
    }
    after = {}
    for name, tensor in before.items():
        parts = name.removesuffix(".weight").split(".")
        layer = f"model.layers.{parts[1]}." if parts[0] == "layers" else ""
        key = ".".join(parts[2:] if layer else parts)
        if key in ("attention.wq", "attention.wk"):
            config = LlamaConfig(num_attention_heads=HEADS if key == "attention.wq" else KV_HEADS)
            tensor = one(next(iter(run(PermuteForRope(), {key: [tensor]}, [key], config).values())))
        after[f"{layer}{names[key]}.weight"] = tensor
    # The names and shapes are those of the model.
    config = LlamaConfig(
        vocab_size=40,
        hidden_size=HIDDEN,
        intermediate_size=INNER,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        head_dim=HEAD_DIM,
        tie_word_embeddings=False,
    )
    state = AutoModelForCausalLM.from_config(config).state_dict()
    assert {n: t.shape for n, t in state.items()} == {n: t.shape for n, t in after.items()}
    return before, after


def phi3(_):
    before = layers(
        {
            "model.layers.#.self_attn.q_proj.weight": (HEADS * HEAD_DIM, HIDDEN),
            "model.layers.#.self_attn.k_proj.weight": (KV_HEADS * HEAD_DIM, HIDDEN),
            "model.layers.#.self_attn.v_proj.weight": (KV_HEADS * HEAD_DIM, HIDDEN),
            "model.layers.#.mlp.gate_proj.weight": (INNER, HIDDEN),
            "model.layers.#.mlp.up_proj.weight": (INNER, HIDDEN),
        }
    )
    after = {}
    for layer in range(2):
        at = f"model.layers.{layer}"
        qkv = [before[f"{at}.self_attn.{kind}_proj.weight"] for kind in "qkv"]
        after[f"{at}.self_attn.qkv_proj.weight"] = torch.cat(qkv, dim=0)
        after[f"{at}.mlp.gate_up_proj.weight"] = torch.cat(
            [before[f"{at}.mlp.{kind}_proj.weight"] for kind in ("gate", "up")], dim=0
        )
    return before, after


def gate_up(_):
    before = layers(
        {
            f"model.layers.#.mlp.{kind}_proj.{part}": shape
            for kind in ("gate", "up")
            for part, shape in {"weight": (INNER, HIDDEN), "bias": (INNER,)}.items()
        }
    )
    after = {}
    for layer in range(2):
        for part in ("weight", "bias"):
            both = {kind: [before[f"model.layers.{layer}.mlp.{kind}_proj.{part}"]] for kind in ("gate", "up")}
            joined = torch.cat([both["gate"][0], both["up"][0]], dim=0)
            chunks = run(Chunk(dim=0), {"gate_up": [joined]}, ["gate", "up"])
            assert all(torch.equal(one(chunks[kind]), both[kind][0]) for kind in both)
            after[f"model.layers.{layer}.mlp.gate_up_proj.{part}"] = joined
    return before, after


def gpt_oss(_):
    before = layers(
        {
            "model.layers.#.mlp.experts.gate_up_proj": (5, HIDDEN, 2 * INNER),
            "model.layers.#.mlp.experts.gate_up_proj_bias": (5, 2 * INNER),
            "model.layers.#.mlp.experts.down_proj": (5, INNER, HIDDEN),
        }
    )
    after = {}
    for name, tensor in before.items():
        if "gate_up" not in name:
            after[name] = tensor
            continue
        apart = {"gate": tensor[..., ::2], "up": tensor[..., 1::2]}
        halves = one(next(iter(run(Interleave(dim=tensor.ndim - 1), {"x": [tensor]}, ["x"]).values())))
        assert torch.equal(halves, torch.cat(list(apart.values()), dim=-1))
        for kind, part in apart.items():
            after[name.replace("gate_up", kind)] = part.contiguous()
    return before, after


def gpt2(_):
    modules = {
        "attn.c_attn": (32, 96),
        "attn.c_proj": (32, 32),
        "mlp.c_fc": (32, 128),
        "mlp.c_proj": (128, 32),
    }
    before = layers(
        {f"transformer.h.#.{m}.weight": s for m, s in modules.items()}
        | {f"transformer.h.#.{m}.bias": s[1:] for m, s in modules.items()}
    ) | {"transformer.wte.weight": weight(10, 32)}
    after = {
        name: tensor.t().contiguous() if ".h." in name and tensor.ndim == 2 else tensor
        for name, tensor in before.items()
    }
    return before, after


def falcon(_):
    rows = (HEADS + 2 * KV_HEADS) * HEAD_DIM
    before = layers({"transformer.h.#.self_attention.query_key_value.weight": (rows, HIDDEN)})
    after = {}
    for name, tensor in before.items():
        groups = tensor.view(KV_HEADS, HEADS // KV_HEADS + 2, HEAD_DIM, HIDDEN)
        parts = {"q": groups[:, :-2], "k": groups[:, [-2]], "v": groups[:, [-1]]}
        for kind, part in parts.items():
            after[name.replace("query_key_value", f"{kind}_proj")] = part.reshape(-1, HIDDEN)
    return before, after


EVERYTHING = {
    "version": 1,
    "variables": [{"name": "heads", "default": 2}],
    "others": "drop",
    "steps": [
        {
            "from": ["{l}.a.{i}.w", "{l}.b.{i}.w"],
            "to": ["{l}.turns.{i}"],
            "ops": [{"op": "interleave", "axis": 1}, {"op": "transpose", "axes": [1, 0]}],
            "share": True,
        },
        {
            "from": ["{l}.a.{i}.w", "{l}.b.{i}.w"],
            "to": ["{l}.all"],
            "ops": [
                {"op": "permuteRope", "heads": "{heads}", "inverse": True, "on": [1]},
                {"op": "concat", "axis": 0},
                {"op": "stack", "axis": 1, "over": "i"},
                {"op": "slice", "axis": 0, "start": 3, "stop": 9},
                {"op": "reshape", "shape": [-1, 6]},
            ],
            "share": True,
        },
        {
            "from": ["{l}.c"],
            "to": ["{l}.parts.{n}"],
            "ops": [{"op": "transpose"}, {"op": "split", "axis": 1, "over": "n", "count": 3}],
        },
    ],
}


def everything(folder):
    before, after = {}, {"0.ignored": weight(2)}
    for layer in range(2):
        for i in range(3):
            before |= {f"{layer}.{kind}.{i}.w": weight(8, 6, dtype=torch.float32) for kind in "ab"}
        before[f"{layer}.c"] = weight(9, 4, dtype=torch.float32)
    before |= after
    after = {}
    for layer in range(2):
        rows = []
        for i in range(3):
            a, b = (before[f"{layer}.{kind}.{i}.w"] for kind in "ab")
            after[f"{layer}.turns.{i}"] = torch.stack([a, b], dim=2).reshape(8, 12).t().contiguous()
            b = b.view(2, 2, 2, 6).transpose(1, 2).reshape(8, 6)
            rows.append(torch.cat([a, b], dim=0))
        after[f"{layer}.all"] = torch.stack(rows, dim=1)[3:9].reshape(-1, 6)
        for n, part in enumerate(torch.chunk(before[f"{layer}.c"].t(), 3, dim=1)):
            after[f"{layer}.parts.{n}"] = part.contiguous()
    (folder / "recipe.json").write_text(json.dumps(EVERYTHING))
    return before, after


CASES = {
    "mixtral-experts": mixtral,
    "qwen-experts": qwen,
    "meta-llama": meta_llama,
    "phi3-fused": phi3,
    "gate-up-fused": gate_up,
    "gpt-oss-gate-up": gpt_oss,
    "gpt2-linear": gpt2,
    "falcon-qkv": falcon,
    "everything": everything,
}

root = pathlib.Path(sys.argv[1])
cases = []
for case, make in CASES.items():
    folder = root / case
    folder.mkdir(parents=True)
    before, after = make(folder)
    for name, tensors in {"before": before, "after": after}.items():
        save_file(
            {n: t.contiguous() for n, t in tensors.items()}, folder / f"{name}.safetensors", {"format": "pt"}
        )
    (folder / "config.json").write_text(json.dumps(NUMBERS))
    recipe = str(folder / "recipe.json") if (folder / "recipe.json").exists() else case
    cases.append({"case": case, "recipe": recipe})
print(json.dumps(cases))
