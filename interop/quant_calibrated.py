"""Weights quantised with calibration as the published programs do it, for interop/steps/quant-calibrated.mjs.

GPTQ is the algorithm of Frantar et al. (2022) in the order of operations of the authors' program, with the
factor and the sweep in float64, scales and zero points in float32. AWQ is the search of Lin et al. (2023) in
the form of AutoAWQ, with the outputs of linear layers as the loss. Neither package can be installed here; below
is their arithmetic, stated anew. `goldens FILE` makes the fixture quant/calibrated.safetensors of the tests.
"""

import json
import os
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

COLUMNS, ROWS, TOKENS = 512, 256, 2048


def inputs(generator, tokens, columns, loud):
    """Inputs that correlate with 0.9 to the power of their distance, a few channels ten times as loud."""
    at = torch.arange(columns, dtype=torch.float64)
    shape = torch.linalg.cholesky(0.9 ** (at[:, None] - at[None, :]).abs())
    drawn = torch.randn(tokens, columns, generator=generator, dtype=torch.float64) @ shape.T
    drawn[:, loud] *= 10
    return drawn.float().double()


def gptq_grid(values, bits, symmetric):
    low, high = values.float().amin(1).clamp(max=0), values.float().amax(1).clamp(min=0)
    top = 2**bits - 1
    if symmetric:
        high = torch.maximum(-low, high)
        low = -high
    flat = (low == 0) & (high == 0)
    low[flat], high[flat] = -1, 1
    scale = (high - low) / top
    zero = torch.full_like(scale, (top + 1) / 2) if symmetric else torch.round(-low / scale)
    return scale.double(), zero.double()


