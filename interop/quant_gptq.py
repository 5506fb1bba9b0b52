"""Makes small checkpoints of GPTQ and AWQ, in every layout, and what they are when dense.

Usage: quant_gptq.py FOLDER [SEED]. For each case it writes, in a folder of its own, a checkpoint of two files,
with its index and config.json, the tensors of each layer apart; and `dense.safetensors`: the weights as PyTorch
computes them in the dtype of the scales. It prints a JSON list of {case, folder, scheme, problem}.

Layouts are transcribed from their definitions: a stream of codes is one integer, whose bytes are written.
AutoGPTQ (3 bits too), GPTQModel (gptq_v2, gptq_p), AutoAWQ (gemm, gemv, gemv_fast).
"""

import json
import pathlib
import sys

import numpy as np
import torch
from safetensors.torch import save_file

DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}
PLANES = {2: [2], 3: [2, 1], 4: [4], 5: [4, 1], 6: [4, 2], 7: [4, 2, 1], 8: [8]}
AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]


def words(codes, bits):
    """[rows, count] as [rows, words]: in each row, code i at bit i * bits."""
    size = -(-codes.shape[1] * bits // 32) * 4
    rows = [sum(int(code) << (i * bits) for i, code in enumerate(row)) for row in codes]
    data = b"".join(row.to_bytes(size, "little") for row in rows)
    return torch.from_numpy(np.frombuffer(data, np.int32).reshape(len(rows), -1).copy())


def plane_words(codes, bits):
    """The same for gptq_p: of each 32 codes the lowest bits, then the next."""
    parts = []
    for start in range(0, codes.shape[1], 32):
        low = 0
        for width in PLANES[bits]:
            parts.append(words((codes[:, start : start + 32] >> low) & (2**width - 1), width))
            low += width
    return torch.cat(parts, dim=1)


def random_scales(shape, dtype):
    return (torch.rand(shape) * 0.1 + 0.001).to(DTYPES[dtype])


def gptq(rng, n, k, *, bits, group, version, order, dtype="F16", symmetric=False):
    size = k if group == -1 else group
    groups = -(-k // size)
    codes = rng.integers(0, 2**bits, (k, n))
    # A zero of 0 is one that readers of `gptq` do not agree on.
    zeros = np.full((groups, n), 2 ** (bits - 1)) if symmetric else rng.integers(1, 2**bits, (groups, n))
    index = np.arange(k) // size
    if order == "act":
        index = rng.permutation(index)
    scales = random_scales((groups, n), dtype)
    pack = plane_words if version == "gptq_p" else words
    stored = zeros - 1 if version == "gptq" else zeros
    tensors = {
        "qweight": pack(codes.T, bits).T,
        "qzeros": pack(stored, bits),
        "scales": scales,
    }
    if order != "none":
        tensors["g_idx"] = torch.from_numpy(index.astype(np.int32))
    shifted = torch.from_numpy(codes - zeros[index]).to(torch.int16)
    return tensors, (scales[index] * shifted).T


def awq_zeros(zeros):
    order = np.arange(zeros.shape[1]).reshape(-1, 8)[:, AWQ_ORDER].reshape(-1)
    return words(zeros[:, order], 4)


def awq_gemm(rng, n, k, *, group, dtype="F16", zero_point=True):
    size = k if group == -1 else group
    codes = rng.integers(0, 16, (k, n))
    zeros = rng.integers(0, 16, (k // size, n)) if zero_point else np.full((k // size, n), 8)
    scales = random_scales((k // size, n), dtype)
    tensors = {"qweight": awq_zeros(codes), "scales": scales}
    if zero_point:
        tensors["qzeros"] = awq_zeros(zeros)
    index = np.arange(k) // size
    shifted = torch.from_numpy(codes - zeros[index]).to(torch.int8)
    return tensors, (shifted * scales[index]).T


def padded_groups(k, size):
    at_once = 1 if size >= 128 else {64: 2, 32: 4}[size]
    return -(-(-(-(k // size) // 8)) // at_once) * at_once * 8


def awq_gemv(rng, n, k, *, group):
    width = padded_groups(k, group)
    codes = rng.integers(0, 16, (n, k))
    zeros = np.zeros((n, width), np.int64)
    zeros[:, : k // group] = rng.integers(0, 16, (n, k // group))
    scales = torch.zeros((n, width), dtype=torch.float16)
    scales[:, : k // group] = random_scales((n, k // group), "F16")
    index = np.arange(k) // group
    shifted = torch.from_numpy(codes - zeros[:, index]).to(torch.int8)
    tensors = {"qweight": words(codes, 4), "qzeros": words(zeros, 4), "scales": scales}
    return tensors, shifted * scales[:, index]


def awq_fast(rng, n, k, *, group, zeros_name):
    """Four rows together; see AutoAWQ's gemv_fast.py."""
    height = padded_groups(k, group)
    codes = rng.integers(0, 16, (n, k))
    scales = torch.zeros((height, n), dtype=torch.float16)
    scales[: k // group] = random_scales((k // group, n), "F16")
    zeros = -(scales * torch.from_numpy(rng.integers(0, 16, (height, n))).float()).half()
    order = [8 * b + 2 * a + c for a in range(4) for b in range(4) for c in range(2)]
    order = [order[8 * eight + at] for eight in range(4) for at in AWQ_ORDER]
    turned = codes.reshape(n, -1, 32)[:, :, order].reshape(n // 4, 4, k // 64, 64).transpose(0, 2, 1, 3)
    stored = words(turned.reshape(n // 4, -1), 4).numpy().view(np.int16).copy()
    index = np.arange(k) // group
    dense = torch.from_numpy(codes).float() * scales[index].T.float() + zeros[index].T.float()
    return {"qweight": torch.from_numpy(stored), "scales": scales, zeros_name: zeros}, dense.half()


def gptq_cases(rng):
    """Names of cases, configurations, layers as (function, arguments), and what is reported."""
    for bits in (2, 3, 4, 8):
        for version in ("gptq", "gptq_v2"):
            for order in ("none", "trivial", "act"):
                group = [32, 64, 128, -1][rng.integers(4)]
                if order == "none" and group == 128:
                    group = 64
                config = {
                    "quant_method": "gptq",
                    "bits": bits,
                    "group_size": group,
                    "desc_act": order == "act",
                    "sym": False,
                    "checkpoint_format": version,
                }
                dtype = ["F16", "BF16", "F32"][rng.integers(3)]
                # Inputs that fill words, where nothing else says how many there are; outputs that do not.
                step = 32 if order == "none" else 1
                layers = [
                    (
                        int(rng.integers(40, 90)),
                        int(rng.integers(64 // step, 200 // step)) * step,
                        {"bits": bits, "group": group, "version": version, "order": order, "dtype": dtype},
                    )
                    for _ in range(3)
                ]
                yield f"{version} {bits} bits {order}", config, [(gptq, *layer) for layer in layers], None
    for bits in (2, 3, 4, 5, 6, 7, 8):
        settings = {"bits": bits, "group": 32, "version": "gptq_p", "order": "trivial"}
        config = {"quant_method": "gptq", "bits": bits, "group_size": 32, "format": "gptq_p"}
        config |= {"desc_act": False}
        yield f"gptq_p {bits} bits", config, [(gptq, 64, 96, settings)], None
    for bits in (2, 3, 4, 5, 6, 7, 8):
        for packing, version in {"auto_round": "gptq_v2", "auto_round:auto_gptq": "gptq"}.items():
            settings = {"bits": bits, "group": 32, "version": version, "order": "none"}
            config = {"quant_method": "auto-round", "bits": bits, "group_size": 32, "packing_format": packing}
            yield f"{packing} {bits} bits", config, [(gptq, 64, 96, settings)], None
    for bits in (2, 3, 4, 8):
        for version, said in (("gptq", "gptq_v2"), ("gptq_v2", "gptq")):
            settings = {"bits": bits, "group": 32, "version": version, "order": "trivial", "symmetric": True}
            config = {"quant_method": "gptq", "bits": bits, "group_size": 32, "sym": True}
            config |= {"checkpoint_format": said}
            problem = f"says {said}, but all zeros are stored as .* read as {version}"
            yield f"{version} called {said}, {bits} bits", config, [(gptq, 64, 96, settings)], problem
            yield f"{version} by its look, {bits} bits", None, [(gptq, 64, 96, settings)], None
    rule = {"bits": 8, "group": 64, "version": "gptq", "order": "trivial"}
    rest = {"bits": 4, "group": 32, "version": "gptq", "order": "trivial"}
    config = {
        "quant_method": "gptq",
        "bits": 4,
        "group_size": 32,
        "desc_act": False,
        "dynamic": {r"+:.*layers\.1\..*": {"bits": 8, "group_size": 64}, r"-:.*lm_head.*": {}},
    }
    yield "dynamic", config, [(gptq, 64, 96, rest), (gptq, 64, 128, rule), (gptq, 64, 64, rest)], None


def awq_cases(rng):
    config = {"quant_method": "awq", "bits": 4, "zero_point": True}
    for group in (32, 64, 128, -1):
        size = {"group_size": group}
        of_groups = [128 * int(rng.integers(1, 4)) for _ in range(3)]
        gemm = [(awq_gemm, 8 * int(rng.integers(1, 12)), k, {"group": group}) for k in of_groups]
        yield f"gemm {group}", config | size | {"version": "GEMM"}, gemm, None
        if group == -1:
            continue
        gemv = [(awq_gemv, 8 * int(rng.integers(1, 6)), k * 5, {"group": group}) for k in of_groups]
        yield f"gemv {group}", config | size | {"version": "gemv"}, gemv, None
        for name, version in (("qzeros", "gemv_fast"), ("scaled_zeros", "llm-awq")):
            made = {"group": group, "zeros_name": name}
            fast = [(awq_fast, 8 * int(rng.integers(1, 6)), k * 5, made) for k in of_groups]
            yield f"{version} {group}", config | size | {"version": version}, fast, None
    none = (awq_gemm, 64, 128, {"group": 32, "zero_point": False})
    symmetric = config | {"group_size": 32, "zero_point": False, "version": "gemm"}
    yield "gemm without zeros", symmetric, [none], None
    yield "gemm without a configuration", None, [(awq_gemm, 64, 128, {"group": 32})], None


def write(folder, config, layers, rng):
    folder.mkdir(parents=True)
    files = [{}, {}]
    dense = {"model.norm.weight": torch.rand(8)}
    files[0]["model.norm.weight"] = dense["model.norm.weight"]
    for i, (make, n, k, settings) in enumerate(layers):
        module = f"model.layers.{i}.mlp.up_proj"
        parts, weight = make(rng, n, k, **settings)
        dense[f"{module}.weight"] = weight.contiguous()
        for role, tensor in parts.items():
            files[int(rng.integers(2))][f"{module}.{role}"] = tensor.contiguous()
    files[1]["lm_head.weight"] = dense["lm_head.weight"] = torch.rand(4, 4)
    where = {}
    for i, tensors in enumerate(files, 1):
        file = f"model-{i:05}-of-00002.safetensors"
        save_file(tensors, folder / file)
        where |= dict.fromkeys(tensors, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    if config:
        (folder / "config.json").write_text(json.dumps({"quantization_config": config}))
    save_file(dense, folder / "dense.safetensors")


def main(folder, seed=7):
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    cases = []
    for scheme, made in (("gptq", gptq_cases(rng)), ("awq", awq_cases(rng))):
        for name, config, layers, problem in made:
            place = f"{len(cases)}"
            write(pathlib.Path(folder, place), config, layers, rng)
            cases.append({"case": f"{scheme}: {name}", "folder": place, "scheme": scheme, "problem": problem})
    print(json.dumps(cases))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
