"""Makes small checkpoints in the quantised layouts of gpt-oss, bitsandbytes, HQQ, MLX, torchao, quanto,
ComfyUI and BitNet, each with the library that the layout is from, and what that library makes of them.

Usage: quant_others.py FOLDER SEED. For each case it writes `<case>/model.safetensors`, `<case>/config.json`,
`<case>/dense.safetensors`, and prints a JSON list of {case, bounds}: `bounds` has, for weights that the
library computes with more than one rounding, the largest difference that these can make; the rest is equal
bit for bit.

ComfyUI's own library needs a GPU's toolkit: its formulas are written down here from its sources.
"""

import json
import pathlib
import sys

import mlx.core as mx
import mlx.nn as mlx_nn
import numpy as np
import torch
from mlx.utils import tree_flatten
from safetensors.torch import save_file

HIDDEN = 64


class Case:
    """A checkpoint that is being made: `put` adds stored tensors, `expect` the dense ones."""

    def __init__(self, folder, name, config=None):
        self.path = folder / name
        self.path.mkdir(parents=True)
        self.name = name
        self.config = config or {}
        self.tensors, self.dense, self.bounds = {}, {}, {}

    def put(self, tensors, prefix=""):
        for name, tensor in tensors.items():
            self.tensors[prefix + name] = tensor.detach().contiguous().clone()

    def expect(self, name, dense, bound=None):
        self.dense[name] = dense.detach().contiguous().clone()
        if bound is not None:
            self.bounds[name] = float(bound)

    def save(self, metadata=None):
        if self.tensors:
            save_file(self.tensors, self.path / "model.safetensors", metadata=metadata)
        save_file(self.dense, self.path / "dense.safetensors")
        (self.path / "config.json").write_text(json.dumps(self.config), newline="\n")
        return {"case": self.name, "bounds": self.bounds}


def two_roundings(dense, shift=None):
    """What rounding an intermediate result, too, can change: a unit in the last place of the largest number.

    Where `dense` is a product with a shift added or taken off, the product can be the largest.
    """
    unit = {torch.float16: 2**-10, torch.bfloat16: 2**-7}[dense.dtype]
    most = float(dense.abs().max())
    return unit * (most if shift is None else most + float(shift.abs().max()))


