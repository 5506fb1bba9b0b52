"""What the originals make of dense weights, for comparison with the quantisers of the library.

Usage: quant_make.py cases FOLDER | open FOLDER

`cases` writes dense weights, `dense.safetensors`, and for each scheme the stored tensors that the original makes of
them, `<case>.safetensors`; a small model, `model/`; two larger weights, `errors.safetensors`; and what the tests expect,
`fixtures/`. It prints a JSON list of {case, scheme, options}. compressed-tensors, bitsandbytes and transformers are called; GPTQ's and AWQ's rounding
to nearest is transcribed from their published formulas. Weights of 16 bits are widened before they are divided, as
the GPU kernels of compressed-tensors do.

`open` loads each model that is a folder in FOLDER, runs it, and writes the dense weights of its modules as
`opened.safetensors` beside it.
"""

import hashlib
import json
import pathlib
import sys
from types import SimpleNamespace

import numpy as np
import torch
from bitsandbytes.functional import dequantize_4bit, quantize_4bit
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.entrypoints.convert.converters.autoawq import AutoAWQConverter
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from compressed_tensors.quantization.quant_scheme import preset_name_to_scheme
from compressed_tensors.quantization.utils import calculate_qparams, generate_gparam
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    CompressedTensorsConfig,
    FineGrainedFP8Config,
    LlamaConfig,
    LlamaForCausalLM,
)
from transformers.integrations.finegrained_fp8 import Fp8Quantize
from transformers.quantizers.auto import AutoQuantizationConfig
from transformers.utils import logging

logging.set_verbosity_error()
logging.disable_progress_bar()

AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]


def hard_weight(rows, columns, make):
    """Zeros, negative zeros, ties, one sign only, outliers, and magnitudes that are small."""
    hard = torch.randn(rows, columns, generator=make)
    places = torch.arange(columns)
    hard[0] = 0
    hard[1] = -0.0
    hard[2] = hard[2].abs()
    hard[3] = -hard[3].abs()
    hard[4] = places % 16 - 7.5
    hard[5] = (places % 32 - 16) / 4
    hard[6, 100] = 1e4
    hard[7] *= 1e-6
    hard[8, ::3] = -0.0
    hard[9, 32:96] = 0
    hard[10] = torch.where(places % 2 == 0, 6.0, -1.75)
    hard[11] = 1
    return hard


def weights(seed):
    """Matrices as they are trained, some with heavy tails, and such as are hard."""
    make = torch.Generator().manual_seed(seed)
    normal = torch.randn(128, 512, generator=make)
    tails = normal / torch.randn(5, 128, 512, generator=make).square().mean(0).sqrt()
    hard = hard_weight(128, 512, make)
    return {
        "normal_float32": normal * 0.02,
        "normal_bfloat16": (normal * 0.02).bfloat16(),
        "tails_bfloat16": tails.bfloat16(),
        "hard_float32": hard,
        "hard_bfloat16": hard.bfloat16(),
        "hard_float16": hard.half(),
    }


def dense_stream(codes, bits):
    """Rows of codes as rows of 32-bit words, the lowest bits first."""
    rows, count = codes.shape
    flags = (codes[..., None].astype(np.uint8) >> np.arange(bits)) & 1
    flags = flags.reshape(rows, count * bits)
    flags = np.pad(flags, [(0, 0), (0, -count * bits % 32)]).astype(np.uint8)
    return np.packbits(flags, axis=1, bitorder="little").view("<i4")


