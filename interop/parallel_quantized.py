"""Small models whose weights the originals quantise, and what each rank has of their dense weights.

Usage: parallel_quantized.py FOLDER SEED. For each case it writes, in a folder of its own, a checkpoint of three
files with its index; `dense.safetensors`, the weights as the original makes them dense again; and, for the rules
of vLLM and of transformers and for each number of ranks and each rank, `<rules>-<world>-<rank>.safetensors`, which
PyTorch slices out of those. It prints a JSON list of {case, folder, config, rules, plan}; `plan` is there where
those rules ask for cuts that the layout does not have.
"""

import json
import pathlib
import random
import sys
import tempfile

import mlx.core as mx
import numpy as np
import torch
from parallel_models import LLAMA, MOE
from quant_ct import (
    FP4,
    NVFP4,
    Fp8Dequantize,
    Fp8Quantize,
    SimpleNamespace,
    floats,
    integers,
    matrix,
    old_matrix,
    write_shards,
)
from quant_gptq import awq_gemm, gptq
from quant_others import to_torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging

logging.set_verbosity_error()
logging.disable_progress_bar()
WORLDS = (2, 4)
SIZES = LLAMA | {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 1, "head_dim": 16}
MODELS = {
    "llama": ("llama", SIZES | {"attention_bias": True}),
    "fewer key heads than ranks": ("llama", SIZES | {"num_key_value_heads": 2}),
    "square": ("llama", SIZES | {"hidden_size": 256, "num_key_value_heads": 8, "head_dim": 32}),
    "mixtral": ("mixtral", SIZES | {"num_local_experts": 3}),
    "qwen3_moe": ("qwen3_moe", MOE | SIZES | {"num_experts": 3, "moe_intermediate_size": 128}),
    "phi3": ("phi3", SIZES | {"eos_token_id": 1, "bos_token_id": 1}),
}


def model(name):
    """The configuration, and a checkpoint as save_pretrained writes it."""
    model_type, sizes = MODELS[name]
    config = AutoConfig.for_model(model_type, **sizes, dtype="bfloat16")
    made = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    with tempfile.TemporaryDirectory() as folder:
        made.save_pretrained(folder)
        tensors = load_file(f"{folder}/model.safetensors")
    random_floats = {name: torch.randn(tensor.shape).to(torch.bfloat16) for name, tensor in tensors.items()}
    return config.to_dict(), random_floats


# --- What each rank has ---

COLUMNS = {"q_proj", "gate_proj", "up_proj", "w1", "w3"}
ROWS = {"o_proj", "down_proj", "w2"}
ENDS = {"embed_tokens", "lm_head"}


