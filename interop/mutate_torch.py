"""Small changes to PyTorch files: to their bytes, to the records of the archive, to the opcodes of the pickle."""

import io
import pickletools
import struct
import zipfile

# ---- Bytes ----------------------------------------------------------------------------------------------------------


def change_bytes(random, data):
    at = random.randrange(len(data))
    end = min(len(data), at + random.choice((1, 1, 2, 4, 8, 64)))
    other = random.randrange(len(data))
    match random.randrange(8):
        case 0:  # a byte of any value
            return data[:at] + bytes([random.randrange(256)]) + data[at + 1 :]
        case 1:  # a bit
            return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]
        case 2:  # a byte that means something: opcodes, the least and greatest numbers
            return data[:at] + bytes([random.choice(b"(.0KMJX}]tRbh\x00\x01\x7f\x80\xff")]) + data[at + 1 :]
        case 3:  # two bytes for each other
            first, last = sorted((at, other))
            swapped = data[last : last + 1] + data[first + 1 : last] + data[first : first + 1]
            return data[:first] + swapped + data[last + 1 :] if first < last else data
        case 4:  # the end is missing
            return (
                data[: -min(len(data), random.choice((1, 2, 22, 100)))]
                if random.random() < 0.5
                else data[:at]
            )
        case 5:  # a piece less
            return data[:at] + data[end:]
        case 6:  # a piece twice
            return data[:end] + data[at:]
        case _:  # a piece of zeros
            return data[:at] + bytes(end - at) + data[end:]


# ---- Opcodes --------------------------------------------------------------------------------------------------------

NUMBERS = (
    0,
    1,
    2,
    3,
    4,
    8,
    63,
    64,
    255,
    256,
    65535,
    65536,
    2**31 - 1,
    2**31,
    2**53,
    2**63 - 1,
    2**63,
    -1,
    -2,
    -(2**31),
)
TEXTS = (
    "",
    "0",
    "1",
    "2",
    "00",
    "1.5",
    "../0",
    "storage",
    "module",
    "cpu",
    "cuda:0",
    "meta",
    "weight",
    "__metadata__",
    "é",
)
NAMES = {
    "torch": "FloatStorage HalfStorage ByteStorage BoolStorage LongStorage BFloat16Storage ComplexFloatStorage "
    "QInt8Storage float32 float8_e4m3fn uint16 bits8 Size device Tensor FloatTensor",
    "torch.storage": "UntypedStorage",
    "torch.cuda": "FloatStorage",
    "torch._utils": "_rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3 _rebuild_parameter _rebuild_sparse_tensor "
    "_rebuild_qtensor _rebuild_meta_tensor_no_storage",
    "torch.nn.parameter": "Parameter",
    "collections": "OrderedDict Counter defaultdict deque",
    "_codecs": "encode",
    "__builtin__": "set",
    "builtins": "dict complex getattr",
    "os": "system",
    "numpy": "ndarray",
    "company": "Settings",
}
GLOBALS = [f"c{module}\n{name}\n".encode() for module, names in NAMES.items() for name in names.split()]
# Opcodes without arguments, and some with one.
OPCODES = [bytes([code]) for code in b"(.012NRQ]})tlde\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x93\x94abosu"]
OPCODES += [
    b"K\0",
    b"K\1",
    b"J\xff\xff\xff\xff",
    b"h\0",
    b"h\1",
    b"q\0",
    b"q\1",
    b"U\1a",
    b"X\1\0\0\0a",
    b"\x80\2",
]


def change_pickle(random, data):
    """The first three pickles of the format before 1.6 stay as they are, and so do storages behind the pickle."""
    start = 0
    if b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." in data[:40]:
        for _ in range(3):
            start += opcodes_of(data[start:])[1]
    opcodes, length = opcodes_of(data[start:])
    for _ in range(random.choice((1, 1, 1, 2))):
        change_opcodes(random, opcodes)
    return data[:start] + b"".join(opcodes) + data[start + length :]


def opcodes_of(data):
    """The opcodes of a pickle with their arguments, without frames, whose length would change; and its length."""
    found = [(opcode.name, place) for opcode, _, place in pickletools.genops(data)]
    ends = [place for _, place in found[1:]] + [found[-1][1] + 1]
    opcodes = [data[place:end] for (name, place), end in zip(found, ends, strict=True) if name != "FRAME"]
    return opcodes, ends[-1]


