"""Ways to save a PyTorch checkpoint: those that torch offers, older forms, and damaged ones."""

import io
import zipfile

import numpy
import torch
from torch.serialization import set_crc32_options
from torch.utils.serialization import config


def records_of(path):
    reader = torch._C.PyTorchFileReader(str(path))
    own = "version", ".data/serialization_id"  # The writer adds these itself.
    return {name: reader.get_record(name) for name in reader.get_all_records() if name not in own}


def write_records(path, records):
    writer = torch._C.PyTorchFileWriter(str(path))
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


def byteswapped(records):
    """What a big-endian machine writes; every storage of the case has four-byte elements."""
    swapped = {
        n: numpy.frombuffer(d, "<u4").byteswap().tobytes()
        for n, d in records.items()
        if n.startswith("data/")
    }
    return {**records, "byteorder": b"big", **swapped}


def rezipped(value, path):
    """As `zip -r` makes it out of an unpacked checkpoint: members deflated, entries for the folders."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    names = zipfile.ZipFile(buffer).namelist()
    with zipfile.ZipFile(path, "w") as archive:
        for name in ["archive/", "archive/data/", *names]:
            data = b"" if name.endswith("/") else zipfile.ZipFile(buffer).read(name)
            method = zipfile.ZIP_STORED if name.endswith("/") else zipfile.ZIP_DEFLATED
            archive.writestr(zipfile.ZipInfo(name), data, method)


def legacy_save(tensor, path):
    buffer = io.BytesIO()
    torch.save(tensor, buffer, _use_new_zipfile_serialization=False)
    # The key of a storage is its address, which is another one in each run.
    key = str(tensor._typed_storage()._cdata).encode()
    path.write_bytes(buffer.getvalue().replace(key, b"1" * len(key)))


def torchscript(module, path):
    torch.jit.save(torch.jit.script(module), str(path))
    # The debug records hold paths of the machine.
    write_records(path, {n: d for n, d in records_of(path).items() if not n.endswith(".debug_pkl")})
