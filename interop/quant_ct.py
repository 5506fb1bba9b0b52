"""Quantised checkpoints and the dense weights that the originals make of them: compressed-tensors (each format and
strategy, single matrices and whole models), FP8 (Transformers, compressed-tensors' dequantiser of blocks), and the
published formulas of DeepSeek, Mistral, fbgemm and ModelOpt in PyTorch.

With a folder as argument writes random ones there, in a folder each, and prints a list of
  case      what it is
  files     the checkpoint's files, with the folder
  configs   the JSON files beside them
  dense     the dense tensors: name, dtype, shape, sha256 of the packed little-endian bytes
"""

import json
import os
import pathlib
import sys
import tempfile
from types import SimpleNamespace

os.environ["TQDM_DISABLE"] = "1"

import compressed_tensors
import torch
from compressed_tensors.compressors import BaseCompressor, ModelCompressor
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
from compressed_tensors.entrypoints.convert.converters.fp8block_dequantizer import FP8BlockDequantizer
from compressed_tensors.quantization import (
    QuantizationArgs,
    QuantizationConfig,
    QuantizationScheme,
    apply_quantization_config,
)
from compressed_tensors.quantization.lifecycle.forward import dequantize, quantize
from compressed_tensors.quantization.utils import calculate_qparams, generate_gparam
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
from transformers.integrations.finegrained_fp8 import Fp8Dequantize, Fp8Quantize

from fixtures import sha256

