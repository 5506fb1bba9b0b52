"""Small safetensors files, valid and not, for every rule of the format; each as (name, bytes)."""

import base64
import gzip
import io
import json
import zipfile

DTYPE_BITS = {
    **dict.fromkeys(["BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"], 8),
    **dict.fromkeys(["I16", "U16", "F16", "BF16"], 16),
    **dict.fromkeys(["I32", "U32", "F32"], 32),
    **dict.fromkeys(["C64", "F64", "I64", "U64"], 64),
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
}

ENTRY = '{"dtype":"U8","shape":[4],"data_offsets":[0,4]}'
DATA = b"abcd"


def file(header, data=DATA, length=None):
    header = header.encode() if isinstance(header, str) else header
    return (len(header) if length is None else length).to_bytes(8, "little") + header + data


def entry(dtype="U8", shape="[4]", offsets="[0,4]", more=""):
    return f'{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}{more}}}'


def named(name, data=DATA):
    """A file of one tensor whose name is the given bytes or characters between the quotes."""
    name = name.encode() if isinstance(name, str) else name
    return file(b'{"' + name + b'":' + ENTRY.encode() + b"}", data)


def of(*entries, size=4):
    """A file of tensors a, b, c ... with the given entries."""
    pairs = ",".join(f'"{chr(97 + index)}":{text}' for index, text in enumerate(entries))
    return file(f"{{{pairs}}}", bytes(size))


def ignored(value):
    """A file with an unknown field in its entry."""
    return of(entry(more=f',"extra":{value}'))


def metadata(value):
    return file(f'{{"__metadata__":{value},"a":{ENTRY}}}')


def lengths():
    valid = f'{{"a":{ENTRY}}}'
    for size in range(9):
        yield f"file of {size} zero bytes", bytes(size)
    yield "length 0, then data", bytes(8) + DATA
    yield "valid", file(valid)
    yield "length one too small", file(valid, length=len(valid) - 1)
    yield "length one too large", file(valid, length=len(valid) + 1)
    yield "length takes in all data", file(valid, length=len(valid) + 4)
    yield "length beyond the file by one", file(valid, length=len(valid) + 5)
    yield "length 1, no header", (1).to_bytes(8, "little")
    yield "length in big-endian order", len(valid).to_bytes(8, "big") + valid.encode() + DATA
    for name, length in {
        "10^8 - 1": 10**8 - 1,
        "10^8": 10**8,
        "10^8 + 1": 10**8 + 1,
        "2^31": 2**31,
        "2^32": 2**32,
        "2^32 + the right one": 2**32 + len(valid),
        "2^53": 2**53,
        "2^53 + the right one": 2**53 + len(valid),
        "2^63 - 1": 2**63 - 1,
        "2^63": 2**63,
        "2^64 - 8": 2**64 - 8,
        "2^64 - 1": 2**64 - 1,
    }.items():
        yield f"length {name}", file(valid, length=length)


