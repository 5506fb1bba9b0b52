"""Tells the process that measures what was found, with the peak memory of this process in bytes."""

import json
import os
import re
import resource
import sys
from pathlib import Path


def report(**figures: object) -> None:
    os.write(3, json.dumps({**figures, "peak": peak_memory()}).encode())


def peak_memory() -> int:
    """Linux has the peak of this program alone in its status; elsewhere the one of getrusage must do."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"^VmHWM:\s*(\d+) kB", status.read_text(), re.MULTILINE)[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
