"""The containers in which PyTorch files come: how each is written, and read by its original."""

import bz2
import gzip
import io
import lzma
import pickle
import shutil
import struct
import tarfile
import zlib

import torch

from fixtures import FIXTURES
from torch_saving import stable_keys

LEGACY = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


# ---- Reading --------------------------------------------------------------------------------------------------------


def unpacked(data):
    """The bytes of a file that may be compressed as a whole."""
    if data[:2] == b"\x1f\x8b":
        return gzip.decompress(data)
    if data[:1] == b"\x78":
        return zlib.decompress(data)
    if data[:3] == b"BZh":
        return bz2.decompress(data)
    return lzma.decompress(data) if data[:5] == b"\xfd7zXZ" else data


def is_pickle(data):
    """Whether it is a pickle that torch.save has not written."""
    return not (data[:4] == b"PK\3\4" or data[257:262] == b"ustar" or LEGACY in data[:40] or data[:1] == b"L")


def load_any(path):
    """What the original of each container finds in a file; of a TorchScript module, its state dict, or its constants."""
    data = path.read_bytes()
    plain = unpacked(data)
    if is_pickle(plain):
        return pickle.loads(plain)
    # The tar format is read from real files only.
    loaded = torch.load(path if plain is data else io.BytesIO(plain), weights_only=False)
    if not isinstance(loaded, torch.jit.ScriptModule):
        return loaded
    return loaded.state_dict() or {"CONSTANTS": constants_of(path)}


def constants_of(path):
    """The constants in a TorchScript archive, by their names; none in other files. Torch reads them as an object."""
    loaded = torch.load(path, weights_only=False) if path.read_bytes()[:4] == b"PK\3\4" else None
    if not isinstance(loaded, torch.jit.ScriptModule):
        return {}
    reader = torch._C.PyTorchFileReader(str(path))
    buffer = io.BytesIO()
    writer = torch._C.PyTorchFileWriter(buffer)
    for name in reader.get_all_records():
        if name.startswith("constants"):
            data = reader.get_record(name)
            writer.write_record(name.replace("constants", "data"), data, len(data))
    writer.write_end_of_file()
    constants = {f"c{i}": value for i, value in enumerate(torch.load(io.BytesIO(buffer.getvalue())))}
    check_constants(loaded, constants)
    return constants


def check_constants(module, constants):
    """Those of the loaded code are the same, and if they are all of one method, under the same names."""
    parts = [part for part in module.modules() if hasattr(part, "code")]
    used = [named for part in parts if (named := part.code_with_constants[1].const_mapping)]
    assert sum(map(len, used)) == len(constants)
    for named in used:
        for name, value in named.items():
            same = [constants[name]] if len(used) == 1 else constants.values()
            assert any(torch.equal(value, other) and value.dtype == other.dtype for other in same)


def pickles_of(path):
    """The bytes from where each pickle of objects begins."""
    data = unpacked(path.read_bytes())
    if data[:4] == b"PK\3\4":
        try:
            reader = torch._C.PyTorchFileReader(io.BytesIO(data))
        except RuntimeError:
            return []
        return [reader.get_record(name) for name in ("data.pkl", "constants.pkl") if reader.has_record(name)]
    if data[257:262] == b"ustar":
        return [tarfile.open(fileobj=io.BytesIO(data)).extractfile("pickle").read()]
    return [data]


# ---- Writing --------------------------------------------------------------------------------------------------------


def pickled(protocol):
    return lambda value, path: path.write_bytes(stable_keys(pickle.dumps(value, protocol)))


def compressed_by(compress, save=torch.save):
    def write(value, path):
        save(value, path)
        path.write_bytes(compress(path.read_bytes()))

    return write


def gzipped(data):
    return gzip.compress(data, mtime=0)


def committed(_value, path):
    """Files of old versions of torch, see make_old_torch_fixtures.py, stay as they are."""
    original = FIXTURES / "torch" / path.name
    if path.resolve() != original.resolve():
        shutil.copy(original, path)


class Storage:
    """A storage in a hand-written pickle of an old version of torch."""

    def __init__(self, key, tensor, view=None, size=None):
        self.key, self.tensor, self.view = str(key), tensor, view
        self.size = tensor.numel() if size is None else size


class View:
    """A tensor in such a pickle."""

    def __init__(self, storage, offset, size, stride):
        self.args = storage, offset, tuple(size), tuple(stride)

    def __reduce__(self):
        return torch._utils._rebuild_tensor, self.args


def storage_class(tensor):
    return getattr(torch, tensor.storage()._pickle_storage_type())


def legacy_with_views(value, path):
    """As torch 0.3 writes it, where a storage may be a part of another one."""

    class Pickler(pickle.Pickler):
        roots = {}

        def persistent_id(self, value):
            if not isinstance(value, Storage):
                return None
            self.roots[value.key] = value.tensor
            return "storage", storage_class(value.tensor), value.key, "cpu", value.size, value.view

    with path.open("wb") as file:
        sizes = {"short": 2, "int": 4, "long": 4}
        info = {"protocol_version": 1001, "little_endian": True, "type_sizes": sizes}
        for item in (0x1950A86A20F9469CFC6C, 1001, info):
            pickle.dump(item, file, 2)
        pickler = Pickler(file, 2)
        pickler.dump(value)
        keys = sorted(pickler.roots)
        pickle.dump(keys, file, 2)
        for key in keys:
            write_storage(file, pickler.roots[key])


def write_storage(file, tensor):
    file.write(struct.pack("<q", tensor.numel()))
    file.write(tensor.contiguous().view(torch.uint8).numpy().tobytes())


class Numbered:
    """An object in a tar file: a number stands for it in the pickle."""

    def __init__(self, number):
        self.number = number


def tar_members(storages, parts, tensors, value):
    """The members of a file as torch 0.1.9 writes it.

    storages: number -> tensor with its data; parts: (number, whole, offset, length); tensors: number -> (storage,
    offset, size, stride); value: the object, in which `Numbered` stands for a tensor or storage
    """

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return str(value.number) if isinstance(value, Numbered) else None

    sys_info, objects, storage_file, tensor_file = (io.BytesIO() for _ in range(4))
    sizes = {"short": 2, "int": 4, "long": 4}
    pickle.dump({"protocol_version": 1000, "little_endian": True, "type_sizes": sizes}, sys_info, 2)
    Pickler(objects, 2).dump(value)
    pickle.dump(len(storages), storage_file, 2)
    for number, tensor in storages.items():
        pickle.dump((number, "cpu", storage_class(tensor)), storage_file, 2)
        write_storage(storage_file, tensor)
    pickle.dump(parts, storage_file, 2)
    pickle.dump(len(tensors), tensor_file, 2)
    for number, (storage, offset, size, stride) in tensors.items():
        pickle.dump((number, storage, torch.FloatTensor), tensor_file, 2)
        rank = len(size)
        tensor_file.write(struct.pack(f"<ii{rank}q{rank}qq", rank, 0, *size, *stride, offset))
    files = {"sys_info": sys_info, "pickle": objects, "tensors": tensor_file, "storages": storage_file}
    return {name: file.getvalue() for name, file in files.items()}


def tar(mtime=0):
    """Python writes a time with a fraction as a property of its own, before each member."""

    def save(parts, path):
        with tarfile.open(path, "w:", format=tarfile.PAX_FORMAT) as archive:
            for name, data in tar_members(*parts).items():
                info = tarfile.TarInfo(name)
                info.size, info.mtime = len(data), mtime
                archive.addfile(info, io.BytesIO(data))

    return save