def utf8():
    good = ["é", "€", "😀", "\x7f", "\x80", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\ufffd", "\uffff"]
    for character in [*good, "\U00010000", "\U0010ffff", "\ufeff", "\u2028", "\u00a0"]:
        yield f"character U+{ord(character):04X}", named(character)
    bad = [
        "c080",
        "c1bf",
        "e08080",
        "e09fbf",
        "f0808080",
        "f08fbfbf",
        "eda080",
        "edbfbf",
        "eda0bdedb880",
        "f4908080",
    ]
    bad += ["f5808080", "80", "bf", "c3", "e282", "f09f98", "c328", "e28228", "fe", "ff", "e9", "f8a1a1a1a1"]
    for text in bad:
        yield f"bytes {text}", named(bytes.fromhex(text))
    yield "byte order mark first", file(b"\xef\xbb\xbf" + f'{{"a":{ENTRY}}}'.encode())
    yield "invalid byte after the object", file(f'{{"a":{ENTRY}}}'.encode() + b"\xff")
    yield "cut character at the end", file(f'{{"a":{ENTRY}}}'.encode() + b"\xe2\x82")
    yield "invalid byte in an ignored field", file(b'{"a":' + ENTRY[:-1].encode() + b',"x":"\xff"}}')
    yield "invalid byte in metadata", file(b'{"__metadata__":{"k":"\xc0\x80"},"a":' + ENTRY.encode() + b"}")
    yield "UTF-16", file(f'{{"a":{ENTRY}}}'.encode("utf-16-le"))


def whitespace():
    valid = f'{{"a":{ENTRY}}}'
    for name, space in {"space": " ", "tab": "\t", "LF": "\n", "CR": "\r", "all four": " \t\n\r "}.items():
        yield f"{name} before", file(space + valid)
        yield f"{name} after", file(valid + space)
        inside = '{ "a" : { "dtype" : "U8" , "shape" : [ 4 ] , "data_offsets" : [ 0 , 4 ] } }'
        yield f"{name} inside", file(inside.replace(" ", space))
    not_space = {"NUL": "\0", "form feed": "\f", "vertical tab": "\v", "NBSP": "\u00a0", "U+2028": "\u2028"}
    for name, space in {**not_space, "U+0085": "\u0085", "U+FEFF": "\ufeff", "backspace": "\b"}.items():
        yield f"{name} before", file(space + valid)
        yield f"{name} after", file(valid + space)
        yield f"{name} inside", file(valid.replace(":", f":{space}", 1))
    yield "header of spaces only", file(" " * 8, b"")
    yield "padding to 4096 bytes", file(valid.ljust(4088))


def json_text():
    valid = f'{{"a":{ENTRY}}}'
    for text in [
        "{}",
        "[]",
        '"a"',
        "null",
        "true",
        "0",
        "{",
        "}",
        '{"',
        '{"a"',
        '{"a":',
        '{"a":}',
        "{,}",
        "{{}}",
        "a",
        "''",
    ]:
        yield f"whole header {text}", file(text, b"")
    for text in ["{}", ",", "x", "]", "}", "null", "//", "/**/", "\\n", '"', "{", "[", "0"]:
        yield f"after the object {text}", file(valid + text)
    yield "empty object, then data", file("{}", DATA)
    for text in [valid[:-1], valid[:-2], valid[:-3], valid[1:]]:
        yield f"cut: {text}", file(text)
    yield "trailing comma in the header", file(valid[:-1] + ",}")
    yield "trailing comma in an entry", of(entry(more=","))
    yield "trailing comma in a shape", of(entry(shape="[4,]"))
    yield "leading comma in a shape", of(entry(shape="[,4]"))
    yield "no comma in a shape", of(entry(shape="[2 2]"))
    yield "two commas in a shape", of(entry(shape="[2,,2]"))
    yield "no comma between entries", file(f'{{"a":{ENTRY}"b":{entry(offsets="[4,8]")}}}', bytes(8))
    yield "no colon", file(f'{{"a"{ENTRY}}}')
    yield "two colons", file(f'{{"a"::{ENTRY}}}')
    yield "equals sign", file(f'{{"a"={ENTRY}}}')
    yield "semicolon", file(valid.replace(",", ";", 1))
    yield "comment /* */", file("/* x */" + valid)
    yield "comment //", file("// x\n" + valid)
    yield "comment inside", file(valid.replace(":", ":/**/", 1))
    yield "single quotes", file(valid.replace('"', "'"))
    yield "name without quotes", file(f"{{a:{ENTRY}}}")
    yield "number as name", file(f"{{1:{ENTRY}}}")
    yield "null as name", file(f"{{null:{ENTRY}}}")
    for value in [
        "null",
        "true",
        "false",
        "[]",
        "{}",
        '""',
        "[[],{}]",
        '{"a":{"b":[null]}}',
        '[1,"x",true]',
        " 1 ",
    ]:
        yield f"ignored field {value}", ignored(value)
    for value in [
        "nul",
        "nulll",
        "Null",
        "True",
        "tru",
        "NaN",
        "Infinity",
        "-Infinity",
        "undefined",
        "",
        "[1",
        "[1}",
    ]:
        yield f"ignored field {value}", ignored(value)
    for value in [
        "{1:2}",
        "{a:1}",
        '{"a" 1}',
        '{"a":1,}',
        "[1,]",
        "[,]",
        "{,}",
        "'a'",
        "`a`",
        "[1 2]",
        '{"a":1 "b":2}',
    ]:
        yield f"ignored field {value}", ignored(value)


def strings():
    good = [
        r"\"",
        r"\\",
        r"\/",
        r"\b",
        r"\f",
        r"\n",
        r"\r",
        r"\t",
        r"\u0041",
        r"\u00e9",
        r"\u00E9",
        r"\u0000",
        r"\u001f",
    ]
    good += [
        r"\ud83d\ude00",
        r"\uD83D\uDE00",
        r"\udbff\udfff",
        r"\ud800\udc00",
        r"\uffff",
        r"\ufeff",
        r"\ue000",
        r"\\u0041",
    ]
    bad = [
        r"\x41",
        r"\a",
        r"\'",
        r"\0",
        r"\U00000041",
        r"\u",
        r"\u4",
        r"\u004",
        r"\u00g1",
        r"\u+041",
        r"\u{41}",
        r"\v",
        r"\ ",
    ]
    bad += [
        r"\ud83d",
        r"\ude00",
        r"\ud83dx",
        r"\ud83d\n",
        r"\ud83d\u0041",
        r"\ude00\ud83d",
        r"\ud83d\ud83d\ude00",
        "\\",
    ]
    bad += ["\0", "\x01", "\x1f", "\n", "\t", "\r", "\b"]
    for text in [*good, *bad]:
        shown = text if text.isprintable() else repr(text)
        yield f"name {shown}", named(text)
        yield f"ignored field {shown}", ignored(f'"{text}"')
        yield f"ignored key {shown}", ignored(f'{{"{text}":1}}')
        yield f"metadata value {shown}", metadata(f'{{"k":"{text}"}}')
    for text in [r"\ud83d", r"\x41", "\x01", r"\u0041"]:
        yield f"metadata key {text!r}", metadata(f'{{"{text}":"v"}}')
        yield f"field {text!r}", of(entry(more=f',"{text}":1'))
    yield r"dtype U\u0038", of(entry(dtype=r"U\u0038"))
    yield r"field d\u0074ype", file(f'{{"a":{ENTRY}}}'.replace("dtype", r"d\u0074ype"))
    yield "string without end", file('{"a')
    yield "string that ends in a backslash", file('{"a\\')


def numbers():
    bad = [
        "4.0",
        "4e0",
        "4E0",
        "40e-1",
        "-0",
        "-4",
        "+4",
        "04",
        "00",
        "0x4",
        ".4",
        "4.",
        '"4"',
        "null",
        "true",
        "[4]",
        "{}",
        "",
    ]
    bad += [
        "18446744073709551616",
        "99999999999999999999",
        "NaN",
        "4 4",
        "4n",
        "4_0",
        "４",
        "1e400",
        "0.0",
        "1" + "0" * 400,
    ]
    for text in bad:
        shown = text if len(text) < 40 else "10^400"
        yield f"dim {shown}", of(entry(shape=f"[{text}]"))
        yield f"begin {shown}", of(entry(offsets=f"[{text},4]"))
        yield f"end {shown}", of(entry(offsets=f"[0,{text}]"))
    big = [
        "9007199254740991",
        "9007199254740992",
        "9007199254740993",
        "9223372036854775808",
        "18446744073709551615",
    ]
    for text in big:
        yield f"dim {text} after 0", of(entry(shape=f"[0,{text}]", offsets="[0,0]"), size=0)
        yield f"dim {text}", of(entry(shape=f"[{text}]"))
        yield f"end {text}", of(entry(offsets=f"[0,{text}]"))
        yield f"begin {text}", of(entry(offsets=f"[{text},4]"))
        yield f"begin and end {text}", of(entry(shape="[0]", offsets=f"[{text},{text}]"), size=0)
    good = [
        "0",
        "-0",
        "-1",
        "0.0",
        "1.5",
        "-1.5e-3",
        "1E+2",
        "1e-2",
        "1e308",
        "1.7976931348623157e308",
        "1e-400",
        "5e-324",
    ]
    good += [
        "123456789012345678901234567890",
        "0e0",
        "0E-0",
        "0.10",
        "-0.0",
        "18446744073709551616",
        "-9223372036854775809",
    ]
    for text in good:
        yield f"ignored number {text}", ignored(text)
    bad = [
        "01",
        "-01",
        "1.",
        ".1",
        "1e",
        "1e+",
        "1.e1",
        "-",
        "+1",
        "--1",
        "0x10",
        "1_000",
        "1e400",
        "-1e400",
        "1e309",
        "1.8e308",
    ]
    for text in [
        *bad,
        "1e99999999999999999999",
        "1e-99999999999999999999",
        "0e99999999999999999999",
        "00",
        "-NaN",
        "1a",
    ]:
        yield f"ignored number {text}", ignored(text)
    for digits in 308, 309, 310, 400:
        yield f"ignored number of {digits} nines", ignored("9" * digits)


def entries():
    fields = {"dtype": '"U8"', "shape": "[4]", "data_offsets": "[0,4]"}

    def with_fields(pairs):
        return file('{"a":{' + ",".join(f'"{key}":{value}' for key, value in pairs) + "}}")

    yield "fields in reverse order", with_fields(reversed(fields.items()))
    yield "unknown fields everywhere", with_fields([("x", 1), *fields.items(), ("y", 2)])
    yield "an unknown field twice", with_fields([("x", 1), ("x", 2), *fields.items()])
    yield "an unknown field with an empty name", with_fields([("", 1), *fields.items()])
    yield "a field __metadata__", with_fields([("__metadata__", 1), *fields.items()])
    for key, value in fields.items():
        yield f"without {key}", with_fields(item for item in fields.items() if item[0] != key)
        yield f"{key} twice", with_fields([*fields.items(), (key, value)])
        yield (
            f"{key} twice, once escaped",
            with_fields([*fields.items(), (key.replace("d", r"\u0064").replace("h", r"\u0068"), value)]),
        )
        yield (
            f"{key} in capitals",
            with_fields([*((k.upper() if k == key else k, v) for k, v in fields.items())]),
        )
        for bad in [
            "null",
            "1",
            "true",
            "{}",
            "[]",
            '""',
            '"x"',
            "[[]]",
            '["4"]',
            "[null]",
            '[{"a":1}]',
            "[-1,4]",
            "1.5",
        ]:
            yield f"{key} is {bad}", with_fields({**fields, key: bad}.items())
    yield "empty entry", file('{"a":{}}')
    for bad in [
        "null",
        '"U8"',
        "4",
        "true",
        "[]",
        '["U8"]',
        '["U8",[4]]',
        '["U8",[4],[0,4]]',
        '["U8",[4],[0,4],0]',
        '[[4],"U8",[0,4]]',
    ]:
        yield f"entry is {bad}", file(f'{{"a":{bad}}}')
    yield "entry as an array among others", of(ENTRY, '["I8",[2,2],[4,8]]', size=8)
    for dtype in [
        '{"U8":null}',
        '{"U8":{}}',
        '{"U8":[]}',
        '{"U8":1}',
        '{"U8":null,"I8":null}',
        '{"X":null}',
        '["U8"]',
        '{"U8":null,}',
        '{ "U8" : null }',
    ]:
        yield f"dtype is {dtype}", with_fields({**fields, "dtype": dtype}.items())
    for offsets in [
        "[0]",
        "[0,4,8]",
        "[0,4,4]",
        '{"0":0,"1":4}',
        "[[0,4]]",
        "[0,[4]]",
        "[4]",
        "[0,4.0]",
        '["0","4"]',
    ]:
        yield f"data_offsets are {offsets}", with_fields({**fields, "data_offsets": offsets}.items())


def metadata_forms():
    good = [
        "null",
        "{}",
        '{"a":"b"}',
        '{"a":""}',
        '{"":"a"}',
        '{"a":"1","b":"2"}',
        '{"a":"1","a":"2"}',
        r'{"a":"1","\u0061":"2"}',
    ]
    good += [
        '{"__proto__":"x"}',
        '{"dtype":"U8"}',
        '{"__metadata__":"x"}',
        '{ "a" : "b" }',
        '{"k":"层 😀"}',
        r'{"k":"\u0000"}',
    ]
    bad = [
        "[]",
        '""',
        "0",
        "true",
        "false",
        '{"a":1}',
        '{"a":null}',
        '{"a":true}',
        '{"a":{}}',
        '{"a":[]}',
        '{"a":"b",}',
        '{"a"}',
    ]
    bad += [
        '[["a","b"]]',
        '["a"]',
        '{"a":1.5}',
        '{"a":["b"]}',
        "{1:2}",
        ENTRY,
        '{"a":"b" "c":"d"}',
        '{"a":1,"a":"b"}',
        "nul",
        "",
    ]
    for text in [*good, *bad]:
        yield text, metadata(text)
    one, other = '"__metadata__":{"a":"b"}', r'"\u005f_metadata__":{"a":"b"}'
    yield "last", file(f'{{"a":{ENTRY},{one}}}')
    yield "between", file(f'{{"a":{ENTRY},{one},"b":{entry(offsets="[4,8]")}}}', bytes(8))
    yield "alone", file(f"{{{one}}}", b"")
    yield "alone, then data", file(f"{{{one}}}", DATA)
    yield "name escaped", file(f'{{{other},"a":{ENTRY}}}')
    yield "twice", file(f'{{{one},{one},"a":{ENTRY}}}')
    yield "twice, once escaped", file(f'{{{one},{other},"a":{ENTRY}}}')
    yield "null and object", file(f'{{"__metadata__":null,{one},"a":{ENTRY}}}')
    yield "object and null", file(f'{{{one},"__metadata__":null,"a":{ENTRY}}}')
    yield "null twice", file(f'{{"__metadata__":null,"__metadata__":null,"a":{ENTRY}}}')
    yield "twice, apart", file(f'{{{one},"a":{ENTRY},{one}}}')
    for name in ["__METADATA__", "__metadata", "_metadata__", "metadata", "__metadata__ "]:
        yield f"a tensor named {name}", named(name)


def duplicates():
    other = entry(dtype="I8", shape="[2,2]")
    pair = entry(dtype="U16", shape="[2]")
    yield "the same entry twice", file(f'{{"a":{ENTRY},"a":{ENTRY}}}')
    yield "the last one counts", file(f'{{"a":{ENTRY},"a":{other}}}')
    yield "the last one counts, other order", file(f'{{"a":{other},"a":{ENTRY}}}')
    yield "three times", file(f'{{"a":{ENTRY},"a":{other},"a":{pair}}}')
    yield "through an escape", file(rf'{{"a":{ENTRY},"\u0061":{other}}}')
    yield "through an escaped slash", file(rf'{{"a/b":{ENTRY},"a\/b":{other}}}')
    yield "through a surrogate pair", file(rf'{{"😀":{ENTRY},"\ud83d\ude00":{other}}}')
    yield "of the empty name", file(f'{{"":{ENTRY},"":{other}}}')
    yield "apart", file(f'{{"a":{ENTRY},"b":{entry(offsets="[4,8]")},"a":{other}}}', bytes(8))
    yield "the losing offsets are wild", file(f'{{"a":{entry(offsets="[90,7]")},"a":{ENTRY}}}')
    yield "the losing size overflows", file(f'{{"a":{entry(shape="[9223372036854775808,4]")},"a":{ENTRY}}}')
    yield "the losing dtype is unknown", file(f'{{"a":{entry(dtype="X")},"a":{ENTRY}}}')
    yield "the losing shape is ill-typed", file(f'{{"a":{entry(shape="null")},"a":{ENTRY}}}')
    yield "the losing entry is null", file(f'{{"a":null,"a":{ENTRY}}}')
    yield "the winning offsets are wild", file(f'{{"a":{ENTRY},"a":{entry(offsets="[90,7]")}}}')
    yield (
        "names that differ in normalisation",
        file(f'{{"\u00e9":{ENTRY},"e\u0301":{entry(offsets="[4,8]")}}}', bytes(8)),
    )
    yield "names that differ in case", file(f'{{"a":{ENTRY},"A":{entry(offsets="[4,8]")}}}', bytes(8))


def offsets():
    def tensor(begin, end, size=None):
        return entry(shape=f"[{end - begin if size is None else size}]", offsets=f"[{begin},{end}]")

    yield "begins after 0", of(tensor(1, 4))
    yield "begins after 0, sized for it", of(tensor(4, 8), size=8)
    yield "two in order", of(tensor(0, 3), tensor(3, 4))
    yield "two in the other order", of(tensor(3, 4), tensor(0, 3))
    yield (
        "five in mixed order",
        of(tensor(7, 9), tensor(0, 2), tensor(5, 7), tensor(9, 9), tensor(2, 5), size=9),
    )
    yield "hole", of(tensor(0, 2), tensor(3, 4))
    yield "overlap by one byte", of(tensor(0, 3), tensor(2, 4))
    yield "the same range twice", of(tensor(0, 4), tensor(0, 4))
    yield "one inside the other", of(tensor(0, 4), tensor(1, 3))
    yield "the same begin", of(tensor(0, 4), tensor(0, 2))
    yield "ten on the same range", of(*[tensor(0, 4)] * 10)
    yield "reversed range", of(tensor(0, 4, 4).replace("[0,4]", "[4,0]"))
    yield "reversed empty range", of(tensor(0, 4), entry(shape="[0]", offsets="[4,3]"))
    yield "one byte missing", of(tensor(0, 4), size=3)
    yield "all data missing", of(tensor(0, 4), size=0)
    yield "one byte too many", of(tensor(0, 4), size=5)
    yield "end beyond the data, shape right", of(tensor(0, 8), size=4)
    yield "end 2^64 - 1, shape small", of(entry(offsets="[0,18446744073709551615]"))
    yield "shape one too small", of(tensor(0, 4, 3))
    yield "shape one too large", of(tensor(0, 4, 5))
    yield "range empty, shape not", of(tensor(0, 0, 4), size=0)
    yield "shape empty, range not", of(tensor(0, 4, 0))
    yield "F32 at byte 1", of(tensor(0, 1), entry(dtype="F32", shape="[1]", offsets="[1,5]"), size=5)
    yield "F64 at byte 3", of(tensor(0, 3), entry(dtype="F64", shape="[2]", offsets="[3,19]"), size=19)
    yield "empty alone", of(tensor(0, 0), size=0)
    yield "empty at the beginning", of(tensor(0, 0), tensor(0, 4))
    yield "empty at the beginning, listed last", of(tensor(0, 4), tensor(0, 0))
    yield "empty at the end", of(tensor(0, 4), tensor(4, 4))
    yield "empty between", of(tensor(0, 4), tensor(4, 4), tensor(4, 8), size=8)
    yield "three empty at one place", of(tensor(0, 2), tensor(2, 2), tensor(2, 2), tensor(2, 2), tensor(2, 4))
    yield "empty inside another", of(tensor(0, 4), tensor(2, 2))
    yield "empty behind the end", of(tensor(0, 4), tensor(5, 5))
    yield "empty far behind the end", of(tensor(0, 4), tensor(2**63, 2**63))
    yield "empty alone, not at 0", of(tensor(4, 4), size=4)
    yield "empty alone, then data", of(tensor(0, 0), size=4)
    yield "a valid and an unknown dtype", of(tensor(0, 4), entry(dtype="X", offsets="[4,8]"), size=8)


def sizes():
    for shape in ["[]", "[4,1]", "[2,2]", "[1,1,1,1,1,1,1,4]", "[0]", "[0,3]", "[3,0]", "[2,0,2]"]:
        size = {"[]": 1}.get(shape, 0 if "0" in shape else 4)
        yield f"shape {shape}", of(entry(shape=shape, offsets=f"[0,{size}]"), size=size)
    for shape in ["[]", "[1]", "[2,3]", "[4,4]", "[0]", "[4,0]"]:
        yield f"shape {shape} for four bytes", of(entry(shape=shape))
    yield "1000 dimensions", of(entry(shape=f"[{','.join(['1'] * 999)},4]"))
    empty = [
        [0, 2**63, 4],
        [2**63, 4, 0],
        [2**63, 0, 4],
        [2**64 - 1, 0],
        [0, 2**64 - 1],
        [0, 2**64 - 1, 2**64 - 1],
    ]
    empty += [
        [2**32, 2**32, 0],
        [2**32, 2**31, 0],
        [2**61, 0],
        [2**64 - 1, 1, 0],
        [2**62, 2, 0],
        [2**62, 4, 0],
    ]
    for shape in empty:
        yield f"shape {shape}", of(entry(shape=json.dumps(shape), offsets="[0,0]"), size=0)
    for shape in [
        [2**64 - 1],
        [2**63, 2],
        [2**32, 2**32],
        [2**61],
        [2**61 - 1],
        [2**60, 2],
        [2**60, 8],
        [2**31, 2**31, 4],
        [2**53 + 1],
    ]:
        yield f"shape {shape}", of(entry(shape=json.dumps(shape)))
    for dtype, count in {"F64": 2**58, "F32": 2**59, "F16": 2**60, "F4": 2**62, "F6_E2M3": 2**62}.items():
        yield f"{dtype} of {count} elements", of(entry(dtype=dtype, shape=f"[{count}]"))
        yield f"{dtype} of {count - 4} elements", of(entry(dtype=dtype, shape=f"[{count - 4}]"))
    # A product that wraps to the right number must not pass.
    yield "product wraps to 4 elements", of(entry(shape="[4611686018427387905,4]"))
    yield "bits wrap to 4 bytes", of(entry(shape="[2305843009213693956]"))


def dtypes():
    for dtype, bits in DTYPE_BITS.items():
        size = 8 * bits // 8
        yield (
            f"{dtype} of 8 elements",
            of(entry(dtype=dtype, shape="[2,4]", offsets=f"[0,{size}]"), size=size),
        )
        yield f"{dtype} without elements", of(entry(dtype=dtype, shape="[0]", offsets="[0,0]"), size=0)
        yield (
            f"{dtype} scalar",
            of(entry(dtype=dtype, shape="[]", offsets=f"[0,{bits // 8}]"), size=bits // 8),
        )
        yield (
            f"{dtype} one byte short",
            of(entry(dtype=dtype, shape="[8]", offsets=f"[0,{size - 1}]"), size=size - 1),
        )
        yield (
            f"{dtype} one byte long",
            of(entry(dtype=dtype, shape="[8]", offsets=f"[0,{size + 1}]"), size=size + 1),
        )
    for dtype in "F4", "F6_E2M3", "F6_E3M2":
        for count in range(1, 8):
            size = -(-count * DTYPE_BITS[dtype] // 8)
            fields = entry(dtype=dtype, shape=f"[{count}]", offsets=f"[0,{size}]")
            yield f"{dtype} of {count} elements", of(fields, size=size)
    yield "F4 of 1 x 3", of(entry(dtype="F4", shape="[1,3]", offsets="[0,2]"), size=2)
    yield "F4 of 3 x 2", of(entry(dtype="F4", shape="[3,2]", offsets="[0,3]"), size=3)
    yield "F4 of 2 x 3", of(entry(dtype="F4", shape="[2,3]", offsets="[0,3]"), size=3)
    yield "F4 rounded down", of(entry(dtype="F4", shape="[3]", offsets="[0,1]"), size=1)
    yield "BOOL of any byte", file(f'{{"a":{entry(dtype="BOOL")}}}', b"\x00\x01\x02\xff")
    unknown = [
        "u8",
        "U4",
        "I4",
        "F128",
        "C128",
        "BF8",
        "E8M0",
        "F8_E4M3FN",
        "F8_E4M3FNUZ ",
        " U8",
        "U8 ",
        "",
        "U08",
        "f32",
        "float32",
    ]
    for dtype in [
        *unknown,
        "F6",
        "F8",
        "Bool",
        "Ｕ8",
        "U8\\u0000",
        "toString",
        "__proto__",
        "constructor",
        "UE8",
        "FP4",
    ]:
        yield f"unknown dtype {dtype!r}", of(entry(dtype=dtype))


def nesting():
    for depth in 1, 124, 125, 126, 127, 128, 1000:
        yield f"{depth} arrays in an ignored field", ignored("[" * depth + "]" * depth)
        yield f"{depth} objects in an ignored field", ignored('{"a":' * depth + "1" + "}" * depth)
        if depth % 2 == 0:
            pairs = depth // 2
            yield f"{depth} mixed in an ignored field", ignored('[{"a":' * pairs + "1" + "}]" * pairs)
    yield "125 arrays without end", ignored("[" * 125)
    yield "5000 arrays without end", ignored("[" * 5000)
    yield (
        "125 arrays in the field of an array entry",
        file(f'{{"a":["U8",[4],[0,4],{"[" * 125 + "]" * 125}]}}'),
    )
    for depth in 2, 200:
        deep = "[" * depth + "]" * depth
        yield f"{depth} arrays as a tensor entry", file(f'{{"a":{deep}}}')
        yield f"{depth} arrays as a shape", of(entry(shape=deep))
        yield f"{depth} arrays as a metadata value", metadata(f'{{"a":{deep}}}')
        yield f"{depth} arrays as the header", file(deep)
    wide = ",".join(["[[]]"] * 200)
    yield "200 arrays side by side", ignored(f"[{wide}]")


def names():
    for name in [
        "",
        " ",
        "a b",
        "a.b",
        "../up",
        "C:\\\\x",
        "__proto__",
        "constructor",
        "toString",
        "hasOwnProperty",
        "0",
        "-1",
    ]:
        yield f"{name!r}", named(name)
    for name in [
        r"\u0000",
        "\x7f",
        "😀",
        r"\ud83d\ude00",
        "\u202e",
        "null",
        "dtype",
        "层.权重",
        "'",
        "<b>",
        "%00",
        "$&",
    ]:
        yield f"{name!r}", named(name)
    yield "of 1000 characters", named("x" * 1000)
    pairs = ",".join(
        f'"{index}":{entry(shape="[1]", offsets=f"[{index},{index + 1}]")}' for index in range(40)
    )
    yield "numbers, which JavaScript objects would order", file(f"{{{pairs}}}", bytes(100))


def other_files():
    """Files that are no safetensors at all; people open them by mistake."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as out:
        out.writestr(zipfile.ZipInfo("model/data.pkl"), b"\x80\x02}q\x00.")
    arrays = io.BytesIO()
    with zipfile.ZipFile(arrays, "w") as out:
        out.writestr(zipfile.ZipInfo("x.npy"), b"\x93NUMPY\x01\x00")
    index = '{"metadata":{"total_size":4},"weight_map":{"a":"model-00001-of-00001.safetensors"}}'
    good = file(f'{{"a":{ENTRY}}}'.ljust(64))
    yield (
        "Git LFS pointer",
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n".encode(),
    )
    yield "HTML page", b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body></body></html>\n"
    yield "HTML page without doctype", b"\n  <html><body>404</body></html>"
    yield "XML error", b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>'
    yield "text", b"Invalid username or password."
    yield "Entry not found", b"Entry not found"
    yield "JSON", b'{"error":"Repository not found"}'
    yield "index of shards", index.encode()
    yield "ZIP: PyTorch", archive.getvalue()
    yield "ZIP: NumPy", arrays.getvalue()
    yield "ZIP: empty", b"PK\x05\x06" + bytes(18)
    yield "pickle protocol 2", b"\x80\x02}q\x00X\x01\x00\x00\x00aq\x01K\x01s."
    yield "pickle protocol 4", b"\x80\x04\x95\x0a\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94K\x01s."
    yield "pickle: legacy PyTorch", bytes.fromhex("80028a0a6cfc9c46f9206aa850192e8002 4de9032e")
    yield "GGUF", b"GGUF\x03\x00\x00\x00" + bytes(16)
    yield "GGML", b"lmgg" + bytes(28)
    yield (
        "NumPy",
        b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }".ljust(128)
        + bytes(4),
    )
    yield "HDF5", b"\x89HDF\r\n\x1a\n" + bytes(40)
    yield "gzip", gzip.compress(good, mtime=0)
    yield "zstd", bytes.fromhex("28b52ffd2004210000 61626364")
    yield "xz", bytes.fromhex("fd377a585a000004e6d6b446")
    yield "7z", bytes.fromhex("377abcaf271c0004") + bytes(24)
    yield "bzip2", b"BZh91AY&SY" + bytes(20)
    yield "tar", b"model.safetensors".ljust(257, b"\0") + b"ustar\x0000" + bytes(248)
    yield "ONNX", bytes.fromhex("0808120770 79746f726368") + bytes(20)
    yield "PNG", b"\x89PNG\r\n\x1a\n" + bytes(20)
    yield "PDF", b"%PDF-1.7\n"
    yield "SQLite", b"SQLite format 3\0" + bytes(20)
    yield "ELF", b"\x7fELF\x02\x01\x01" + bytes(20)
    yield "base64 of a safetensors file", base64.b64encode(good)
    yield "safetensors with CR LF in front", b"\r\n" + good
    yield "safetensors behind a byte order mark", b"\xef\xbb\xbf" + good
    yield "safetensors without its length", good[8:]
    yield "safetensors with newlines converted", file(f'{{"a":{ENTRY}}}\n', b"a\nb\n").replace(b"\n", b"\r\n")
    for kept in 4, 8, 20, 8 + 64, len(good) - 1:
        yield f"safetensors, only {kept} bytes of it", good[:kept]


GROUPS = {
    "length": lengths,
    "utf-8": utf8,
    "whitespace": whitespace,
    "json": json_text,
    "string": strings,
    "number": numbers,
    "entry": entries,
    "metadata": metadata_forms,
    "duplicate": duplicates,
    "offsets": offsets,
    "size": sizes,
    "dtype": dtypes,
    "nesting": nesting,
    "name": names,
    "other file": other_files,
}


def all_files():
    """Every file, under a name that says which rule it is about."""
    for group, files in GROUPS.items():
        for name, data in files():
            yield f"{group}: {name}", data
