"""Collects what the inputs of a model's linear layers are like, for quantisation with GPTQ and AWQ.

    python collect_statistics.py MODEL TEXTS OUT [--samples 128] [--length 2048] [--device cuda]

MODEL is a folder or a name on the Hub, TEXTS a file of UTF-8 text, OUT a safetensors file, whose format is
described in docs/statistics.md. Needs torch, transformers and safetensors.
"""

import argparse
import json

import torch
from safetensors.torch import save_file


class Collector:
    """Sums over the inputs of linear layers while a model runs; layers given the same tensor share theirs."""

    def __init__(self, model, skip=("lm_head",)):
        self.sums = {}
        self.same_input = {}
        self.last = (None, None)
        self.handles = [
            module.register_forward_pre_hook(self.hook(name))
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear) and not any(part in name for part in skip)
        ]

    def hook(self, name):
        def add(_, args):
            given = args[0]
            tensor, owner = self.last
            if given is tensor and name not in self.sums and self.same_input.get(name, owner) == owner:
                self.same_input[name] = owner
                return
            if name in self.same_input:
                raise RuntimeError(f"{name} no longer takes the input of {self.same_input[name]}")
            self.last = (given, name)
            self.add(name, given.detach().reshape(-1, given.shape[-1]).float())

        return add

    def add(self, name, inputs):
        if inputs.shape[0] == 0:
            return
        if name not in self.sums:
            size = inputs.shape[1]
            zeros = [torch.zeros(shape, device=inputs.device) for shape in ((size, size), (size,), (size,))]
            self.sums[name] = [0, *zeros]
        sums = self.sums[name]
        sums[0] += inputs.shape[0]
        sums[1].addmm_(inputs.T, inputs)
        sums[2] += inputs.abs().sum(0)
        torch.maximum(sums[3], inputs.abs().amax(0), out=sums[3])

    def save(self, path, **metadata):
        """Takes the hooks off and writes the file."""
        for handle in self.handles:
            handle.remove()
        tensors = {}
        for name, (count, products, magnitudes, largest) in self.sums.items():
            tensors[f"{name}.xtx"] = products.cpu()
            tensors[f"{name}.absmean"] = (magnitudes / count).cpu()
            tensors[f"{name}.absmax"] = largest.cpu()
            tensors[f"{name}.count"] = torch.tensor([count])
        # An expert that no token came to has no statistics, and neither has what shares its input.
        same = {name: owner for name, owner in self.same_input.items() if owner in self.sums}
        metadata |= {"calibration_statistics": "1", "same_input": json.dumps(same)}
        save_file(tensors, path, metadata)


def samples_of(tokens, count, length):
    """Pieces of equal length, spread over the text."""
    length = min(length, len(tokens))
    count = min(count, len(tokens) // length)
    step = (len(tokens) - length) // max(count - 1, 1)
    return [tokens[i * step : i * step + length] for i in range(count)]


def main():
    from transformers import AutoModelForCausalLM, AutoTokenizer

    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("texts")
    parser.add_argument("out")
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--skip", nargs="*", default=["lm_head"], help="parts of names of modules")
    given = parser.parse_args()
    model = AutoModelForCausalLM.from_pretrained(given.model, dtype="auto").to(given.device).eval()
    with open(given.texts, encoding="utf-8") as file:
        tokens = AutoTokenizer.from_pretrained(given.model)(file.read(), return_tensors="pt").input_ids[0]
    collector = Collector(model, given.skip)
    samples = samples_of(tokens, given.samples, given.length)
    with torch.inference_mode():
        for number, sample in enumerate(samples, 1):
            model(sample[None].to(given.device), use_cache=False)
            print(f"\r{number} of {len(samples)}", end="", flush=True)
    print()
    collector.save(given.out, model=given.model, samples=str(len(samples)), length=str(len(samples[0])))


if __name__ == "__main__":
    main()
