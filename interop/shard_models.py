"""Makes two small models: shard_models.py FOLDER.

`model/` has a Llama with its config.json. `deepseek/` has what each rank has of another model, cut by the rule of
DeepSeek's inference code (a dimension by the last module's name, experts by range, no metadata), as
`model{rank}-mp4.safetensors`; `deepseek.safetensors` is the whole of it, and `deepseek.json` the rule as a plan.
"""

import json
import pathlib
import sys
import zlib

import torch
from safetensors.torch import save_file

RANKS, EXPERTS = 4, 8

CONFIG = {
    "model_type": "llama",
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 4,
    "num_hidden_layers": 5,
    "vocab_size": 21,
    "tie_word_embeddings": False,
}
LLAMA_LAYER = {
    "input_layernorm.weight": (16,),
    "self_attn.q_proj.weight": (32, 16),
    "self_attn.k_proj.weight": (16, 16),
    "self_attn.v_proj.weight": (16, 16),
    "self_attn.q_proj.bias": (32,),
    "self_attn.o_proj.weight": (16, 32),
    "mlp.gate_proj.weight": (24, 16),
    "mlp.up_proj.weight": (24, 16),
    "mlp.down_proj.weight": (16, 24),
}

# The dimension that DeepSeek's convert.py cuts, by the name before the last.
DEEPSEEK_DIMS = {"embed": 0, "head": 0, "wq_b": 0, "wkv_b": 0, "wo": 1, "w1": 0, "w2": 1, "w3": 0}
DEEPSEEK_PLAN = {
    "embed": "embedding_rowwise",
    "head": "colwise",
    "layers.*.attn.wq_b": "colwise",
    "layers.*.attn.wkv_b": "colwise",
    "layers.*.attn.wo": "rowwise",
    "layers.*.ffn.shared_experts.w1": "colwise",
    "layers.*.ffn.shared_experts.w2": "rowwise",
    "layers.*.ffn.shared_experts.w3": "colwise",
}


def made(name, shape, dtype=torch.bfloat16):
    """Numbers that depend on the name only."""
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    return torch.randn(shape, generator=generator).to(dtype)


def llama():
    shapes = {"model.embed_tokens.weight": (21, 16), "model.norm.weight": (16,), "lm_head.weight": (21, 16)}
    for layer in range(CONFIG["num_hidden_layers"]):
        shapes |= {f"model.layers.{layer}.{part}": shape for part, shape in LLAMA_LAYER.items()}
    return {name: made(name, shape) for name, shape in shapes.items()}


def deepseek():
    yield "embed.weight", made("embed", (16, 8))
    yield "head.weight", made("head", (16, 8))
    yield "norm.weight", made("norm", (8,))
    for layer in range(2):
        at = f"layers.{layer}"
        for part, shape in [("wq_a", (6, 8)), ("wq_b", (16, 6)), ("wkv_b", (24, 4)), ("wo", (8, 16))]:
            weight = made(f"{at}.{part}", shape, torch.float8_e4m3fn)
            scale = made(f"{at}.{part} scale", [-(-size // 2) for size in shape], torch.float32)
            yield f"{at}.attn.{part}.weight", weight
            yield f"{at}.attn.{part}.scale", scale
        yield f"{at}.attn_norm.weight", made(f"{at} norm", (8,))
        yield f"{at}.ffn.gate.weight", made(f"{at} gate", (EXPERTS, 8))
        for part, shape in [("w1", (8, 8)), ("w2", (8, 8)), ("w3", (8, 8))]:
            yield f"{at}.ffn.shared_experts.{part}.weight", made(f"{at} shared {part}", shape)
            for expert in range(EXPERTS):
                yield f"{at}.ffn.experts.{expert}.{part}.weight", made(f"{at} {expert} {part}", shape)


def deepseek_part(name, tensor, rank):
    """What DeepSeek's convert.py keeps of a tensor, or nothing."""
    parts = name.split(".")
    if "experts" in parts:
        own = int(parts[-3]) // (EXPERTS // RANKS) == rank
        return tensor if own else None
    dim = DEEPSEEK_DIMS.get(parts[-2])
    if dim is None:
        return tensor
    size = tensor.shape[dim] // RANKS
    return tensor.narrow(dim, rank * size, size).contiguous()


folder = pathlib.Path(sys.argv[1])
for name in ["model", "deepseek"]:
    (folder / name).mkdir(parents=True)
save_file(llama(), folder / "model" / "model.safetensors", metadata={"format": "pt"})
(folder / "model" / "config.json").write_text(json.dumps(CONFIG))
whole = dict(deepseek())
save_file(whole, folder / "deepseek.safetensors")
(folder / "deepseek.json").write_text(json.dumps(DEEPSEEK_PLAN))
for rank in range(RANKS):
    parts = {name: deepseek_part(name, tensor, rank) for name, tensor in whole.items()}
    own = {name: part for name, part in parts.items() if part is not None}
    save_file(own, folder / "deepseek" / f"model{rank}-mp{RANKS}.safetensors")
