"""Versions of Python and of the packages that are measured."""

import platform
from importlib.metadata import version

from report import report

packages = ", ".join(f"{name} {version(name)}" for name in ("safetensors", "torch", "numpy"))
report(versions=f"{platform.python_version()}, {packages}")
