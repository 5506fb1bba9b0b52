"""Makes the fixtures of GPTQ and AWQ with the originals: AutoRound 0.16.1 and AutoAWQ 0.2.9.

Usage: make_quant_gptq_fixtures.py AUTOAWQ FIXTURES. Needs `pip install auto-round==0.16.1`; AUTOAWQ is the
unpacked source of AutoAWQ, of which only the files that pack are loaded; FIXTURES is the folder
test/fixtures/quant. It writes gptq/*.safetensors and awq/*.safetensors, and beside each a JSON file: its
`config`, and the SHA-256 of each dense weight in F16 as the original decodes it (or, as AutoAWQ decodes two of
its layouts on GPUs only, as it was packed).
"""

import hashlib
import importlib.util
import json
import pathlib
import sys
import types

import torch
from auto_round.export.export_to_awq.utils import dequantize_gemm
from auto_round.utils.bit_packing import pack_bitstream
from auto_round_extension.torch import qlinear_torch, qlinear_torch_zp
from safetensors.torch import save_file

OUT, IN, GROUP = 32, 96, 32


def random_words(shape):
    return torch.randint(-(2**31), 2**31, shape).to(torch.int32)


def random_scales(shape):
    return (torch.rand(shape) * 0.1 + 0.001).half()


def sha256(tensor):
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()


def written(path, tensors, config, dense):
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, f"{path}.safetensors")
    said = {"config": config, "dense": {name: sha256(tensor) for name, tensor in dense.items()}}
    path.with_suffix(".json").write_text(json.dumps(said, indent=2) + "\n")


def gptq(original, bits, order):
    """Random words, decoded by the original."""
    layer = original.QuantLinear(bits, GROUP, IN, OUT, bias=False, g_idx=order != "none")
    layer.qweight = random_words(layer.qweight.shape)
    # A zero that is stored less one, and has only ones, is 2^bits to AutoRound, 0 to AutoGPTQ and GPTQModel.
    most = 2**bits - (original is qlinear_torch_zp)
    layer.qzeros = pack_bitstream(torch.randint(0, most, layer.scales.shape), bits)
    layer.scales = random_scales(layer.scales.shape)
    if order == "act":
        layer.g_idx = layer.g_idx[torch.randperm(IN)]
    parts = ("qweight", "qzeros", "scales", "g_idx")[: 4 if order != "none" else 3]
    return {part: getattr(layer, part) for part in parts}, layer(torch.eye(IN).half()).T


def make_gptq(folder):
    for name, packing, original in (
        ("gptq", "auto_round:auto_gptq", qlinear_torch_zp),
        ("gptq_v2", "auto_round:gptqmodel", qlinear_torch),
    ):
        tensors, dense, own = {}, {}, {}
        for bits in (2, 3, 4, 5, 6, 7, 8):
            for order in ("none", "trivial"):
                module = f"layers.{bits}.{order}"
                parts, dense[f"{module}.weight"] = gptq(original, bits, order)
                tensors |= {f"{module}.{part}": tensor for part, tensor in parts.items()}
                own[module] = {"bits": bits}
        config = {"quant_method": "auto-round", "bits": 4, "group_size": GROUP, "sym": False}
        config |= {"packing_format": packing, "extra_config": own}
        written(folder / "gptq" / name, tensors, config, dense)
    tensors, dense, own = {}, {}, {}
    for bits in (2, 3, 4, 8):
        parts, dense[f"layers.{bits}.weight"] = gptq(qlinear_torch_zp, bits, "act")
        tensors |= {f"layers.{bits}.{part}": tensor for part, tensor in parts.items()}
        own[rf"layers\.{bits}"] = {"bits": bits}
    config = {"quant_method": "gptq", "bits": 4, "group_size": GROUP, "sym": False, "desc_act": True}
    written(folder / "gptq" / "act-order", tensors, config | {"dynamic": own}, dense)


def original_of(autoawq, file):
    """One file of AutoAWQ, without the rest: kernels are what it misses."""
    module = types.ModuleType("awq.utils.module")
    module.try_import = lambda name: (None, "")
    sys.modules["awq"] = sys.modules["awq.utils"] = types.ModuleType("awq")
    sys.modules["awq.utils.module"] = module
    spec = importlib.util.spec_from_file_location(file, f"{autoawq}/awq/modules/linear/{file}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def packed(original, columns, group):
    """Codes that the original finds again in a weight, and packs."""
    groups = columns // group
    index = torch.arange(columns) // group
    scales = random_scales((OUT, groups))
    zeros = torch.randint(0, 16, (OUT, groups))
    codes = torch.randint(0, 16, (OUT, columns))
    linear = torch.nn.Linear(columns, OUT, bias=False)
    weight = (codes - zeros[:, index]).float() * scales[:, index].float()
    linear.weight.data = weight
    # In float32 the codes are found without doubt.
    layer = original.from_linear(linear, 4, group, scales=scales.float(), zeros=zeros.float())
    scaled = (scales.float() * zeros.float()).half().float()
    fast = codes.float() * scales[:, index].float() - scaled[:, index]
    parts = {"qweight": layer.qweight, "qzeros": layer.qzeros, "scales": layer.scales.half()}
    return parts, weight.half(), fast.half()


def make_awq(autoawq, folder):
    qweight, qzeros = random_words((IN, OUT // 8)), random_words((IN // GROUP, OUT // 8))
    scales = random_scales((IN // GROUP, OUT))
    dense = dequantize_gemm(qweight, qzeros, scales, 4, GROUP).T
    parts = {"qweight": qweight, "qzeros": qzeros, "scales": scales}
    config = {"quant_method": "awq", "bits": 4, "group_size": GROUP, "zero_point": True, "version": "gemm"}
    tensors = {f"layer.{part}": tensor for part, tensor in parts.items()}
    written(folder / "awq" / "gemm", tensors, config, {"layer.weight": dense})
    gemv = original_of(autoawq, "gemv").WQLinear_GEMV
    fast = original_of(autoawq, "gemv_fast").WQLinear_GEMVFast
    for group in (32, 64, 128):
        for version, original in (("gemv", gemv), ("gemv_fast", fast)):
            parts, plain, scaled = packed(original, 2 * group, group)
            own = config | {"group_size": group, "version": version}
            dense = {"layer.weight": plain if version == "gemv" else scaled}
            tensors = {f"layer.{part}": tensor for part, tensor in parts.items()}
            written(folder / "awq" / f"{version}-{group}", tensors, own, dense)


if __name__ == "__main__":
    torch.manual_seed(11)
    make_gptq(pathlib.Path(sys.argv[2]))
    make_awq(sys.argv[1], pathlib.Path(sys.argv[2]))
