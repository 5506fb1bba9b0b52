"""Scans a PyTorch file once with picklescan or fickling; imports are not timed."""

import sys
from time import perf_counter

from report import report

scanner, path = sys.argv[1:]
if scanner == "picklescan":
    from picklescan.scanner import scan_file_path

    start = perf_counter()
    result = scan_file_path(path)
    first = perf_counter() - start
    if result.issues_count or result.scan_err:
        sys.exit(f"picklescan finds {result}")
else:
    from fickling.analysis import check_safety
    from fickling.pytorch import PyTorchModelWrapper

    start = perf_counter()
    # Its verdict on an honest file is not clean; only the time counts here.
    check_safety(PyTorchModelWrapper(path).pickled)
    first = perf_counter() - start
report(first=first * 1000)
