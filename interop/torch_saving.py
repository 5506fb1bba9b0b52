"""Ways to save a PyTorch checkpoint: those that torch offers, older forms, and damaged ones."""

import io
import re
import zipfile
from unittest import mock

import torch
from torch.serialization import set_crc32_options
from torch.utils.serialization import config


def records_of(path):
    reader = torch._C.PyTorchFileReader(str(path))
    own = "version", ".data/serialization_id"  # The writer adds these itself.
    return {name: reader.get_record(name) for name in reader.get_all_records() if name not in own}


def write_records(path, records, alignment=64):
    writer = torch._C.PyTorchFileWriter(str(path), True, alignment)
    for name, data in records.items():
        writer.write_record(name, data, len(data))
    writer.write_end_of_file()


def edited(edit):
    """Saves, then passes the archive's records through `edit` and writes them with torch's own archive writer."""

    def save(value, path):
        torch.save(value, path)
        write_records(path, edit(records_of(path)))

    return save


def without(*names):
    return edited(lambda records: {name: data for name, data in records.items() if name not in names})


def with_pickle(replace):
    return edited(lambda records: {**records, "data.pkl": replace(records["data.pkl"])})


def torch_save(**options):
    return lambda value, path: torch.save(value, path, **options)


def to_buffer(value, path):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    path.write_bytes(buffer.getvalue())


def without_crc(value, path):
    set_crc32_options(False)
    torch.save(value, path)
    set_crc32_options(True)


def unaligned(value, path):
    with config.patch("save.storage_alignment", 1):
        torch.save(value, path)


def like_torch_1_13(records):
    """Before 2.1 the only records were the pickle and the storages, these in the order of their keys as text."""
    return {
        "data.pkl": records["data.pkl"],
        **dict(sorted(item for item in records.items() if item[0].startswith("data/"))),
    }


def big_endian_save(value, path):
    """What a big-endian machine writes: the bytes of each element in reverse, of the parts of complex ones."""
    torch.save(value, path)
    tensors = [tensor for tensor in value.values() if tensor.numel()]
    records = {**records_of(path), "byteorder": b"big"}
    for number, tensor in enumerate(tensors):
        data = records[f"data/{number}"]
        size = tensor.element_size() // (2 if tensor.is_complex() else 1)
        records[f"data/{number}"] = b"".join(
            data[at : at + size][::-1] for at in range(0, len(data), size)
        )
    write_records(path, records)


def rezipped(order=lambda names: names, method=zipfile.ZIP_STORED, zip64=False, streamed=False, rename=None):
    """Unpacks a checkpoint and zips it again with Python."""

    class Stream(io.RawIOBase):
        """Cannot go back, so sizes follow the data."""

        def __init__(self, target):
            self.write = target.write

    def save(value, path):
        buffer = io.BytesIO()
        torch.save(value, buffer)
        source = zipfile.ZipFile(buffer)
        result = io.BytesIO()
        with zipfile.ZipFile(Stream(result) if streamed else result, "w", method) as archive:
            for name in order(source.namelist()):
                info = zipfile.ZipInfo((rename or {}).get(name, name))
                info.compress_type = zipfile.ZIP_STORED if name.endswith("/") else method
                with archive.open(info, "w", force_zip64=zip64) as member:
                    member.write(b"" if name.endswith("/") else source.read(name))
        path.write_bytes(result.getvalue())

    return save


def stable_keys(data):
    """Storages in legacy files have their address for a key, which is another one in each run."""
    keys = re.findall(rb"(?:(?<![0-9])|(?<=u0000))[1-9][0-9]{13,14}(?![0-9])", data)
    for number, key in enumerate(dict.fromkeys(keys)):
        data = data.replace(key, str(10 ** (len(key) - 1) + number).encode())
    return data


def without_paths(data):
    """Where the source of a module lies, with as many characters."""
    return re.sub(rb"/[\w./-]+/site-packages", lambda path: b"/site-packages".rjust(len(path[0]), b"_"), data)


def legacy_save(protocol=2):
    def save(value, path):
        buffer = io.BytesIO()
        # Storages in the order in which they are met, not in that of their addresses.
        with mock.patch.object(torch.serialization, "sorted", list, create=True):
            torch.save(value, buffer, _use_new_zipfile_serialization=False, pickle_protocol=protocol)
        path.write_bytes(without_paths(stable_keys(buffer.getvalue())))

    return save


def torchscript(convert, alignment=64):
    def save(module, path):
        torch.jit.save(convert(module), str(path))
        # The debug records hold paths of the machine.
        records = {name: data for name, data in records_of(path).items() if not name.endswith(".debug_pkl")}
        write_records(path, records, alignment)

    return save
