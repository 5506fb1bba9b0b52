"""How the files of the honest corpus are registered and written, and the packages that their classes are from."""

import io
import pickle
import sys
import types

import numpy
import torch

CASES = {}

FLAT = {"flatten": True, "quantized": "dequantize", "sparse": "densify", "complex128": "split"}


def case(made, save=torch.save, readings=(FLAT,), unknown=(), findings=(), name=None):
    """Registers a function whose result is saved to a file named like it, and what is to be found in that.

    readings: options with which the tensors are to be read; none if there are none
    unknown: the names that nobody vouches for; findings: the kinds of other findings, which make it `incomplete`
    name: of the file, with an ending other than .pt
    """

    def register(build):
        file = name or build.__name__.replace("_", "-") + ".pt"
        CASES[file] = build, save, made, readings, sorted(unknown), sorted(findings)
        return build

    return register


def numbers(*shape):
    return torch.randn(shape)


# ---- Packages -------------------------------------------------------------------------------------------------------


def belongs_to(module):
    """Puts a class into a package that is not installed, or that nobody has."""

    def put(cls):
        for end in [place for place, mark in enumerate(module + ".") if mark == "."]:
            sys.modules.setdefault(module[:end], types.ModuleType(module[:end]))
        cls.__module__ = module
        setattr(sys.modules[module], cls.__name__, cls)
        return cls

    return put


# ---- Ways of saving -------------------------------------------------------------------------------------------------


def legacy(protocol=2):
    return lambda value, path: torch.save(
        value, path, _use_new_zipfile_serialization=False, pickle_protocol=protocol
    )


def protocol(number):
    return lambda value, path: torch.save(value, path, pickle_protocol=number)


def pickled(number):
    return lambda value, path: path.write_bytes(pickle.dumps(value, number))


def script_saved(module, path):
    torch.jit.save(module, str(path))


@belongs_to("joblib.numpy_pickle")
class NumpyArrayWrapper:
    """What joblib writes instead of an array; the bytes of the array follow."""


class JoblibPickler(pickle._Pickler):
    """Writes a pickle as joblib.dump does."""

    def save(self, value, save_persistent_id=True):
        if type(value) is not numpy.ndarray:
            return super().save(value, save_persistent_id)
        wrapper = NumpyArrayWrapper()
        wrapper.__dict__.update(
            subclass=numpy.ndarray,
            shape=value.shape,
            order="C",
            dtype=value.dtype,
            allow_mmap=not value.dtype.hasobject,
            numpy_array_alignment_bytes=16,
        )
        super().save(wrapper, save_persistent_id)
        if self.proto >= 4:
            self.framer.commit_frame(force=True)
        if value.dtype.hasobject:
            return pickle.dump(value, self.file, protocol=2)
        padding = 16 - (self.file.tell() + 1) % 16
        self.file.write(bytes([padding]) + b"\xff" * padding + value.tobytes())


def joblib_saved(number=4, compress=bytes):
    def save(value, path):
        pickler = JoblibPickler(file := io.BytesIO(), number)
        pickler.file = file
        pickler.dump(value)
        path.write_bytes(compress(file.getvalue()))

    return save


def npy_saved(array, path):
    numpy.save(path, array)


def npz_saved(arrays, path):
    numpy.savez(path, **arrays)
