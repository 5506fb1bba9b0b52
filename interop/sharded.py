"""Checkpoints in several files, as the libraries of the field write and load them.

write FOLDER: makes checkpoints with huggingface_hub, each in a folder of its own, beside the same tensors in one file;
prints, for each, the names in the order of the state dict and the size that it was split at.
read FOLDER...: loads each folder with huggingface_hub, prints the sha256 of every tensor.
model FOLDER: makes a small model of transformers, saves it in one file.
reshaped ORIGINAL EXTRACTED RENAMED CAST: compares what the commands made of a file with what Python makes of it.
load ORIGINAL FOLDER...: loads each folder with transformers, compares every parameter with those of ORIGINAL.
"""

import json
import pathlib
import re
import sys

import torch
from huggingface_hub import load_state_dict_from_file, save_torch_state_dict
from safetensors.torch import load_file, save_file

from fixtures import sha256
from make_torch_fixtures import packed_bytes

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool, torch.float8_e4m3fn]


def random_state_dict(seed):
    random = torch.Generator().manual_seed(seed)

    def number(end):
        return int(torch.randint(end, (1,), generator=random))

    tensors = {}
    for index in range(1 + number(40)):
        # Not without elements: these all have the address zero, so that huggingface_hub takes them for one storage.
        shape = [1 + number(11) for _ in range(number(4))]
        dtype = DTYPES[number(len(DTYPES))]
        end = 2 if dtype == torch.bool else 100
        values = torch.randint(0, end, shape, generator=random)
        tensors[f"layers.{number(1000)}.{index}"] = values.to(dtype)
    return tensors


def write(folder):
    cases = {}
    for seed in range(40):
        tensors = random_state_dict(seed)
        largest = [50, 300, 1000, 5000, 1_000_000][seed % 5]
        place = folder / f"case-{seed}"
        place.mkdir()
        save_torch_state_dict(tensors, place, max_shard_size=largest)
        save_file(tensors, folder / f"case-{seed}.safetensors", metadata={"format": "pt"})
        cases[place.name] = {"names": list(tensors), "size": largest}
    return cases


def read(folder):
    index = folder / "model.safetensors.index.json"
    files = sorted(set(json.loads(index.read_text())["weight_map"].values())) if index.exists() else ["model.safetensors"]
    tensors = {}
    for file in files:
        tensors |= load_state_dict_from_file(folder / file)
    return {name: sha256(packed_bytes(tensor)) for name, tensor in tensors.items()}


def reshaped(original, extracted, renamed, cast):
    tensors = load_file(original)
    expected = {
        extracted: {name: tensor for name, tensor in tensors.items() if re.search(r"\.h\.1\.", name)},
        renamed: {re.sub(r"^transformer\.", "model.", name): tensor for name, tensor in tensors.items()},
        cast: {name: tensor if "ln_" in name else tensor.to(torch.bfloat16) for name, tensor in tensors.items()},
    }

    def same(path, wanted):
        found = load_file(path)
        return found.keys() == wanted.keys() and all(
            found[name].dtype == tensor.dtype and torch.equal(found[name], tensor) for name, tensor in wanted.items()
        )

    return {path.name: [len(wanted), same(path, wanted)] for path, wanted in expected.items()}


def gpt2():
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(n_layer=3, n_embd=32, n_head=4, vocab_size=100, n_positions=16))


def load(original, folder):
    from transformers import GPT2LMHeadModel

    loaded, info = GPT2LMHeadModel.from_pretrained(folder, output_loading_info=True)
    expected = GPT2LMHeadModel.from_pretrained(original).state_dict()
    found = loaded.state_dict()
    different = [name for name in expected if name not in found or not torch.equal(found[name], expected[name])]
    return {
        "parameters": len(found),
        "different": different,
        "missing": sorted(info["missing_keys"]),
        "unexpected": sorted(info["unexpected_keys"]),
    }


command, *arguments = sys.argv[1:]
folders = [pathlib.Path(argument) for argument in arguments]
if command == "write":
    result = write(folders[0])
elif command == "read":
    result = {folder.name: read(folder) for folder in folders}
elif command == "reshaped":
    result = reshaped(*folders)
elif command == "model":
    gpt2().save_pretrained(folders[0])
    result = None
else:
    result = {folder.name: load(folders[0], folder) for folder in folders[1:]}
json.dump(result, sys.stdout)
