"""Writes what the tests of the quantisers expect: small weights, and digests of what the originals make of them.

Usage: make_quant_make_fixtures.py [FOLDER]
"""

import pathlib
import sys

from quant_make import write_fixtures

FIXTURES = pathlib.Path(__file__).parent.parent / "packages/safetensors/test/fixtures/quant/make"

if __name__ == "__main__":
    write_fixtures(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else FIXTURES)
