"""Writes dangerous files whose members have hostile names; prints the files' names as JSON."""

import json
import pathlib
import sys
import zipfile

SYSTEM = b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R."
NAMES = [
    'a"b\\u202e\n.pkl',
    "\u202e\u0085\x1b[31m.pkl",
    "x" * 3000 + ".pkl",
    "a/b > c/%2e%2e/d.pkl",
    "https://example.org/a b.pkl",
    "ключ.pkl",
]


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True)
    for index, name in enumerate(NAMES):
        with zipfile.ZipFile(folder / f"{index}.zip", "w") as archive:
            archive.writestr(name, SYSTEM)
    # A name in a pickle that is no name, and one archive in another.
    (folder / "name.pkl").write_bytes(b'\x80\x02cos\nsys\x1b"tem\nX\x02\x00\x00\x00id\x85R.')
    with zipfile.ZipFile(folder / "nested.zip", "w") as archive:
        archive.write(folder / "0.zip", "inner/0.zip")
    print(json.dumps(sorted(path.name for path in folder.iterdir())))


main()
