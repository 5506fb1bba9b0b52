"""Writes the checkpoints of an old version of PyTorch, with its own torch.save.

They are named in torch_container_cases.py.

Run once with the Python of that version (Debian 12: `apt-get install python3-torch`, which is torch 1.13.1):
    /usr/bin/python3 interop/make_old_torch_fixtures.py
"""

import io
import pathlib
import pickle
import re
import sys

import torch

FIXTURES = pathlib.Path(__file__).parent.parent / "packages/safetensors/test/fixtures/torch"


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 2)
        self.register_buffer("mask", torch.tensor([True, False]))

    def forward(self, x):
        return self.linear(x) * self.mask


def stable_keys(data):
    """As in torch_containers.py, which needs a newer torch."""
    for number, key in enumerate(sorted(set(re.findall(rb"(?<![0-9])[1-9][0-9]{6,14}(?![0-9])", data)))):
        data = data.replace(key, str(10 ** (len(key) - 1) + number).encode())
    return data


def write_without_paths(path):
    """Leaves out the debug records, which hold paths of the machine."""
    reader = torch._C.PyTorchFileReader(str(path))
    names = (name for name in reader.get_all_records() if not name.endswith(".debug_pkl"))
    records = {name: reader.get_record(name) for name in names if name != "version"}
    writer = torch._C.PyTorchFileWriter(str(path))
    for name, data in records.items():
        writer.write_record(name, data, len(data))
    writer.write_end_of_file()


def main():
    torch.manual_seed(1)
    net = Net()
    weight = torch.randn(3, 4)
    halves = {"half": weight.half(), "bf16": weight.bfloat16()}
    state = {**net.state_dict(), **halves, "tied": weight, "t": weight.t()}
    torch.save(state, FIXTURES / "old-zip.pt")
    buffer = io.BytesIO()
    torch.save(state, buffer, _use_new_zipfile_serialization=False)
    (FIXTURES / "old-legacy.pt").write_bytes(stable_keys(buffer.getvalue()))
    script = FIXTURES / "old-script.pt"
    torch.jit.save(torch.jit.script(net), str(script))
    write_without_paths(script)
    (FIXTURES / "old-pickle.pt").write_bytes(stable_keys(pickle.dumps(state, 4)))


if __name__ == "__main__":
    sys.exit(main())
