"""What the scripts that write test data have in common."""

import hashlib
import json
import pathlib
import sys

FIXTURES = pathlib.Path(__file__).parent.parent / "packages/safetensors/test/fixtures"


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def to_json(value):
    """JSON with a line for each item of a list, or for each field of a dict's items."""
    if isinstance(value, list):
        return "[\n  " + ",\n  ".join(map(json.dumps, value)) + "\n]\n"
    items = []
    for key, item in value.items():
        fields = (f"{json.dumps(name)}: {json.dumps(field)}" for name, field in item.items())
        items.append(f"{json.dumps(key)}: {{\n    " + ",\n    ".join(fields) + "\n  }")
    return "{\n  " + ",\n  ".join(items) + "\n}\n"


def write_or_check(path, value):
    """Writes a JSON file; with `--check` on the command line compares it with what is there instead."""
    text = to_json(value)
    if "--check" not in sys.argv[1:]:
        path.write_text(text, encoding="utf-8", newline="\n")
    elif path.read_text(encoding="utf-8") != text:
        sys.exit(f"{path.name}: the originals give another result than the committed file")