def change_opcodes(random, opcodes):
    at = random.randrange(len(opcodes))
    match random.randrange(16):
        case 0:
            del opcodes[at]
        case 1:
            opcodes.insert(at, opcodes[at])
        case 2:
            opcodes.insert(at, random.choice(OPCODES))
        case 3:
            opcodes[at] = random.choice(OPCODES)
        case 4:
            opcodes[at : at + 2] = reversed(opcodes[at : at + 2])
        case 5:
            other = random.randrange(len(opcodes))
            opcodes[at], opcodes[other] = opcodes[other], opcodes[at]
        case 6:
            del opcodes[at : at + random.randrange(2, 9)]
        case 7:
            replace(random, opcodes, b"\x88\x89", lambda old: b"\x89" if old == b"\x88" else b"\x88")
        case 8:
            replace(random, opcodes, b"hq", lambda old: old[:1] + bytes([random.randrange(40)]))
        case 9:
            replace(random, opcodes, b"c", lambda _: random.choice(GLOBALS))
        case 10 | 11:
            replace(random, opcodes, b"X\x8c", lambda _: text(random, opcodes))
        case _:
            replace(random, opcodes, b"KMJ\x8a", lambda old: number(random, old))


def replace(random, opcodes, codes, other):
    """Another opcode instead of one of those with these codes."""
    places = [
        place
        for place, opcode in enumerate(opcodes)
        if opcode[:1] in [codes[i : i + 1] for i in range(len(codes))]
    ]
    if places:
        place = random.choice(places)
        opcodes[place] = other(opcodes[place])


def text(random, opcodes):
    """A text that means something, or that of another place."""
    texts = [opcode for opcode in opcodes if opcode[:1] in (b"X", b"\x8c")]
    data = random.choice(TEXTS).encode()
    return random.choice((random.choice(texts), b"X" + struct.pack("<I", len(data)) + data))


def number(random, opcode):
    """Another number: near by, or one at which something overflows."""
    old = next(pickletools.genops(opcode + b"."))[1]
    new = random.choice(
        (old + 1, old - 1, old * 2, old // 2, -old, random.choice(NUMBERS), random.choice(NUMBERS))
    )
    if 0 <= new < 256:
        return b"K" + bytes([new])
    if 0 <= new < 65536:
        return b"M" + struct.pack("<H", new)
    if -(2**31) <= new < 2**31:
        return b"J" + struct.pack("<i", new)
    data = new.to_bytes(9, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


# ---- Records --------------------------------------------------------------------------------------------------------


def change_archive(random, data, change):
    """Passes the records, as [name, content] each, through `change`, and zips them again: sizes and checksums fit."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        records = [[name, archive.read(name)] for name in archive.namelist()]
    change(random, records)
    result = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if random.random() < 0.1 else zipfile.ZIP_STORED
    with zipfile.ZipFile(result, "w", method) as archive:
        for name, content in records:
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return result.getvalue()


def change_pickle_record(random, records):
    record = next(record for record in records if record[0].endswith("/data.pkl"))
    record[1] = change_pickle(random, record[1])


def change_records(random, records):
    record, other = random.choice(records), random.choice(records)
    name, content = record
    root = name.partition("/")[0]
    match random.randrange(12):
        case 0:
            records.remove(record)
        case 1:  # the same again, or with other content
            records.insert(
                random.randrange(len(records) + 1), [name, random.choice((content, other[1], content[::-1]))]
            )
        case 2:
            record[0], other[0] = other[0], record[0]
        case 3:
            record[1], other[1] = other[1], content
        case 4:
            record[0] = random.choice(
                (name.upper(), name + "x", name[:-1], f"{root}/{name}", f"./{name}", f"{name}/", "x")
            )
        case 5:
            record[0] = f"{root}/data/{random.choice(('0', '1', '2', '00', '-1', '1.5', 'x'))}"
        case 6 | 7:
            record[1] = random.choice(
                (content[:-1], content[:-4], b"", content + b"\0", content + content, content + bytes(64))
            )
        case 8:
            record[1] = change_bytes(random, content) if content else b"x"
        case 9:
            special = random.choice(
                (("byteorder", b"big"), ("byteorder", b"little\n"), ("version", b"11\n"), ("version", b"2\n"))
            )
            records[:] = [one for one in records if one[0] != f"{root}/{special[0]}"] + [
                [f"{root}/{special[0]}", special[1]]
            ]
        case 10:
            more = random.choice(
                (
                    "constants.pkl",
                    "data.pkl",
                    "DATA.PKL",
                    "data/9",
                    "code/x.py",
                    ".data/version",
                    "data/",
                    "x.pkl",
                )
            )
            records.append(
                [f"{random.choice((root, root, 'other'))}/{more}", random.choice((b"", b"3\n", content))]
            )
        case _:
            random.shuffle(records)


def mutant(random, data):
    """A file with a change or two, and what was changed."""
    is_zip = data[:2] == b"PK"
    kind = random.choices(("bytes", "records", "pickle"), (35, 20, 45))[0]
    if kind == "records" and is_zip:
        return kind, change_archive(random, data, change_records)
    if kind == "pickle":
        return kind, change_archive(random, data, change_pickle_record) if is_zip else change_pickle(
            random, data
        )
    for _ in range(random.choice((1, 1, 2))):
        data = change_bytes(random, data) if data else data
    return "bytes", data
