"""Writes the small cases of quant_ct.py for the tests of the package: in a folder for compressed-tensors, FP8 and ModelOpt
each, stored.safetensors, with the number of the case in front of each name, and expected.json. An entry of that has
  case      what it is
  shard     for each stored tensor, the number of the file that it lies in
  configs   the JSON files beside them
  dense     the dense tensors: name, dtype, shape, sha256 of the packed little-endian bytes

Takes the folder to write to; the fixtures' own unless given.
"""

import pathlib
import sys

from safetensors.torch import save_file

from fixtures import FIXTURES, to_json
from quant_ct import GROUPS, describe

# Stored bytes of a case. Larger ones, whole models among them, are compared by `npm run interop` only.
MAX_BYTES = 8192


def size_of(case):
    return sum(tensor.nbytes for shard in case["shards"] for tensor in shard.values())


def main(folder):
    for group, make in GROUPS.items():
        place = folder / group
        place.mkdir(parents=True, exist_ok=True)
        stored, expected = {}, []
        for case in make():
            if size_of(case) > MAX_BYTES:
                continue
            shards = {}
            for number, shard in enumerate(case["shards"]):
                for name, tensor in shard.items():
                    stored[f"{len(expected)}/{name}"] = tensor.contiguous().clone()
                    shards[name] = number
            dense = [describe(name, tensor) for name, tensor in sorted(case["dense"].items())]
            expected.append({"case": case["case"], "shard": shards, "configs": case["configs"], "dense": dense})
        save_file(stored, place / "stored.safetensors")
        (place / "expected.json").write_text(to_json(expected), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else FIXTURES / "quant")
