"""Reads a JSON list of files in base64 from the input, prints what the reference says of each of them."""

import base64
import json
import sys
import tempfile

from format_cases import verdict

with tempfile.TemporaryDirectory() as folder:
    files = map(base64.b64decode, json.load(sys.stdin))
    json.dump([verdict(file, folder) for file in files], sys.stdout)
