"""Scans a PyTorch file with picklescan or fickling: once, and again as often as the last argument says."""

import sys
from time import perf_counter

from report import report

scanner, path, *repeats = sys.argv[1:]


def picklescan() -> None:
    result = scan_file_path(path)
    if result.issues_count or result.scan_err:
        sys.exit(f"picklescan finds {result}")


def fickling() -> None:
    # Its verdict on an honest file is not clean; only the time counts here.
    check_safety(PyTorchModelWrapper(path).pickled)


# Imports are not timed.
if scanner == "picklescan":
    from picklescan.scanner import scan_file_path

    scan = picklescan
else:
    from fickling.analysis import check_safety
    from fickling.pytorch import PyTorchModelWrapper

    scan = fickling

times = []
for _ in range(int(*repeats or [0]) + 1):
    start = perf_counter()
    scan()
    times.append((perf_counter() - start) * 1000)
report(first=times[0], again=times[1:])
