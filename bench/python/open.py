"""Opens a file and lists its names: once, then again for so many seconds, but three times at least."""

import hashlib
import sys
from time import perf_counter

import numpy  # noqa: F401  safe_open would import it on the clock
from report import report
from safetensors import safe_open

path, seconds = sys.argv[1:]
LEAST = 3
names: list[str] = []


def measure() -> float:
    global names
    start = perf_counter()
    with safe_open(path, framework="numpy") as file:
        names = list(file.keys())
        return (perf_counter() - start) * 1000


first = measure()
again: list[float] = []
until = perf_counter() + float(seconds)
while float(seconds) > 0 and (len(again) < LEAST or perf_counter() < until):
    again.append(measure())
report(first=first, again=again, names=hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest())
