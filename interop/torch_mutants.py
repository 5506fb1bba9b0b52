"""Writes changed PyTorch files into a folder and prints what torch.load(weights_only=True) makes of each: a list of

file      its name
of        the file that was changed
changed   bytes, records or pickle
and one of
tensors   name, dtype, shape and sha256 of each: quantized ones dequantized, sparse ones dense, complex128 split
loaded    why what was loaded cannot be compared
unsafe    the message of the refusal of a name, class or opcode
refused   the message of any other refusal
crashed   how the process ended
"""

import json
import os
import pathlib
import pickle
import random
import re
import resource
import signal
import sys
import zlib

import torch

import torch_cases
import torch_container_cases  # noqa: F401  (adds its cases)
import torch_kinds_cases
from make_torch_fixtures import describe
from make_torch_kinds import in_form, leaves
from mutate_torch import mutant

# Of the files that make_torch_fixtures.py and make_torch_kinds.py write, those that are small.
FILES = """
    state-dict parameters tied views non-contiguous dtypes-2d conj-and-neg scalar-and-empty expanded training objects
    int-keys module protocol-4 compressed torch-1.13 unreadable-complex128 legacy-views legacy-state-dict
    legacy-protocol-4 script quantized sparse arrays-5 old-tensors
"""

OPTIONS = {"quantized": "dequantize", "sparse": "densify", "complex128": "split"}
UNSAFE = re.compile(
    r"Unsupported (global|class|operand)|unsupported GLOBAL|Trying to call|Can only (create|build)"
)
SECONDS = 10
MORE_MEMORY = 2**30
MOST_BYTES = 2**22


class NotComparable(Exception):
    pass


def originals(folder):
    cases = torch_cases.CASES | torch_kinds_cases.CASES
    for name in FILES.split():
        build, save = cases[f"{name}.pt"][:2]
        torch.manual_seed(zlib.crc32(name.encode()))
        path = folder / f"{name}.pt"
        save(build(), path)
        yield name, path.read_bytes()


# ---- The verdict of torch -------------------------------------------------------------------------------------------


def verdict(path):
    try:
        signal.alarm(SECONDS)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001  (torch raises anything)
        # Only what it says itself, not the advice that torch.load puts around it.
        message = str(error).partition("WeightsUnpickler error: ")[2] or str(error)
        unsafe = isinstance(error, pickle.UnpicklingError) and UNSAFE.search(message)
        return {"unsafe" if unsafe else "refused": f"{type(error).__name__}: {message[:200]}"}
    finally:
        signal.alarm(0)
    try:
        return {"tensors": list(rows(loaded))}
    except Exception as error:  # noqa: BLE001
        return {"loaded": f"{type(error).__name__}: {error}"[:300]}


def rows(loaded):
    for name, tensor in leaves(loaded):
        if tensor.numel() * tensor.element_size() > MOST_BYTES:
            raise NotComparable("too large")
        for part, value in in_form("tensor" if name is None else name, tensor, OPTIONS):
            row = describe(part, value)
            del row["first"]
            yield row


def time_is_up(*_):
    raise TimeoutError


def verdicts(paths):
    """Of each file, in a process that is made anew after a crash."""
    found = []
    while len(found) < len(paths):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGALRM, time_is_up)
            pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
            limit = pages * resource.getpagesize() + MORE_MEMORY
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            with os.fdopen(writer, "w") as out:
                for path in paths[len(found) :]:
                    print(json.dumps(verdict(path)), file=out, flush=True)
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as lines:
            found += map(json.loads, lines)
        status = os.waitpid(child, 0)[1]
        if len(found) < len(paths):
            found.append({"crashed": status})
    return found


def main(folder, count):
    folder.mkdir(parents=True)
    torch.set_num_threads(1)
    # Otherwise torch takes wrong indices for good, and writes them outside of the dense tensor.
    torch.sparse.check_sparse_tensor_invariants.enable()
    files = list(originals(folder))
    generator = random.Random(42)
    made = [{"file": f"{name}.pt", "of": name, "changed": "nothing"} for name, _ in files]
    for number in range(count):
        of, data = files[number % len(files)]
        changed, data = mutant(generator, data)
        made.append({"file": f"{number:04}.pt", "of": of, "changed": changed})
        (folder / made[-1]["file"]).write_bytes(data)
    paths = [folder / one["file"] for one in made]
    return [one | found for one, found in zip(made, verdicts(paths), strict=True)]


if __name__ == "__main__":
    print(json.dumps(main(pathlib.Path(sys.argv[1]), int(sys.argv[2]))))
