"""Opens a file and lists its names: once, then again for so many seconds, but three times at least."""

import hashlib
import sys
from time import perf_counter

import numpy  # noqa: F401  safe_open would import it on the clock
from report import report
from safetensors import safe_open

path, seconds = sys.argv[1:]
LEAST = 3
times = []
names = []
until = perf_counter() + float(seconds)
while not times or (float(seconds) > 0 and (len(times) <= LEAST or perf_counter() < until)):
    start = perf_counter()
    with safe_open(path, framework="numpy") as file:
        names = list(file.keys())
        times.append((perf_counter() - start) * 1000)
report(first=times[0], again=times[1:], names=hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest())