def awq_words(codes):
    """Eight neighbours along the last axis in a word, in AWQ's order."""
    words = np.zeros((len(codes), codes.shape[1] // 8), np.uint32)
    for place, column in enumerate(AWQ_ORDER):
        words |= codes[:, column::8].astype(np.uint32) << np.uint32(4 * place)
    return words.view(np.int32)


def grouped(weight, group):
    values = weight.float().numpy()
    return values.reshape(len(values), -1, values.shape[1] if group == -1 else group)


def tensors(arrays):
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}


def gptq(weight, bits, group, symmetric):
    """AutoGPTQ's Quantizer.find_params, per channel of each group, and its packing of version 1."""
    values = grouped(weight, group)
    top = np.float32(2**bits - 1)
    low = np.minimum(values.min(2), 0)
    high = np.maximum(values.max(2), 0)
    if symmetric:
        high = np.maximum(-low, high)
        low = -high
    empty = (low == 0) & (high == 0)
    low = np.where(empty, np.float32(-1), low)
    high = np.where(empty, np.float32(1), high)
    scale = (high - low) / top
    zero = np.full_like(scale, 2 ** (bits - 1)) if symmetric else np.round(-low / scale)
    # Ours: no zero point of 0, which readers understand in two ways.
    scale = np.where(zero == 0, high / np.float32(top - 1), scale)
    zero = np.where(zero == 0, np.float32(1), zero)
    codes = np.clip(np.round(values / scale[..., None]) + zero[..., None], 0, top).reshape(weight.shape)
    return tensors(
        {
            "qweight": dense_stream(codes, bits).T,
            "qzeros": dense_stream((zero.T - 1).astype(np.uint8), bits),
            "scales": scale.T.astype(np.float16),
            "g_idx": np.arange(weight.shape[1], dtype=np.int32) // values.shape[2],
        }
    )


def awq(weight, group):
    """AutoAWQ's pseudo_quantize_tensor and WQLinear_GEMM.from_linear."""
    values = grouped(weight, group)
    low, high = values.min(2), values.max(2)
    scale = np.maximum(high - low, np.float32(1e-5)) / np.float32(15)
    zero = np.clip(-np.round(low / scale), 0, 15)
    codes = np.clip(np.round(values / scale[..., None]) + zero[..., None], 0, 15).reshape(weight.shape)
    return tensors(
        {
            "qweight": awq_words(codes.T.astype(np.uint8)),
            "qzeros": awq_words(zero.T.astype(np.uint8)),
            "scales": scale.T.astype(np.float16),
        }
    )


def ranges(weight, args):
    """Least and greatest values as the observers of llm-compressor see them."""
    if args.strategy == "tensor":
        return weight.amin().reshape(1), weight.amax().reshape(1)
    group = args.group_size if args.group_size and args.group_size > 0 else weight.shape[1]
    values = weight.unflatten(1, (-1, group))
    return values.amin(-1), values.amax(-1)


def compressed(weight, format, scheme, global_scale=None):
    args = scheme.weights
    # float16 does not have the range that scales of FP4 need.
    seen = weight.float() if weight.dtype == torch.float16 and args.num_bits == 4 and args.type == "float" else weight
    low, high = ranges(seen, args)
    if args.strategy == "tensor_group" and global_scale is None:
        global_scale = generate_gparam(seen.amin(), seen.amax())
    scale, zero = calculate_qparams(low, high, args, global_scale=global_scale)
    state = {"weight": weight.float(), "weight_scale": scale.float(), "weight_zero_point": zero}
    if global_scale is not None:
        state["weight_global_scale"] = global_scale
    parts = BaseCompressor.get_value_from_registry(format).compress(state, scheme)
    if parts["weight_scale"].dtype == torch.float32:
        parts["weight_scale"] = parts["weight_scale"].to(weight.dtype)
    return {name: tensor.contiguous() for name, tensor in parts.items()}


def integer_scheme(bits, group, symmetric):
    strategy = {"strategy": "channel"} if group == -1 else {"strategy": "group", "group_size": group}
    args = QuantizationArgs(num_bits=bits, type="int", symmetric=symmetric, **strategy)
    return QuantizationScheme(targets=["Linear"], weights=args)


def preset(name, **changes):
    scheme = preset_name_to_scheme(name, ["Linear"])
    return scheme.model_copy(update={"weights": scheme.weights.model_copy(update=changes)})


def fp8_block(weight):
    config = FineGrainedFP8Config(weight_block_size=(128, 128))
    made = Fp8Quantize(SimpleNamespace(quantization_config=config)).convert({"l.weight": weight})
    return {"weight": made["l.weight"], "weight_scale_inv": made["l.weight_scale_inv"]}


def nf4(weight):
    packed, state = quantize_4bit(weight, quant_type="nf4", compress_statistics=False)
    parts = {f"weight.{name}": tensor for name, tensor in state.as_dict(packed=True).items()}
    return {"weight": packed, **parts}


def formats(bits):
    """Groups and symmetry to try: all for the common number of bits."""
    return [(g, s) for g in (32, 128, -1) for s in (True, False) if bits == 4 or (g == 128) == s]


def cases():
    for bits in (2, 3, 4, 8):
        for group, symmetric in formats(bits):
            name = f"gptq-int{bits}" + ("" if group == -1 else f"-g{group}")
            made = lambda w, b=bits, g=group, s=symmetric: gptq(w, b, g, s)  # noqa: E731
            yield name, {"symmetric": symmetric}, made
    for group in (32, 128, -1):
        name = "awq-int4" + ("" if group == -1 else f"-g{group}")
        yield name, {}, lambda w, g=group: awq(w, g)
    for bits in (2, 3, 4, 5, 6, 7, 8):
        for group, symmetric in formats(bits):
            name = f"ct-int{bits}" + ("" if group == -1 else f"-g{group}")
            scheme = integer_scheme(bits, group, symmetric)
            yield name, {"symmetric": symmetric}, lambda w, s=scheme: compressed(w, "pack-quantized", s)
    yield "w4a16", {}, lambda w: compressed(w, "pack-quantized", preset("W4A16"))
    yield "fp8-dynamic", {}, lambda w: compressed(w, "float-quantized", preset("FP8_DYNAMIC"))
    yield "fp8-tensor", {}, lambda w: compressed(w, "float-quantized", preset("FP8"))
    yield "fp8-block", {}, fp8_block
    yield "mxfp4", {}, lambda w: compressed(w, "mxfp4-pack-quantized", preset("MXFP4A16"))
    yield "nvfp4", {}, lambda w: compressed(w, "nvfp4-pack-quantized", preset("NVFP4A16"))
    shared = torch.tensor([100.0])
    made = lambda w: compressed(w, "nvfp4-pack-quantized", preset("NVFP4A16"), shared)  # noqa: E731
    yield "nvfp4", {"globalScale": 100}, made
    yield "nf4", {}, nf4


def write_cases(folder, seed):
    dense = weights(seed)
    save_file(dense, folder / "dense.safetensors")
    listed = []
    for scheme, options, make in cases():
        case = " ".join([scheme, *(f"{key}={value}" for key, value in options.items())])
        parts = {}
        for name, weight in dense.items():
            parts |= {f"{name}/{role}": part.clone() for role, part in make(weight).items()}
        save_file(parts, folder / f"{case}.safetensors")
        listed.append({"case": case, "scheme": scheme, "options": options})
    write_fixtures(folder / "fixtures")
    write_model(folder / "model")
    save_file(larger_weights(seed), folder / "errors.safetensors")
    print(json.dumps(listed))


DTYPES = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
}


