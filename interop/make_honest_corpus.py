"""Writes files as people have them into a folder, and prints what is to be found in each: made, unknown, findings, readings."""

import json
import pathlib
import pickle
import sys
import zlib

import torch

import honest_models  # noqa: F401  (adds its cases)
import honest_objects  # noqa: F401  (adds its cases)
import honest_training  # noqa: F401  (adds its cases)
from honest_saving import CASES
from make_torch_kinds import reading


def loaded(path):
    if path.suffix == ".pkl":
        return pickle.loads(path.read_bytes())
    value = torch.load(path, weights_only=False)
    if isinstance(value, torch.Tensor):
        return {"tensor": value}
    return value.state_dict() if isinstance(value, torch.jit.ScriptModule) else value


def main(folder):
    folder.mkdir(parents=True)
    expected = {}
    for file, (build, save, made, readings, unknown, findings) in CASES.items():
        torch.manual_seed(zlib.crc32(file.encode()))
        path = folder / file
        save(build(), path)
        expected[file] = {
            "made": made,
            "unknown": unknown,
            "findings": findings,
            "readings": [reading(loaded(path), options) for options in readings],
        }
    return expected


if __name__ == "__main__":
    print(json.dumps(main(pathlib.Path(sys.argv[1]))))