def gpt_oss(folder):
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    cases = []
    for name, names in {
        "gpt-oss": "model.layers.{}.mlp.experts.{}_proj{}",
        "gpt-oss-original": "block.{}.mlp.mlp{}_weight{}",
    }.items():
        case = Case(folder, name, {"quantization_config": {"quant_method": "mxfp4"}})
        is_original = name == "gpt-oss-original"
        for layer in range(2):
            for which, rows, columns in (("gate_up", 12, 64), ("down", 8, 32)):
                blocks = torch.randint(0, 256, (3, rows, columns // 32, 16), dtype=torch.uint8)
                scales = torch.randint(100, 140, blocks.shape[:-1], dtype=torch.uint8)
                scales[0, 0, 0], scales[0, 1, 0] = 0, 252
                which = {"gate_up": 1, "down": 2}[which] if is_original else which
                suffix = "." if is_original else "_"
                case.put(
                    {
                        names.format(layer, which, suffix + "blocks"): blocks,
                        names.format(layer, which, suffix + "scales"): scales,
                    }
                )
                swapped = convert_moe_packed_tensors(blocks, scales, dtype=torch.bfloat16)
                # Parameters of transformers have inputs before outputs; OpenAI's have the order of the blocks.
                case.expect(names.format(layer, which, ""), swapped.transpose(1, 2) if is_original else swapped)
        case.put({"model.norm.weight": torch.randn(HIDDEN)})
        cases.append(case.save())
    return cases


def bitsandbytes(folder):
    import bitsandbytes as bnb
    from bitsandbytes.backends.default.ops import _dequantize_4bit_compute
    from bitsandbytes.functional import dequantize_4bit, dequantize_blockwise, int8_vectorwise_dequant

    config = {"torch_dtype": "bfloat16", "quantization_config": {"quant_method": "bitsandbytes"}}
    case = Case(folder, "bitsandbytes-4bit", config)
    kinds = (
        ("up_proj", (24, 64), "nf4", False, torch.uint8, torch.bfloat16, 64),
        ("gate_proj", (16, 96), "nf4", True, torch.uint8, torch.float16, 64),
        ("down_proj", (16, 128), "fp4", True, torch.bfloat16, torch.bfloat16, 32),
        ("q_proj", (290, 64), "nf4", True, torch.uint8, torch.bfloat16, 64),
        ("k_proj", (9, 17), "fp4", False, torch.uint8, torch.float32, 64),
        ("v_proj", (32, 32), "fp4", False, torch.float32, torch.float16, 128),
    )
    for name, shape, kind, nested, storage, dtype, blocksize in kinds:
        layer = bnb.nn.Linear4bit(
            shape[1], shape[0], bias=False, quant_type=kind, compress_statistics=nested, quant_storage=storage
        )
        weight = torch.randn(shape).to(dtype)
        layer.weight = bnb.nn.Params4bit(
            weight,
            requires_grad=False,
            quant_type=kind,
            compress_statistics=nested,
            blocksize=blocksize,
            quant_storage=storage,
        )
        layer = layer.to("cpu")
        if layer.weight.quant_state is None:
            layer.weight = layer.weight._quantize("cpu")
        case.put(layer.state_dict(), f"model.layers.0.{name}.")
        state = layer.weight.quant_state
        absmax = state.absmax
        if state.nested:
            absmax = dequantize_blockwise(absmax, state.state2) + state.offset
        flat = layer.weight.data.view(torch.uint8).reshape(-1)
        dense = _dequantize_4bit_compute(flat, absmax, state.code, state.blocksize, shape, dtype)
        # Its kernel for CPUs gives the same values, but no negative zeros.
        assert torch.equal(dense, dequantize_4bit(layer.weight.data, state).reshape(shape))
        case.expect(f"model.layers.0.{name}.weight", dense)
    case.put({"model.norm.weight": torch.randn(HIDDEN)})
    cases = [case.save()]

    case = Case(folder, "bitsandbytes-int8", config)
    for name in ("q_proj", "o_proj"):
        codes = torch.randint(-127, 128, (12, 40), dtype=torch.int8)
        scb = torch.rand(12) * 3
        case.put(
            {"weight": codes, "SCB": scb, "weight_format": torch.tensor(0, dtype=torch.uint8)}, f"{name}."
        )
        dense = int8_vectorwise_dequant(codes, scb)
        # Two roundings of float32 there, one here: a unit in the last place of the largest number, or two.
        case.expect(f"{name}.weight", dense, float(dense.abs().max()) * 2**-22)
    cases.append(case.save())
    return cases


def hqq(folder):
    from hqq.core.quantize import BaseQuantizeConfig, HQQLinear

    cases = []
    for dtype in (torch.float32, torch.float16):
        name = f"hqq-{str(dtype)[6:]}"
        case = Case(folder, name, {"quantization_config": {"quant_method": "hqq"}})
        # HQQ itself asserts that rows divide by the codes of a byte, but for 3 bits.
        for bits, axis in ((8, 0), (8, 1), (4, 0), (4, 1), (3, 1), (2, 1), (1, 0)):
            linear = torch.nn.Linear(64, 24, bias=axis == 0)
            settings = BaseQuantizeConfig(nbits=bits, group_size=32, axis=axis)
            layer = HQQLinear(linear, settings, compute_dtype=dtype, device="cpu")
            prefix = f"layers.{bits}.axis_{axis}."
            case.put({k: v for k, v in layer.state_dict().items() if v is not None}, prefix)
            dense = layer.dequantize()
            case.expect(f"{prefix}weight", dense, None if dtype == torch.float32 else two_roundings(dense))
        cases.append(case.save())
    return cases


def to_torch(array):
    """An array of MLX as a tensor of torch."""
    if array.dtype == mx.bfloat16:
        bits = np.array(array.view(mx.uint16))
        return torch.from_numpy(bits.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(np.array(array).copy())


class MlxBlock(mlx_nn.Module):
    def __init__(self):
        super().__init__()
        self.up_proj = mlx_nn.Linear(HIDDEN, 16, bias=False)
        self.down_proj = mlx_nn.Linear(64, 8, bias=True)
        self.norm = mlx_nn.RMSNorm(HIDDEN)


class MlxModel(mlx_nn.Module):
    def __init__(self):
        super().__init__()
        self.embed_tokens = mlx_nn.Embedding(8, 64)
        self.layers = [MlxBlock(), MlxBlock()]


def mlx(folder):
    mx.set_default_device(mx.cpu)
    mx.random.seed(torch.initial_seed())
    kinds = [
        ("affine", bits, group) for bits, group in ((2, 64), (3, 32), (4, 64), (5, 32), (6, 64), (8, 32))
    ]
    kinds += [("mxfp4", 4, 32), ("nvfp4", 4, 16), ("mxfp8", 8, 32)]
    cases = []
    for dtype in (mx.float32, mx.float16, mx.bfloat16):
        for mode, bits, group in kinds if dtype == mx.float32 else kinds[1:4:2]:
            model = MlxModel()
            model.set_dtype(dtype)
            own = {"group_size": 32, "bits": 8, "mode": "affine"}
            overrides = {"layers.1.down_proj": own} if mode == "affine" else {}

            def choose(path, module, overrides=overrides):
                return overrides.get(path, hasattr(module, "to_quantized") and not path.endswith("0.up_proj"))

            mlx_nn.quantize(model, group, bits, mode=mode, class_predicate=choose)
            quantization = {
                "group_size": group,
                "bits": bits,
                "mode": mode,
                "layers.0.up_proj": False,
                **overrides,
            }
            name = f"mlx-{mode}-{bits}-{str(dtype).split('.')[-1]}"
            case = Case(folder, name, {"quantization": quantization, "quantization_config": quantization})
            stored = dict(tree_flatten(model.parameters()))
            mx.save_safetensors(str(case.path / "model.safetensors"), stored, metadata={"format": "mlx"})
            for weight, module in model.named_modules():
                if not isinstance(module, (mlx_nn.QuantizedLinear, mlx_nn.QuantizedEmbedding)):
                    continue
                parts = [
                    module.weight,
                    module.scales,
                    *([module.biases] if module.get("biases") is not None else []),
                ]
                settings = {"group_size": module.group_size, "bits": module.bits, "mode": module.mode}
                dense = to_torch(mx.dequantize(*parts, **settings))
                bound = None
                if module.mode == "affine" and dtype != mx.float32:
                    bound = two_roundings(dense, to_torch(module.biases))
                case.expect(f"{weight}.weight", dense, bound)
            cases.append(case.save())
    return cases


def torchao(folder):
    from torchao.prototype.safetensors.safetensors_support import flatten_tensor_state_dict
    from torchao.quantization import (
        Float8WeightOnlyConfig,
        Int4Tensor,
        Int8WeightOnlyConfig,
        IntxWeightOnlyConfig,
        MappingType,
        PerGroup,
        PerTensor,
        quantize_,
    )

    kinds = {
        "int8": Int8WeightOnlyConfig(),
        "int8_tensor": Int8WeightOnlyConfig(granularity=PerTensor()),
        "float8": Float8WeightOnlyConfig(),
        "intx": IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=PerGroup(32)),
        "intx_asymmetric": IntxWeightOnlyConfig(
            weight_dtype=torch.int3, granularity=PerGroup(32), mapping_type=MappingType.ASYMMETRIC
        ),
    }
    cases = []
    for dtype in (torch.bfloat16, torch.float32):
        case = Case(folder, f"torchao-{str(dtype)[6:]}", {"quantization_config": {"quant_method": "torchao"}})
        state = {}
        for name, config in kinds.items():
            layer = torch.nn.Sequential(torch.nn.Linear(64, 16)).to(dtype)
            quantize_(layer, config)
            for key, value in layer.state_dict().items():
                state[f"model.{name}.{key.split('.')[1]}"] = value
            case.expect(f"model.{name}.weight", layer[0].weight.dequantize())
        # torchao makes none of these without a GPU, and never dequantises them: the formula of its kernel.
        codes = torch.randint(-8, 8, (16, 64), dtype=torch.int8)
        scale, zero = torch.rand(2, 16).to(dtype), torch.randn(2, 16).to(dtype)
        packed = (codes[:, 1::2] << 4) | (codes[:, ::2] & 15)
        state["model.int4.weight"] = Int4Tensor(packed, scale, zero, [1, 32], torch.Size([16, 64]))
        exact = codes.float() * scale.float().t().repeat_interleave(32, 1)
        exact = exact + zero.float().t().repeat_interleave(32, 1)
        unit = 2**-7 if dtype == torch.bfloat16 else 2**-21
        case.expect("model.int4.weight", exact.to(dtype), unit * float(exact.abs().max() + 8 * scale.max()))
        tensors, metadata = flatten_tensor_state_dict(state)
        case.put(tensors)
        cases.append(case.save(metadata))
    return cases


def quanto(folder):
    from optimum.quanto import freeze, qfloat8, qfloat8_e5m2, qint2, qint4, qint8, quantize

    kinds = {"qint8": qint8, "qfloat8": qfloat8, "e5m2": qfloat8_e5m2, "qint4": qint4, "qint2": qint2}
    cases = []
    for dtype in (torch.float32, torch.bfloat16):
        case = Case(folder, f"quanto-{str(dtype)[6:]}", {"hidden_size": 192})
        for kind, qtype in kinds.items():
            for name, outputs, inputs, bias in (
                ("up_proj", 8, 192, False),
                ("down_proj", 192, 32, False),
                ("lm_head", 16, 256, True),
            ):
                if name != "up_proj" and kind not in ("qint4", "qint2"):
                    continue
                layer = torch.nn.Sequential(torch.nn.Linear(inputs, outputs, bias=bias)).to(dtype)
                quantize(layer, weights=qtype)
                freeze(layer)
                stored = {key[2:]: value for key, value in layer.state_dict().items()}
                case.put(stored, f"{kind}.{name}.")
                dense = layer[0].weight.dequantize()
                is_affine = dtype == torch.bfloat16 and kind in ("qint4", "qint2")
                bound = two_roundings(dense, stored["weight._shift"]) if is_affine else None
                case.expect(f"{kind}.{name}.weight", dense, bound)
        cases.append(case.save())
    return cases


E2M1 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


def tiled(scales):
    """Scales in the tiles of cuBLAS: 128 rows and 4 columns, of which rows 0, 32, 64, 96 lie together."""
    rows, columns = scales.shape
    padded = torch.zeros((rows + 127) // 128 * 128, (columns + 3) // 4 * 4, dtype=scales.dtype)
    padded[:rows, :columns] = scales
    tiles = padded.view(padded.shape[0] // 128, 128, padded.shape[1] // 4, 4).permute(0, 2, 1, 3)
    return tiles.reshape(-1, 4, 32, 4).transpose(1, 2).reshape(padded.shape).contiguous()


def comfyui(folder):
    def marker(**fields):
        return torch.frombuffer(bytearray(json.dumps(fields).encode()), dtype=torch.uint8).clone()

    def fp8(shape, dtype=torch.float8_e4m3fn):
        return (torch.randn(shape) * 50).to(dtype)

    case = Case(folder, "comfyui")
    for name, dtype in {"float8_e4m3fn": torch.float8_e4m3fn, "float8_e5m2": torch.float8_e5m2}.items():
        weight, scale = fp8((12, 20), dtype), torch.rand(())
        stored = {"weight": weight, "weight_scale": scale, "input_scale": torch.rand(())}
        case.put({**stored, "comfy_quant": marker(format=name)}, f"blocks.{name}.")
        case.expect(f"blocks.{name}.weight", weight.float() * scale)
    for name, shape, bias in (("attn", (48, 96), None), ("mlp", (144, 64), None), ("out", (32, 32), 20)):
        codes = torch.randint(0, 16, shape)
        block = (torch.rand(shape[0], shape[1] // 16) * 400).to(torch.float8_e4m3fn)
        scale = torch.rand(()) / 1000
        packed = (codes[:, ::2] << 4 | codes[:, 1::2]).to(torch.uint8)
        stored = {"weight": packed, "weight_scale": tiled(block.view(torch.uint8)).view(torch.float8_e4m3fn)}
        case.put(
            {**stored, "weight_scale_2": scale, "comfy_quant": marker(format="nvfp4")}, f"blocks.{name}."
        )
        if bias:
            case.put({f"blocks.{name}.bias": torch.randn(bias)})
        dense = E2M1[codes] * (scale * block.float()).repeat_interleave(16, 1)
        case.expect(f"blocks.{name}.weight", dense[: bias or shape[0]])
    weight = fp8((32, 96))
    block = torch.randint(100, 140, (32, 3), dtype=torch.uint8)
    stored = {"weight": weight, "weight_scale": tiled(block).view(torch.float8_e8m0fnu)}
    case.put({**stored, "comfy_quant": marker(format="mxfp8")}, "blocks.mx.")
    dense = weight.float() * torch.ldexp(torch.ones(32, 3), block.int() - 127).repeat_interleave(32, 1)
    case.expect("blocks.mx.weight", dense)
    for name, scale in {"one": torch.rand(()), "rows": torch.rand(8, 1)}.items():
        weight = torch.randint(-127, 128, (8, 24), dtype=torch.int8)
        stored = {"weight": weight, "weight_scale": scale, "comfy_quant": marker(format="int8_tensorwise")}
        case.put(stored, f"blocks.{name}.")
        case.expect(f"blocks.{name}.weight", weight.float() * scale)
    case.put({"norm.weight": torch.randn(12)})
    cases = [case.save()]

    case = Case(folder, "comfyui-metadata")
    weight, scale = fp8((12, 20)), torch.rand(())
    case.put({"a.weight": weight, "a.weight_scale": scale, "b.weight": torch.randn(4, 4)})
    case.expect("a.weight", weight.float() * scale)
    layers = {"layers": {"a": {"format": "float8_e4m3fn"}}}
    cases.append(case.save({"_quantization_metadata": json.dumps(layers)}))

    case = Case(folder, "comfyui-scaled-fp8")
    weight, scale = fp8((12, 20)), torch.rand(1)
    case.put({"net.scaled_fp8": torch.empty(0, dtype=torch.float8_e4m3fn), "net.b.bias": torch.randn(4)})
    case.put({"net.a.weight": weight, "net.a.scale_weight": scale, "net.a.scale_input": torch.rand(1)})
    case.expect("net.a.weight", weight.float() * scale)
    cases.append(case.save())
    return cases


def bitnet(folder):
    from transformers.integrations.bitnet import pack_weights

    cases = []
    for name, linear in {"bitnet": "bitlinear", "bitnet-auto": "autobitlinear"}.items():
        config = {"quantization_config": {"quant_method": "bitnet", "linear_class": linear}}
        case = Case(folder, name, config)
        for layer in range(2):
            ternary = torch.randint(-1, 2, (16, 24)).float()
            scale = (torch.rand(1) + 0.5).to(torch.bfloat16)
            stored = {"weight": pack_weights(ternary.clone()), "weight_scale": scale}
            case.put(stored, f"model.layers.{layer}.q_proj.")
            dense = ternary * scale.float() if linear == "autobitlinear" else ternary / scale.float()
            case.expect(f"model.layers.{layer}.q_proj.weight", dense.to(torch.bfloat16))
        case.put({"model.norm.weight": torch.randn(HIDDEN)})
        cases.append(case.save())
    return cases


def write_cases(folder, seed, makers=(gpt_oss, bitsandbytes, hqq, mlx, torchao, quanto, comfyui, bitnet)):
    """Makes all cases in a folder; returns the list of them."""
    torch.manual_seed(seed)
    return [case for make in makers for case in make(folder)]


if __name__ == "__main__":
    print(json.dumps(write_cases(pathlib.Path(sys.argv[1]), int(sys.argv[2]))))