def digest(parts):
    """SHA-256 of all stored tensors: of each, in the order of names, a line that describes it, and its bytes."""
    state = hashlib.sha256()
    for role, tensor in sorted(parts.items()):
        state.update(f"{role} {DTYPES[tensor.dtype]} {list(tensor.shape)}\n".replace(" ", "").encode())
        state.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return state.hexdigest()


def write_fixtures(folder):
    """Small weights, a file for each dtype, and the digests of what the originals make of them."""
    folder.mkdir(exist_ok=True)
    make = torch.Generator().manual_seed(3)
    dense = {
        "float32": hard_weight(32, 256, make),
        "bfloat16": hard_weight(128, 128, make).bfloat16(),
        "float16": hard_weight(32, 256, make).half(),
    }
    for name, weight in dense.items():
        save_file({name: weight}, folder / f"{name}.safetensors")
    expected = []
    for scheme, options, make in cases():
        usable = [name for name in dense if scheme != "fp8-block" or name == "bfloat16"]
        digests = {name: digest(make(dense[name])) for name in usable}
        expected.append({"scheme": scheme, "options": options, "digests": digests})
    lines = ",\n".join(json.dumps(one) for one in expected)
    (folder / "expected.json").write_text(f"[\n{lines}\n]\n")


def larger_weights(seed):
    make = torch.Generator().manual_seed(seed)
    normal = torch.randn(512, 2048, generator=make)
    squares = torch.zeros(512, 2048)
    for _ in range(5):
        squares += torch.randn(512, 2048, generator=make).square()
    return {"normal": normal, "student": torch.randn(512, 2048, generator=make) / (squares / 5).sqrt()}


def write_model(folder):
    torch.manual_seed(11)
    config = LlamaConfig(
        vocab_size=128,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=False,
        dtype="bfloat16",
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)


def open_awq(folder, config):
    """The dense weights that compressed-tensors sees in files of AWQ."""
    converter = AutoAWQConverter.from_autoawq_config(config)
    tensors = converter.process(load_file(folder / "model.safetensors"))
    scheme = integer_scheme(4, config["group_size"], False)
    modules = {}
    for name, tensor in tensors.items():
        module, _, role = name.rpartition(".")
        modules.setdefault(module, {})[role] = tensor
    compressor = BaseCompressor.get_value_from_registry("pack-quantized")
    for parts in modules.values():
        if "weight_packed" in parts:
            parts |= compressor.decompress(parts, scheme)
    return {f"{module}.weight": parts["weight"] for module, parts in modules.items()}


def open_model(folder, config):
    """The dense weights of the modules of a model as transformers loads it."""
    method = config["quant_method"]
    changes = {"quantization_config": CompressedTensorsConfig(dequantize=True)}
    model = AutoModelForCausalLM.from_pretrained(folder, **(changes if method == "compressed-tensors" else {}))
    with torch.no_grad():
        logits = model(torch.arange(8)[None]).logits
    assert logits.isfinite().all()
    dense = {}
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if weight is None:
            continue
        state = getattr(weight, "quant_state", None)
        dense[f"{name}.weight"] = weight.detach() if state is None else dequantize_4bit(weight.data, state)
    # compressed-tensors 0.20 takes packed zero points only where it makes the weights dense as it loads them.
    if method == "compressed-tensors" and config["config_groups"]["group_0"]["weights"]["symmetric"]:
        # The same model, its weights left as they are stored: it runs too.
        stored = AutoModelForCausalLM.from_pretrained(folder)
        with torch.no_grad():
            assert stored(torch.arange(8)[None]).logits.isfinite().all()
    return dense


def open_all(folder):
    for path in sorted(folder.iterdir()):
        if not path.is_dir():
            continue
        config = json.loads((path / "config.json").read_text())["quantization_config"]
        AutoQuantizationConfig.from_dict(config)
        # transformers itself opens no GPTQ.
        if config["quant_method"] == "gptq":
            continue
        opened = open_awq(path, config) if config["quant_method"] == "awq" else open_model(path, config)
        save_file({name: t.contiguous().clone() for name, t in opened.items()}, path / "opened.safetensors")


if __name__ == "__main__":
    command, place = sys.argv[1], pathlib.Path(sys.argv[2])
    if command == "cases":
        write_cases(place, 7)
    else:
        open_all(place)
