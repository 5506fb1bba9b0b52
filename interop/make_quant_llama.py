"""Writes a very small Llama as transformers saves it, in two shards that part a layer, with calibration statistics of it, for
the tests of quantisation. Beside it lies one of its weights in FP8, made by torch, with the relative error of that by NumPy.

Takes the folder to write to; the fixtures' own unless given.
"""

import json
import pathlib
import sys

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

from fixtures import FIXTURES

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "examples" / "calibration"))
from collect_statistics import Collector  # noqa: E402

IN_FP8 = "model.layers.0.mlp.down_proj.weight"


def make_model():
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "vocab_size": 16, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(**sizes, **heads, tie_word_embeddings=False)).eval()
    with torch.no_grad():
        # As in models that are trained, some inputs are much larger than others.
        model.model.layers[0].input_layernorm.weight.mul_(torch.linspace(0.1, 4, 32).exp())
    return model.to(torch.bfloat16)


def collect(model, path):
    collector = Collector(model.float())
    with torch.inference_mode():
        for _ in range(8):
            model(torch.randint(0, 16, (4, 64)))
    collector.save(path, samples="32", length="64")


def to_fp8(weight):
    """Rows with a scale each, and how far they are from the weight."""
    values = weight.float()
    scale = values.abs().amax(1, keepdim=True) / 448
    stored = (values / scale).to(torch.float8_e4m3fn)
    dense = stored.double().numpy() * scale.double().numpy()
    exact = values.double().numpy()
    error = np.linalg.norm(dense.astype(np.float32) - exact) / np.linalg.norm(exact)
    return stored, scale, float(error)


def main(folder):
    model = make_model()
    model.save_pretrained(folder / "model", max_shard_size="16KB")
    stored, scale, error = to_fp8(model.state_dict()[IN_FP8])
    tensors = {IN_FP8: stored, f"{IN_FP8}_scale": scale}
    save_file(tensors, folder / "down_proj-fp8.safetensors")
    (folder / "expected.json").write_text(json.dumps({"relative_error": error}) + "\n", encoding="utf-8")
    collect(model, folder / "statistics.safetensors")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else FIXTURES / "quant" / "llama")