def gptq(weight, hessian, bits, group, symmetric, act_order, static_groups, damp=0.01, block=128):
    """Codes, scales and zero points of the authors' program; its block is the group where that is smaller."""
    weight, hessian = weight.double().clone(), hessian.double().clone()
    rows, columns = weight.shape
    size = columns if group == -1 else group
    if size < block:
        block = size
    top = 2**bits - 1
    dead = torch.diag(hessian) == 0
    hessian[dead, dead] = 1
    weight[:, dead] = 0
    grids = [gptq_grid(weight[:, at : at + size], bits, symmetric) for at in range(0, columns, size)]
    is_static = static_groups or group == -1
    order = torch.arange(columns)
    if act_order:
        order = torch.argsort(torch.diag(hessian), descending=True, stable=True)
    weight, hessian = weight[:, order], hessian[order][:, order]
    hessian += torch.eye(columns, dtype=torch.float64) * damp * torch.diag(hessian).mean()
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
    upper = torch.linalg.cholesky(inverse, upper=True)
    codes = torch.zeros(rows, columns, dtype=torch.uint8)
    for first in range(0, columns, block):
        last = min(first + block, columns)
        errors = torch.zeros(rows, last - first, dtype=torch.float64)
        for i in range(first, last):
            if is_static:
                scale, zero = grids[int(order[i]) // size]
            else:
                if i % size == 0:
                    grids[i // size] = gptq_grid(weight[:, i : i + size], bits, symmetric)
                scale, zero = grids[i // size]
            code = torch.clamp(torch.round(weight[:, i] / scale) + zero, 0, top)
            codes[:, order[i]] = code.to(torch.uint8)
            error = (weight[:, i] - scale * (code - zero)) / upper[i, i]
            errors[:, i - first] = error
            weight[:, i:last] -= error[:, None] @ upper[None, i, i:last]
        weight[:, last:] -= errors @ upper[first:last, last:]
    scales = torch.stack([scale for scale, _ in grids]).float()
    zeros = torch.stack([zero for _, zero in grids]).to(torch.uint8)
    follows = act_order and not is_static
    position = torch.argsort(order) if follows else torch.arange(columns)
    return codes, scales, zeros, (position // size).to(torch.int32)


def awq_round(weight, bits, group, symmetric):
    """What AutoAWQ's pseudo quantisation makes of a weight: values, codes, scales, zero points."""
    rows, columns = weight.shape
    grouped = weight.reshape(rows, -1, group)
    low, high = grouped.float().amin(-1, keepdim=True), grouped.float().amax(-1, keepdim=True)
    if symmetric:
        top = 2 ** (bits - 1) - 1
        scale = (torch.maximum(-low, high).clamp(min=1e-5) / top).double()
        codes = torch.clamp(torch.round(grouped / scale), -top - 1, top) + top + 1
        zero = torch.full_like(scale, top + 1)
    else:
        top = 2**bits - 1
        scale = (high - low).clamp(min=1e-5) / top
        zero = torch.clamp(-torch.round(low / scale), 0, top).double()
        scale = scale.double()
        codes = torch.clamp(torch.round(grouped / scale) + zero, 0, top)
    values = ((codes - zero) * scale).reshape(rows, columns)
    return values, codes.reshape(rows, columns).to(torch.uint8), scale[..., 0].T, zero[..., 0].T


def awq(weights, tokens, bits, group, symmetric, grid=20, duo=True):
    """The scale of each input that loses least, its loss, and that of the weights as they are."""
    mean = tokens.abs().mean(0).float().double()
    stacked = torch.cat(weights).reshape(-1, group).abs()
    stacked = stacked / (stacked.amax(1, keepdim=True) + 1e-6)
    w_mean = stacked.reshape(-1, tokens.shape[1]).mean(0)

    def loss(scale):
        lost = [w - awq_round(w * scale, bits, group, symmetric)[0] / scale for w in weights]
        return sum((tokens @ one.T).pow(2).sum() for one in lost).item()

    plain = torch.ones_like(mean)
    best, best_loss = plain, loss(plain)
    losses = [best_loss]
    for i in range(grid):
        ratio = i / grid
        scale = mean**ratio / (w_mean ** (1 - ratio) + 1e-4) if duo else mean**ratio
        scale = scale.clamp(min=1e-4)
        scale = (scale / (scale.max() * scale.min()).sqrt()).float().double()
        losses.append(loss(scale))
        if losses[-1] < best_loss:
            best, best_loss = scale, losses[-1]
    return best, losses


def awq_clip(weight, tokens, bits, group, symmetric, grid=20, steps=10):
    """For each row and group the largest magnitude that loses least, of `steps` from all of it down."""
    rows, columns = weight.shape
    grouped = weight.reshape(rows, -1, group)
    grams = torch.stack([part.T @ part for part in tokens.split(group, 1)])
    whole = grouped.abs().amax(-1, keepdim=True)
    best, least = whole.clone(), torch.full_like(whole, torch.inf)
    for i in range(steps):
        limit = (whole * (1 - i / grid)).float().double()
        cut = grouped.clamp(-limit, limit).reshape(rows, columns)
        error = (awq_round(cut, bits, group, symmetric)[0] - weight).reshape(rows, -1, group)
        lost = torch.einsum("ngi,gij,ngj->ng", error, grams, error)[..., None]
        better = lost < least
        best[better], least[better] = limit[better], lost[better]
    return best[..., 0]


def make_cases(folder):
    generator = torch.Generator().manual_seed(7)
    loud = torch.randperm(COLUMNS, generator=generator)[:8]
    calibration = inputs(generator, TOKENS, COLUMNS, loud)
    held_out = inputs(generator, TOKENS, COLUMNS, loud)
    weight = torch.randn(ROWS, COLUMNS, generator=generator)
    other = torch.randn(64, COLUMNS, generator=generator) * 0.5
    hessian = (calibration.T @ calibration).float()
    tensors = {
        "weight": weight,
        "other": other,
        "x.xtx": hessian,
        "x.absmean": calibration.abs().mean(0).float(),
        "x.absmax": calibration.abs().amax(0).float(),
        "x.count": torch.tensor([TOKENS]),
        "held_out": (held_out.T @ held_out).float(),
    }
    statistics = {name: tensors.pop(name) for name in list(tensors) if name.startswith("x.")}
    cases = []
    for bits, group, symmetric, act_order, static_groups, *dead in [
        (4, 128, True, False, False),
        (4, 128, False, False, False),
        (4, 128, True, True, False),
        (4, 128, False, True, False),
        (4, 128, True, True, True),
        (4, 32, True, False, False),
        (4, 32, True, True, False),
        (4, 256, True, False, False),
        (4, -1, True, False, False),
        (4, -1, True, True, False),
        (3, 128, True, False, False),
        (3, 128, True, True, False),
        (2, 64, False, True, False),
        (8, 128, True, False, False),
        (4, 128, True, True, False, 5, 300),
    ]:
        of = hessian.clone()
        of[dead], of[:, dead] = 0, 0
        given = gptq(weight, of, bits, group, symmetric, act_order, static_groups)
        case = {"bits": bits, "group": group, "symmetric": symmetric, "dead": dead}
        case |= {"actOrder": act_order, "staticGroups": static_groups}
        for name, tensor in zip(("codes", "scales", "zeros", "groups"), given, strict=True):
            tensors[f"gptq.{len(cases)}.{name}"] = tensor.contiguous()
        cases.append({"kind": "gptq", **case})
    for bits, symmetric, duo in [(4, False, True), (4, True, True), (3, False, False)]:
        weights = [weight.double(), other.double()]
        scale, losses = awq(weights, calibration, bits, 128, symmetric, duo=duo)
        scaled = weights[0] * scale
        clip = awq_clip(scaled, calibration / scale, bits, 128, symmetric)
        limit = clip.repeat_interleave(128, 1)
        _, codes, scales, zeros = awq_round(scaled.clamp(-limit, limit), bits, 128, symmetric)
        case = {"scale": scale.float(), "clip": clip.float(), "codes": codes}
        case |= {"scales": scales.float(), "zeros": zeros.to(torch.uint8)}
        for name, tensor in case.items():
            tensors[f"awq.{len(cases)}.{name}"] = tensor.contiguous()
        cases.append(
            {"kind": "awq", "bits": bits, "group": 128, "symmetric": symmetric, "duo": duo, "losses": losses}
        )
    save_file(tensors, os.path.join(folder, "cases.safetensors"))
    save_file(statistics, os.path.join(folder, "statistics.safetensors"), {"calibration_statistics": "1"})
    print(json.dumps(cases))


def make_goldens(path):
    """A small weight with what becomes of it, for the unit tests."""
    generator = torch.Generator().manual_seed(11)
    tokens = inputs(generator, 256, 64, torch.tensor([3, 40]))
    weight = torch.randn(16, 64, generator=generator)
    hessian = (tokens.T @ tokens).float()
    tensors = {"weight": weight, "xtx": hessian, "absmean": tokens.abs().mean(0).float()}
    for name, arguments in {
        "plain": (4, 32, True, False, False),
        "order": (3, 16, False, True, False),
        "static": (4, 32, False, True, True),
        "channel": (2, -1, True, True, False),
    }.items():
        codes, scales, zeros, groups = gptq(weight, hessian, *arguments)
        found = {"codes": codes, "scales": scales, "zeros": zeros, "groups": groups}
        tensors |= {f"{name}.{part}": tensor.contiguous() for part, tensor in found.items()}
    scale, _ = awq([weight.double()], tokens, 4, 32, False)
    limits = awq_clip(weight.double() * scale, tokens / scale, 4, 32, False)
    cut = limits.repeat_interleave(32, 1)
    _, codes, scales, zeros = awq_round((weight.double() * scale).clamp(-cut, cut), 4, 32, False)
    found = {"scale": scale.float(), "limits": limits.float(), "codes": codes}
    found |= {"scales": scales.float(), "zeros": zeros.to(torch.uint8)}
    tensors |= {f"awq.{part}": tensor.contiguous() for part, tensor in found.items()}
    save_file(tensors, path)


def collect(folder):
    """A small model, its statistics as the example collects them, and what they should add up to."""
    from transformers import LlamaConfig, LlamaForCausalLM

    sys.path.insert(0, str(Path(__file__).parent.parent / "examples" / "calibration"))
    from collect_statistics import Collector

    torch.manual_seed(3)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = LlamaConfig(**sizes, num_hidden_layers=2, vocab_size=64, tie_word_embeddings=False)
    model = LlamaForCausalLM(config).eval()
    model.save_pretrained(folder)
    batches = [torch.randint(64, (2, 24)) for _ in range(3)]
    seen = {}
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and name != "lm_head":
            kept = seen.setdefault(name, [])
            module.register_forward_pre_hook(
                lambda _, args, kept=kept: kept.append(args[0].double().flatten(0, 1))
            )
    collector = Collector(model)
    with torch.inference_mode():
        for batch in batches:
            model(batch, use_cache=False)
    statistics = os.path.join(folder, "statistics.st")
    collector.save(statistics)
    expected = {}
    for name, kept in seen.items():
        tokens = torch.cat(kept)
        expected[name] = {
            "count": tokens.shape[0],
            "trace": tokens.square().sum().item(),
            "sum": tokens.sum(1).square().sum().item(),
            "absMean": tokens.abs().mean(0).sum().item(),
            "absMax": tokens.abs().amax(0).sum().item(),
        }
    print(json.dumps({"modelType": config.model_type, "statistics": statistics, "expected": expected}))


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"cases": make_cases, "collect": collect, "goldens": make_goldens}[sys.argv[1]](sys.argv[2])