DTYPES = {torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32"}
F8 = [torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz]


def packed_bytes(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def describe(name, tensor):
    data = packed_bytes(tensor.detach())
    return {"name": name, "dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "sha256": sha256(data)}


# ---- compressed-tensors


def extremes(weight, args):
    """Least and largest value of what shares a scale."""
    rows, columns = weight.shape
    if args.strategy == "tensor":
        return weight.min().reshape(1), weight.max().reshape(1)
    if args.strategy == "channel":
        return weight.amin(1, keepdim=True), weight.amax(1, keepdim=True)
    if args.strategy == "block":
        height, width = args.block_structure
        padded = torch.nn.functional.pad(weight, (0, -columns % width, 0, -rows % height))
        blocks = padded.reshape(-(-rows // height), height, -(-columns // width), width)
        return blocks.amin((1, 3)), blocks.amax((1, 3))
    groups = weight.reshape(rows, columns // args.group_size, args.group_size)
    return groups.amin(2), groups.amax(2)


def parameters(weight, args):
    """What the scheme stores beside a weight, as a calibration gives it."""
    low, high = extremes(weight, args)
    state = {}
    if args.strategy == "tensor_group":
        state["weight_global_scale"] = generate_gparam(weight.min().reshape(1), weight.max().reshape(1))
    scale, zero = calculate_qparams(low, high, args, state.get("weight_global_scale"))
    state["weight_scale"] = scale.to(torch.bfloat16) if args.scale_dtype else scale
    state["weight_zero_point"] = zero
    return state


def ct_config(args, form, inputs=None, **more):
    group = {"targets": ["Linear"], "weights": args.model_dump(mode="json"), "input_activations": inputs}
    return {
        "quant_method": "compressed-tensors",
        "format": form,
        "quantization_status": "compressed",
        "version": compressed_tensors.__version__,
        "config_groups": {"group_0": group},
        "ignore": ["lm_head"],
        **more,
    }


def matrix(form, rows, columns, dtype=torch.bfloat16, seed=0, **arguments):
    """One matrix, compressed and decompressed by the compressor of the format."""
    torch.manual_seed(seed)
    args = QuantizationArgs(**arguments)
    scheme = QuantizationScheme(targets=["Linear"], weights=args)
    weight = torch.randn(rows, columns, dtype=dtype) * 0.1
    compressor = BaseCompressor.get_value_from_registry(form)
    stored = compressor.compress({"weight": weight, **parameters(weight, args)}, scheme)
    # The default compressor of F8 leaves scales as they are.
    dense = compressor.decompress(stored, scheme)["weight"]
    said = " ".join(str(value) for value in arguments.values())
    return {
        "case": f"{form} [{rows},{columns}] {DTYPES[dtype]} {said}",
        "shards": [{f"l.{name}": tensor for name, tensor in stored.items()}],
        "configs": {"config.json": {"quantization_config": ct_config(args, form)}},
        "dense": {"l.weight": dense},
    }


def pack_whole(codes, bits, packed_dim=1):
    """The packing of compressed-tensors before 0.18.0: as many codes a word as it holds whole."""
    codes = codes.to(torch.int64) + 2 ** (bits - 1)
    if packed_dim == 0:
        codes = codes.T
    per_word = 32 // bits
    padded = torch.nn.functional.pad(codes, (0, -codes.shape[1] % per_word))
    words = sum(padded[:, k::per_word] << (bits * k) for k in range(per_word))
    words = torch.where(words >= 2**31, words - 2**32, words).to(torch.int32)
    return (words.T if packed_dim == 0 else words).contiguous()


def old_matrix(bits, rows, columns, group, zeros="packed", order=None, dtype=torch.bfloat16, pack=pack_whole):
    """pack-quantized as older versions wrote it: packing, zero points, order of the columns."""
    torch.manual_seed(bits)
    args = QuantizationArgs(num_bits=bits, symmetric=zeros is None, strategy="group", group_size=group)
    weight = torch.randn(rows, columns, dtype=dtype) * 0.1
    indices = torch.arange(columns) // group if order is None else order
    sorted_weight = weight[:, torch.argsort(indices, stable=True)]
    state = parameters(sorted_weight, args)
    scale, zero = state["weight_scale"], state["weight_zero_point"]
    codes = quantize(sorted_weight, scale, zero, args, dtype=torch.int8)
    dense = dequantize(codes, scale, zero if zeros else None, args)
    back = torch.argsort(torch.argsort(indices, stable=True))
    stored = {
        "l.weight_packed": pack(codes[:, back], bits),
        "l.weight_scale": scale,
        "l.weight_shape": torch.tensor([rows, columns]),
    }
    if zeros == "packed":
        stored["l.weight_zero_point"] = pack(zero, bits, packed_dim=0)
    if zeros == "bytes":
        stored["l.weight_zero_point"] = zero
    if order is not None:
        stored["l.weight_g_idx"] = indices.to(torch.int32)
    config = ct_config(args, "pack-quantized")
    if order is not None:
        config["config_groups"]["group_0"]["weights"]["actorder"] = "group"
    if pack is pack_whole:
        config["version"] = "0.17.0"
    layout = "old" if pack is pack_whole else "dense"
    return {
        "case": f"{layout} packing of {bits} bits [{rows},{columns}] zeros {zeros} {'' if order is None else 'g_idx'}",
        "shards": [stored],
        "configs": {"config.json": {"quantization_config": config}},
        "dense": {"l.weight": dense[:, back].contiguous()},
    }


def integers(bits, group=None, symmetric=True):
    strategy = "channel" if group is None else "group"
    return {"num_bits": bits, "symmetric": symmetric, "strategy": strategy, "group_size": group}


def floats(bits, group=None, strategy="group", scale_dtype=None, **more):
    return {
        "num_bits": bits,
        "type": "float",
        "strategy": strategy,
        "group_size": group,
        "scale_dtype": scale_dtype,
        **more,
    }


NVFP4 = floats(4, 16, "tensor_group", torch.float8_e4m3fn)


def ct_matrices():
    for bits in range(2, 9):
        yield matrix("pack-quantized", 10, 96, **integers(bits, 32))
        yield matrix("pack-quantized", 21, 96, **integers(bits, 32, symmetric=False))
    yield matrix("pack-quantized", 5, 75, **integers(3), seed=1)
    yield matrix("pack-quantized", 9, 75, torch.float16, **integers(4, symmetric=False))
    yield matrix("pack-quantized", 9, 64, torch.float32, **integers(4, 16, symmetric=False))
    yield old_matrix(3, 11, 96, 32)
    yield old_matrix(5, 12, 64, 32, zeros=None)
    yield old_matrix(6, 11, 96, 32, zeros="bytes")
    yield old_matrix(4, 10, 64, 32, zeros="bytes")
    order = torch.randperm(96, generator=torch.Generator().manual_seed(7)) // 32
    yield old_matrix(4, 16, 96, 32, order=order)
    yield old_matrix(3, 16, 96, 32, zeros=None, order=order, pack=pack_to_int32)
    for form in ("int-quantized", "naive-quantized"):
        for symmetric in (True, False):
            yield matrix(form, 7, 33, num_bits=8, strategy="channel", symmetric=symmetric)
            yield matrix(form, 7, 33, torch.float32, num_bits=8, strategy="tensor", symmetric=symmetric)
    yield matrix("naive-quantized", 7, 64, **integers(6, 32, symmetric=False))
    for strategy in ("tensor", "channel"):
        yield matrix("float-quantized", 7, 33, **floats(8, strategy=strategy))
        yield matrix("float-quantized", 7, 33, torch.float32, **floats(8, strategy=strategy))
    yield matrix("float-quantized", 20, 50, **floats(8, strategy="block", block_structure=[16, 16]))
    yield matrix("naive-quantized", 6, 64, **floats(8, 16))
    yield matrix("nvfp4-pack-quantized", 6, 64, **NVFP4)
    yield matrix("mxfp4-pack-quantized", 6, 64, **floats(4, 32, scale_dtype=torch.uint8))
    yield matrix("mxfp6-pack-quantized", 6, 64, **floats(6, 32, scale_dtype=torch.uint8))
    yield matrix("mxfp8-quantized", 6, 64, **floats(8, 32, scale_dtype=torch.uint8))


def small_llama():
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=32,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        dtype="bfloat16",
    )
    return LlamaForCausalLM(config).to(torch.bfloat16)


def saved(model, size, update=None):
    """The files that save_pretrained writes, in shards of this size."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder, max_shard_size=size)
        if update:
            update(folder)
        files = sorted(pathlib.Path(folder).glob("*.safetensors"))
        config = json.loads((pathlib.Path(folder) / "config.json").read_text(encoding="utf-8"))
        return [load_file(file) for file in files], {"config.json": config}


def ct_model(title, groups, ignore=("lm_head",)):
    """A model that ModelCompressor compresses, saves, and decompresses."""
    model = small_llama()
    schemes = {
        name: QuantizationScheme(targets=targets, weights=QuantizationArgs(**arguments), **more)
        for name, (targets, arguments, more) in groups.items()
    }
    apply_quantization_config(model, QuantizationConfig(config_groups=schemes, ignore=list(ignore)))
    for module in model.modules():
        scheme = getattr(module, "quantization_scheme", None)
        if scheme is None or scheme.weights is None:
            continue
        for name, value in parameters(module.weight.data, scheme.weights).items():
            module.register_parameter(name, torch.nn.Parameter(value, requires_grad=False))
        for name, value in module.named_parameters(recurse=False):
            if name.startswith("input_"):
                value.data.fill_(1)
    compressor = ModelCompressor.from_pretrained_model(model)
    compressor.compress_model(model)
    shards, configs = saved(model, "4KB", compressor.update_config)
    compressor.decompress_model(model)
    dense = {
        name: value
        for name, value in model.state_dict().items()
        if name.rpartition(".")[2] in ("weight", "bias")
    }
    return {"case": title, "shards": shards, "configs": configs, "dense": dense}


def ct_models():
    inputs = QuantizationArgs(num_bits=8, type="float", strategy="tensor")
    yield ct_model("model W4A16_ASYM", {"group_0": (["Linear"], integers(4, 32, symmetric=False), {})})
    yield ct_model(
        "model NVFP4 and FP8",
        {
            "group_0": (["re:.*self_attn.*"], NVFP4, {}),
            "group_1": (
                ["Linear"],
                floats(8, strategy="channel"),
                {"input_activations": inputs},
            ),
        },
        ignore=["re:.*lm_head", "model.layers.0.mlp.up_proj"],
    )


# ---- FP8


def scales(*shape, dtype=torch.float32):
    values = torch.rand(shape) * 0.01 + 0.001
    return values.to(dtype)


def bits_of(dtype, *shape):
    """All kinds of numbers but NaN and infinities."""
    bits = torch.randint(0, 256, shape, dtype=torch.uint8)
    values = bits.view(dtype)
    return torch.where(torch.isfinite(values.to(torch.float32)), bits, 0).view(dtype)


def fp8_case(case, tensors, dense, config=None, dtype="bfloat16", **files):
    configs = {"config.json": {"dtype": dtype, "quantization_config": config}} if config else {}
    shards = [dict(list(tensors.items())[0::2]), dict(list(tensors.items())[1::2])]
    return {"case": case, "shards": shards, "configs": {**configs, **files}, "dense": dense}


def deepseek(weight, scale, block=128):
    """weight_dequant of DeepSeek-V3: the product in float32 of each element and the scale of its block."""
    rows, columns = weight.shape[-2:]
    spread = scale.to(torch.float32).repeat_interleave(block, -2).repeat_interleave(block, -1)
    return weight.to(torch.float32) * spread[..., :rows, :columns]


FP4 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


def unpack_fp4(packed):
    """Two elements a byte, the first in the lower half."""
    codes = packed.view(torch.uint8).to(torch.int64)
    return FP4[torch.stack([codes & 15, codes >> 4], -1).flatten(-2)]


def fp8_cases():
    torch.manual_seed(11)
    config = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}
    once = Fp8Dequantize(None)
    for dtype in F8:
        name = str(dtype).removeprefix("torch.float8_")
        weight, scale = bits_of(dtype, 6, 40), scales()
        static = {"l.weight": weight, "l.weight_scale": scale, "l.input_scale": scales(1)}
        yield fp8_case(f"per tensor, {name}", static, {"l.weight": weight.to(torch.float32) * scale})
        scale = scales(6, 1, dtype=torch.bfloat16)
        tensors = {"l.weight": weight, "l.weight_scale": scale}
        dense = (weight.to(torch.float32) * scale.to(torch.float32)).to(torch.bfloat16)
        yield fp8_case(f"per channel, {name}", tensors, {"l.weight": dense})

    e4m3 = torch.float8_e4m3fn
    weight, scale = bits_of(e4m3, 256, 16), scales(2, 1)
    dense = once._dequantize_one(weight, scale, torch.bfloat16)
    yield fp8_case("blocks", {"l.weight": weight, "l.weight_scale_inv": scale}, {"l.weight": dense}, config)
    weight, scale = bits_of(e4m3, 130, 20), scales(2, 1)
    ragged = FP8BlockDequantizer(targets=["l"], weight_block_size=(128, 128), dtype=torch.bfloat16)
    dense = ragged._create_dequantized_weight(weight, scale)
    assert torch.equal(dense, deepseek(weight, scale).to(torch.bfloat16))
    yield fp8_case("ragged blocks", {"l.weight": weight, "l.weight_scale_inv": scale}, {"l.weight": dense}, config)
    small = {**config, "weight_block_size": [16, 32]}
    weight, scale = bits_of(e4m3, 40, 70), scales(3, 3).to(torch.float8_e8m0fnu)
    ragged = FP8BlockDequantizer(targets=["l"], weight_block_size=(16, 32), dtype=torch.bfloat16)
    dense = ragged._create_dequantized_weight(weight, scale)
    tensors = {"l.weight": weight, "l.weight_scale_inv": scale}
    yield fp8_case("ragged blocks of 16 by 32, E8M0", tensors, {"l.weight": dense}, small)

    small = {**config, "weight_block_size": [16, 16]}
    weight, scale = bits_of(e4m3, 2, 32, 48), scales(2, 2, 3)
    dense = once._dequantize_one(weight, scale, torch.bfloat16)
    for ending in ("scale_inv", "scales_inv"):
        tensors = {"e.experts.gate_up_proj": weight, f"e.experts.gate_up_proj_{ending}": scale}
        yield fp8_case(f"fused experts, {ending}", tensors, {"e.experts.gate_up_proj": dense}, small)
    weight, scale = bits_of(e4m3, 3, 20, 24), scales(3, 2, 2)
    dense = torch.stack([deepseek(one, scale[at], 16) for at, one in enumerate(weight)]).to(torch.bfloat16)
    tensors = {"e.experts.down_proj": weight, "e.experts.down_proj_scale_inv": scale}
    yield fp8_case("fused experts, ragged blocks", tensors, {"e.experts.down_proj": dense}, small)
    packed = torch.randint(-128, 128, (2, 6, 32), dtype=torch.int8)
    scale = scales(2, 6, 2).to(torch.float8_e8m0fnu)
    dense = once._dequantize_one(packed, scale, torch.bfloat16)
    tensors = {"e.experts.down_proj": packed, "e.experts.down_proj_scale_inv": scale}
    yield fp8_case("fused experts of FP4", tensors, {"e.experts.down_proj": dense}, small)

    fbgemm = {"quant_method": "fbgemm_fp8", "activation_scale_ub": 1200.0, "modules_to_not_convert": []}
    up, up_scale = bits_of(e4m3, 2, 12, 20), scales(2, 1, 20)
    down, down_scale = bits_of(e4m3, 2, 10, 12), scales(2, 12, 1)
    line, line_scale = bits_of(e4m3, 12, 10), scales(12, 1)
    tensors = {
        "e.gate_up_proj": up,
        "e.gate_up_proj_scale": up_scale,
        "e.down_proj": down,
        "e.down_proj_scale": down_scale,
        "l.weight": line,
        "l.weight_scale": line_scale,
        "l.input_scale_ub": scales(1),
    }
    dense = {
        "e.gate_up_proj": (up.to(torch.float32) * up_scale).to(torch.bfloat16),
        "e.down_proj": (down.to(torch.float32) * down_scale.transpose(1, 2)).to(torch.bfloat16),
        "l.weight": (line.to(torch.float32) * line_scale).to(torch.bfloat16),
    }
    yield fp8_case("fbgemm, experts of Llama 4", tensors, dense, fbgemm)

    weight, scale = bits_of(e4m3, 8, 10), scales()
    tensors = {"wq.weight": weight, "wq.qscale_weight": scale, "wq.qscale_act": scales()}
    params = {"quantization": {"qformat_weight": "fp8_e4m3", "qscheme_act": "TENSOR"}}
    dense = {"wq.weight": weight.to(torch.float32) * scale}
    yield fp8_case("Mistral, consolidated", tensors, dense, **{"params.json": params})

    weight, scale = bits_of(e4m3, 130, 40), torch.randint(100, 140, (2, 1), dtype=torch.uint8)
    packed = torch.randint(-128, 128, (6, 32), dtype=torch.int8)
    exponents = torch.tensor([[0, 1], [127, 254], [120, 121], [126, 128], [2, 3], [9, 200]], dtype=torch.uint8)
    tensors = {
        "wq.weight": weight,
        "wq.scale": scale.view(torch.float8_e8m0fnu),
        "ffn.experts.0.w1.weight": packed,
        "ffn.experts.0.w1.scale": exponents.view(torch.float8_e8m0fnu),
    }
    spread = exponents.view(torch.float8_e8m0fnu).to(torch.float32).repeat_interleave(32, 1)
    dense = {
        "wq.weight": deepseek(weight, scale.view(torch.float8_e8m0fnu)).to(torch.bfloat16),
        "ffn.experts.0.w1.weight": (unpack_fp4(packed) * spread).to(torch.bfloat16),
    }
    v4 = fp8_case("DeepSeek-V4", tensors, dense, {**config, "scale_fmt": "ue8m0"})
    v4["configs"]["config.json"]["expert_dtype"] = "fp4"
    yield v4


def fp8_model():
    """A model that Transformers makes FP8, with scales in other shards than weights; and dense, as it loads it."""
    model = small_llama()
    settings = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [32, 32]}
    settings["modules_to_not_convert"] = ["lm_head"]
    quantizer = SimpleNamespace(quantization_config=SimpleNamespace(weight_block_size=[32, 32], scale_fmt="float"))
    weights, beside = {}, {}
    for name, value in model.state_dict().items():
        is_linear = name.endswith("_proj.weight")
        made = Fp8Quantize(quantizer).convert({name: [value]}) if is_linear else {name: value}
        for key, tensor in made.items():
            (beside if key.endswith("_inv") else weights)[key] = tensor.contiguous().clone()
    shards = [beside, weights]
    config = {**model.config.to_dict(), "quantization_config": settings}
    with tempfile.TemporaryDirectory() as folder:
        write_shards(pathlib.Path(folder), shards)
        (pathlib.Path(folder) / "config.json").write_text(json.dumps(config), encoding="utf-8")
        loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    dense = {name: value.contiguous() for name, value in loaded.state_dict().items()}
    return {"case": "model of Transformers", "shards": shards, "configs": {"config.json": config}, "dense": dense}


# ---- ModelOpt


def modelopt_case(case, algorithm, tensors, dense, **more):
    quantization = {"quant_algo": algorithm, "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head"], **more}
    files = {"hf_quant_config.json": {"producer": {"name": "modelopt"}, "quantization": quantization}}
    configs = {"config.json": {"torch_dtype": "bfloat16"}, **files}
    return {"case": case, "shards": [tensors], "configs": configs, "dense": {"l.weight": dense.to(torch.bfloat16)}}


def modelopt_cases():
    torch.manual_seed(13)
    e4m3 = torch.float8_e4m3fn
    weight, scale = bits_of(e4m3, 6, 40), scales()
    tensors = {"l.weight": weight, "l.weight_scale": scale, "l.input_scale": scales(), "a.k_scale": scales(1)}
    yield modelopt_case("FP8", "FP8", tensors, weight.to(torch.float32) * scale)
    scale = scales(6)
    tensors = {"l.weight": weight, "l.weight_scale": scale}
    dense = weight.to(torch.float32) * scale[:, None]
    yield modelopt_case("FP8 per channel", "FP8_PER_CHANNEL_PER_TOKEN", tensors, dense)

    packed = torch.randint(0, 256, (6, 32), dtype=torch.uint8)
    inner, outer = (torch.rand(6, 4) * 400).to(e4m3), scales()
    tensors = {
        "l.weight": packed,
        "l.weight_scale": inner,
        "l.weight_scale_2": outer,
        "l.input_scale": scales(),
        "l.k_scale": scales(),
    }
    dense = unpack_fp4(packed) * (inner.to(torch.float32) * outer).repeat_interleave(16, 1)
    yield modelopt_case("NVFP4", "NVFP4", tensors, dense, group_size=16)
    factors = torch.rand(64).to(torch.bfloat16)
    scale = (inner.to(torch.float32) * outer).repeat_interleave(16, 1) * factors.to(torch.float32)
    awq = {**tensors, "l.pre_quant_scale": factors}
    yield modelopt_case("NVFP4_AWQ", "NVFP4_AWQ", awq, unpack_fp4(packed) * scale, group_size=16)

    codes = torch.randint(-8, 8, (10, 64), dtype=torch.int8)
    nibbles = codes.view(torch.uint8) & 15
    packed = nibbles[0::2] | (nibbles[1::2] << 4)
    scale, factors = scales(10, 2, dtype=torch.bfloat16), torch.rand(64).to(torch.bfloat16)
    tensors = {"l.weight": packed, "l.weight_scale": scale, "l.pre_quant_scale": factors}
    dense = codes.to(torch.float32) * scale.to(torch.float32).repeat_interleave(32, 1)
    dense = dense * factors.to(torch.float32)
    yield modelopt_case("W4A16_AWQ", "W4A16_AWQ", tensors, dense, group_size=32)

    weight, scale = bits_of(e4m3, 6, 64), torch.randint(100, 140, (6, 2), dtype=torch.uint8)
    dense = weight.to(torch.float32) * scale.view(torch.float8_e8m0fnu).to(torch.float32).repeat_interleave(32, 1)
    yield modelopt_case("MXFP8", "MXFP8", {"l.weight": weight, "l.weight_scale": scale}, dense)
    packed = torch.randint(0, 256, (6, 32), dtype=torch.uint8)
    dense = unpack_fp4(packed) * scale.view(torch.float8_e8m0fnu).to(torch.float32).repeat_interleave(32, 1)
    yield modelopt_case("MXFP4", "W4A8_MXFP4_FP8", {"l.weight": packed, "l.weight_scale": scale}, dense)
    weight, scale = torch.randint(-128, 128, (6, 40), dtype=torch.int8), scales(6)
    dense = weight.to(torch.float32) * scale[:, None]
    yield modelopt_case("W8A16", "W8A16", {"l.weight": weight, "l.weight_scale": scale}, dense)


GROUPS = {
    "ct": lambda: [*ct_matrices(), *ct_models()],
    "fp8": lambda: [*fp8_cases(), fp8_model()],
    "modelopt": lambda: list(modelopt_cases()),
}


def write_shards(folder, shards):
    """The files of a checkpoint, with an index if there are several."""
    shards = [{name: value.contiguous() for name, value in shard.items()} for shard in shards if shard]
    if len(shards) == 1:
        save_file(shards[0], folder / "model.safetensors")
        return ["model.safetensors"]
    names = [f"model-{at + 1:05}-of-{len(shards):05}.safetensors" for at in range(len(shards))]
    for name, shard in zip(names, shards):
        save_file(shard, folder / name, {"format": "pt"})
    places = {key: name for name, shard in zip(names, shards) for key in shard}
    index = {"metadata": {"total_size": 0}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return names


def main(folder):
    listed = []
    for group, make in GROUPS.items():
        for at, case in enumerate(make()):
            place = pathlib.Path(folder) / f"{group}-{at}"
            place.mkdir(parents=True)
            write_shards(place, case["shards"])
            dense = [describe(name, tensor) for name, tensor in sorted(case["dense"].items())]
            title = f"{group}: {case['case']}"
            listed.append({"case": title, "folder": str(place), "configs": case["configs"], "dense": dense})
    print(json.dumps(listed))


if __name__ == "__main__":
    main(sys.argv[1])