def chunk(tensor, rank, world, axis=0):
    """Of torch.chunk, with nothing for ranks for which nothing is left."""
    size = -(-tensor.shape[axis] // world)
    start = min(rank * size, tensor.shape[axis])
    return tensor.narrow(axis, start, min(size, tensor.shape[axis] - start))


def sliced(rules, config, name, tensor, rank, world):
    *_, module, last = name.split(".")
    if module in ENDS | COLUMNS:
        return chunk(tensor, rank, world)
    if module in ROWS:
        return tensor if last == "bias" else chunk(tensor, rank, world, axis=1)
    is_vllm = rules == "vllm"
    heads, dim = config["num_key_value_heads"], config.get("head_dim") or 16
    replicas = max(1, world // heads)
    if module in ("k_proj", "v_proj"):
        if is_vllm:
            return chunk(tensor, rank // replicas, world // replicas)
        return chunk(tensor, rank, world)
    if module == "qkv_proj":
        if not is_vllm:
            return chunk(tensor, rank, world)
        query = config["num_attention_heads"] * dim
        parts = tensor.split([query, heads * dim, heads * dim])
        return torch.cat([chunk(part, rank, world) for part in parts])
    if module == "gate_up_proj":
        parts = tensor.chunk(2) if is_vllm else [tensor]
        return torch.cat([chunk(part, rank, world) for part in parts])
    return tensor


def gpt_oss_sliced(rules, config, name, tensor, rank, world):
    """vLLM cuts between blocks of 32 inputs of the second matrix; gate and up columns take turns in the first."""
    if rules == "transformers" and name.split(".")[-2] not in ENDS:
        return tensor
    inner = config["intermediate_size"]
    each = -(-inner // 32 // world) * 32
    start, stop = min(rank * each, inner), min((rank + 1) * each, inner)
    if "experts.gate_up_proj" in name:
        return tensor[..., 2 * start : 2 * stop]
    if name.endswith("experts.down_proj"):
        return tensor[:, start:stop]
    return chunk(tensor, rank, world) if name.endswith("sinks") else sliced(rules, config, name, tensor, rank, world)


# --- Layouts: functions of rows and columns that give stored tensors by their last names, and the dense weight ---


def ct(form, **arguments):
    def quantise(rows, columns, seed):
        case = matrix(form, rows, columns, seed=seed, **arguments)
        [stored] = case["shards"]
        quantise.config = case["configs"]["config.json"]["quantization_config"]
        return {name[2:]: tensor for name, tensor in stored.items()}, case["dense"]["l.weight"]

    return quantise


def ct_with_order(zeros):
    def quantise(rows, columns, seed):
        order = torch.randperm(columns, generator=torch.Generator().manual_seed(seed)) // 32
        case = old_matrix(4, rows, columns, 32, zeros=zeros, order=order)
        [stored] = case["shards"]
        quantise.config = case["configs"]["config.json"]["quantization_config"]
        return {name[2:]: tensor for name, tensor in stored.items()}, case["dense"]["l.weight"]

    return quantise


def ct_static(rows, columns, seed):
    """With scales of inputs, which are of no rank's own."""
    stored, dense = CT_FP8(rows, columns, seed)
    ct_static.config = CT_FP8.config
    return stored | {"input_scale": torch.rand(1)}, dense


def finegrained(rows, columns, seed):
    quantizer = SimpleNamespace(quantization_config=SimpleNamespace(weight_block_size=[16, 16], scale_fmt="float"))
    weight = torch.randn(rows, columns).to(torch.bfloat16)
    stored = Fp8Quantize(quantizer).convert({"l.weight": [weight]})
    dense = Fp8Dequantize(None)._dequantize_one(stored["l.weight"], stored["l.weight_scale_inv"], torch.bfloat16)
    return {name[2:]: tensor for name, tensor in stored.items()}, dense


finegrained.config = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [16, 16]}


def of_gptq(make, config, **settings):
    def quantise(rows, columns, seed):
        return make(np.random.default_rng(seed), rows, columns, **settings)

    quantise.config = config
    return quantise


def gptq_layout(version, order, bits=4, group=32):
    config = {"quant_method": "gptq", "bits": bits, "group_size": group, "desc_act": order == "act", "sym": False}
    settings = {"bits": bits, "group": group, "version": version, "order": order}
    return of_gptq(gptq, config | {"checkpoint_format": version}, **settings)


AWQ_CONFIG = {"quant_method": "awq", "bits": 4, "group_size": 32, "version": "gemm", "zero_point": True}


def mlx_layout(bits, mode="affine"):
    def quantise(rows, columns, seed):
        mx.random.seed(seed)
        settings = {"group_size": 32, "bits": bits, "mode": mode}
        parts = mx.quantize(mx.random.normal((rows, columns)), **settings)
        names = ("weight", "scales", "biases")
        return dict(zip(names, map(to_torch, parts))), to_torch(mx.dequantize(*parts, **settings))

    quantise.config = {"group_size": 32, "bits": bits, "mode": mode}
    return quantise


def nf4(nested):
    def quantise(rows, columns, seed):
        import bitsandbytes as bnb
        from bitsandbytes.backends.default.ops import _dequantize_4bit_compute
        from bitsandbytes.functional import dequantize_blockwise

        layer = bnb.nn.Linear4bit(columns, rows, bias=False, quant_type="nf4", compress_statistics=nested)
        weight = torch.randn(rows, columns).to(torch.bfloat16)
        layer.weight = bnb.nn.Params4bit(
            weight, requires_grad=False, quant_type="nf4", compress_statistics=nested, blocksize=64
        )
        layer = layer.to("cpu")
        if layer.weight.quant_state is None:
            layer.weight = layer.weight._quantize("cpu")
        state = layer.weight.quant_state
        absmax = dequantize_blockwise(state.absmax, state.state2) + state.offset if nested else state.absmax
        flat = layer.weight.data.reshape(-1)
        dense = _dequantize_4bit_compute(
            flat, absmax, state.code, state.blocksize, (rows, columns), torch.bfloat16
        )
        return {name: tensor.clone() for name, tensor in layer.state_dict().items()}, dense

    quantise.config = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
    return quantise


CT_FP8 = ct("float-quantized", **floats(8, strategy="channel"))
INT4 = ct("pack-quantized", **integers(4, 32))
INT4_ASYMMETRIC = ct("pack-quantized", **integers(4, 32, symmetric=False))

LAYOUTS = [
    ("llama", "int4", INT4),
    ("fewer key heads than ranks", "int4 with zero points", INT4_ASYMMETRIC),
    ("llama", "int3", ct("pack-quantized", **integers(3, 32))),
    ("llama", "int4 of whole rows, with zero points", ct("pack-quantized", **integers(4, symmetric=False))),
    ("llama", "int4 by g_idx", ct_with_order(None)),
    ("llama", "int4 by g_idx, with zero points", ct_with_order("packed")),
    ("llama", "int8", ct("int-quantized", num_bits=8, strategy="channel", symmetric=False)),
    ("llama", "F8 by rows, scales of inputs and caches", ct_static),
    ("llama", "F8 by blocks", ct("float-quantized", **floats(8, strategy="block", block_structure=[16, 16]))),
    ("llama", "NVFP4", ct("nvfp4-pack-quantized", **NVFP4)),
    ("llama", "MXFP4", ct("mxfp4-pack-quantized", **floats(4, 32, scale_dtype=torch.uint8))),
    ("llama", "MXFP6", ct("mxfp6-pack-quantized", **floats(6, 32, scale_dtype=torch.uint8))),
    ("llama", "fine-grained FP8", finegrained),
    ("llama", "MLX, 3 bits", mlx_layout(3)),
    ("llama", "MLX, 4 bits", mlx_layout(4)),
    ("llama", "MLX, mxfp8", mlx_layout(8, "mxfp8")),
    ("square", "NF4", nf4(False)),
    ("square", "NF4, double quantised", nf4(True)),
    ("llama", "GPTQ", gptq_layout("gptq", "none")),
    ("llama", "GPTQ with g_idx", gptq_layout("gptq", "trivial")),
    ("llama", "GPTQ by g_idx", gptq_layout("gptq", "act")),
    ("llama", "GPTQ v2, 8 bits", gptq_layout("gptq_v2", "trivial", 8)),
    ("llama", "GPTQ v2 by g_idx, 2 bits", gptq_layout("gptq_v2", "act", 2)),
    ("llama", "GPTQ of whole rows", gptq_layout("gptq", "trivial", 4, -1)),
    ("llama", "AWQ", of_gptq(awq_gemm, AWQ_CONFIG, group=32)),
    ("mixtral", "int4", INT4),
    ("mixtral", "GPTQ by g_idx", gptq_layout("gptq", "act")),
    ("qwen3_moe", "fine-grained FP8", finegrained),
    ("qwen3_moe", "AWQ", of_gptq(awq_gemm, AWQ_CONFIG, group=32)),
    ("phi3", "int4 with zero points", INT4_ASYMMETRIC),
    ("phi3", "GPTQ with g_idx", gptq_layout("gptq", "trivial")),
    ("phi3", "GPTQ v2 by g_idx", gptq_layout("gptq_v2", "act")),
    ("phi3", "AWQ", of_gptq(awq_gemm, AWQ_CONFIG, group=32)),
]

# NF4 has blocks over the ends of rows, so that only rows can be cut.
OF_ROWS = {
    "embed_tokens": "embedding_rowwise",
    "lm_head": "colwise",
    **{f"layers.*.self_attn.{name}_proj": "colwise" for name in "qkv"},
    **{f"layers.*.mlp.{name}_proj": "colwise" for name in ("gate", "up")},
}


def made(name, quantise, seed):
    config, floats_of = model(name)
    is_mlx = "group_size" in getattr(quantise, "config", {}) and "quant_method" not in quantise.config
    stored, dense = {}, {}
    for at, (key, tensor) in enumerate(floats_of.items()):
        module, _, last = key.rpartition(".")
        end = module.rpartition(".")[2]
        is_linear = last == "weight" and (end.endswith("_proj") or end in ("w1", "w2", "w3"))
        if is_linear or (is_mlx and end in ENDS):
            parts, dense[key] = quantise(*tensor.shape, seed + at)
            stored |= {f"{module}.{part}": value for part, value in parts.items()}
        else:
            stored[key] = dense[key] = tensor
    if quantise is ct_static:
        stored["model.layers.0.self_attn.k_scale"] = torch.rand(1)
        stored["model.layers.0.self_attn.v_scale"] = torch.rand(1)
    field = "quantization" if is_mlx else "quantization_config"
    return config | {field: quantise.config}, stored, dense


def gpt_oss(inner):
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    sizes = SIZES | {"num_local_experts": 3, "intermediate_size": inner}
    config = AutoConfig.for_model("gpt_oss", **sizes, dtype="bfloat16")
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    stored, dense = {}, {}
    for name, tensor in model.state_dict().items():
        if not name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            stored[name] = dense[name] = torch.randn(tensor.shape).to(torch.bfloat16)
            continue
        experts, inputs, outputs = tensor.shape
        blocks = torch.randint(0, 256, (experts, outputs, inputs // 32, 16), dtype=torch.uint8)
        scales = torch.randint(100, 140, blocks.shape[:-1], dtype=torch.uint8)
        stored |= {f"{name}_blocks": blocks, f"{name}_scales": scales}
        dense[name] = convert_moe_packed_tensors(blocks, scales, dtype=torch.bfloat16)
        halves = torch.stack([blocks & 15, blocks >> 4], -1).flatten(-2).long()
        plain = torch.ldexp(FP4[halves], scales.int().unsqueeze(-1) - 127).flatten(-2).to(torch.bfloat16)
        assert torch.equal(dense[name], plain.transpose(1, 2))
    settings = {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn", "lm_head"]}
    return config.to_dict() | {"quantization_config": settings}, stored, dense


def written(folder, case, config, stored, dense, plan=None, slice_of=sliced):
    folder.mkdir(parents=True)
    names = list(stored)
    random.shuffle(names)
    write_shards(folder, [{name: stored[name] for name in names[at::3]} for at in range(3)])
    save_file({name: tensor.contiguous() for name, tensor in dense.items()}, folder / "dense.safetensors")
    rules = ["of rows"] if plan else ["vllm", "transformers"]
    for rule in rules:
        for world in WORLDS:
            for rank in range(world):
                mine = {}
                for name, tensor in dense.items():
                    is_whole = plan and name.split(".")[-2] in ROWS
                    mine[name] = tensor if is_whole else slice_of(rule, config, name, tensor, rank, world)
                own = {name: tensor.contiguous().clone() for name, tensor in mine.items()}
                save_file(own, folder / f"{rule}-{world}-{rank}.safetensors")
    return {"case": case, "folder": str(folder), "config": config, "rules": rules, "plan": plan}


def main(folder, seed):
    torch.manual_seed(seed)
    random.seed(seed)
    cases = []
    for at, (name, layout, quantise) in enumerate(LAYOUTS):
        plan = OF_ROWS if layout.startswith("NF4") else None
        parts = made(name, quantise, seed + 1000 * at)
        cases.append(written(pathlib.Path(folder, f"{at}"), f"{name}, {layout}", *parts, plan))
    for inner in (256, 224):
        place = pathlib.Path(folder, f"gpt-oss-{inner}")
        cases.append(written(place, f"gpt_oss of {inner}", *gpt_oss(inner), slice_of=gpt_oss_sliced))
    print(json.dumps(cases))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
