"""Writes small PyTorch checkpoints with tensors of every kind, and expected-kinds.json: what torch makes of them.

An entry of expected-kinds.json has
  made        how the file was made
  readings    for each set of options the tensors that are to be found: name, dtype, shape and sha256 of the packed
              bytes; lazy views are resolved, quantized tensors dequantized and sparse ones densified by torch itself
"""

import pathlib
import sys
import zlib

import ml_dtypes
import numpy
import torch

from fixtures import FIXTURES, to_json
from make_torch_fixtures import describe
from torch_kinds_cases import CASES

ML_DTYPES = {
    numpy.dtype(ml_dtypes.bfloat16): (numpy.uint16, torch.bfloat16),
    numpy.dtype(ml_dtypes.float8_e4m3fn): (numpy.uint8, torch.float8_e4m3fn),
}


def tensor_of(value):
    """The tensor that a value is, or None."""
    if isinstance(value, torch.Tensor):
        return value
    if not isinstance(value, numpy.ndarray):
        return None
    if value.dtype in ML_DTYPES:
        bits, dtype = ML_DTYPES[value.dtype]
        return torch.from_numpy(value.view(bits)).view(dtype)
    if value.dtype.kind not in "biufc":
        return None
    return torch.from_numpy(value.astype(value.dtype.newbyteorder("=")))


def leaves(value, path=None):
    if (tensor := tensor_of(value)) is not None:
        yield path, tensor
        return
    if isinstance(value, torch.nn.Module):
        value = value.state_dict()
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, (list, tuple))
        else ()
    )
    for key, item in items:
        yield from leaves(item, str(key) if path is None else f"{path}.{key}")


def in_form(name, tensor, options):
    """The tensors that stand for one that safetensors cannot hold."""
    if tensor.is_quantized:
        if options["quantized"] == "dequantize":
            yield name, tensor.dequantize()
            return
        yield name, tensor.int_repr()
        if tensor.qscheme() == torch.per_tensor_affine:
            yield f"{name}.scale", torch.tensor(tensor.q_scale(), dtype=torch.float64)
            yield f"{name}.zero_point", torch.tensor(tensor.q_zero_point())
        else:
            yield f"{name}.scale", tensor.q_per_channel_scales()
            yield f"{name}.zero_point", tensor.q_per_channel_zero_points()
    elif tensor.layout != torch.strided:
        if options["sparse"] == "densify":
            # Torch cannot make every dtype dense.
            as_bytes = (
                tensor.dtype.itemsize == 1
                and tensor.layout == torch.sparse_coo
                and tensor.is_floating_point()
            )
            if as_bytes:
                view = torch.sparse_coo_tensor(
                    tensor._indices(), tensor._values().view(torch.uint8), tensor.shape
                )
                yield name, view.to_dense().view(tensor.dtype)
            else:
                yield name, tensor.to_dense()
            return
        if tensor.layout == torch.sparse_coo:
            parts = {"indices": tensor._indices(), "values": tensor._values()}
        elif tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
            parts = {
                "crow_indices": tensor.crow_indices(),
                "col_indices": tensor.col_indices(),
                "values": tensor.values(),
            }
        else:
            parts = {
                "ccol_indices": tensor.ccol_indices(),
                "row_indices": tensor.row_indices(),
                "values": tensor.values(),
            }
        parts["size"] = torch.tensor(list(tensor.shape))
        for part, value in parts.items():
            yield f"{name}.{part}", value
    elif tensor.dtype in (torch.complex128, torch.complex32):
        yield f"{name}.real", tensor.resolve_conj().resolve_neg().real
        yield f"{name}.imag", tensor.resolve_conj().resolve_neg().imag
    else:
        yield name, tensor


def reading(loaded, options):
    """What is to be found with the options."""
    value, container = loaded, ""
    if options.get("key"):
        container = options["key"]
        for key in container.split("."):
            value = (
                getattr(value, key, None)
                if isinstance(value, torch.nn.Module) and hasattr(value, key)
                else value[int(key) if key.isdigit() and not isinstance(value, dict) else key]
            )
    elif "key" not in options and "flatten" not in options and isinstance(value, dict):
        container = next((key for key in ("model", "state_dict") if key in value), "")
        value = value[container] if container else value
    tensors = []
    for path, tensor in leaves(value):
        for name, part in in_form(path, tensor, options):
            row = describe(name, part)
            del row["first"]
            tensors.append(row)
    return {"options": options, "container": container, "tensors": tensors}


def write_all(folder):
    (folder / "kinds").mkdir(parents=True, exist_ok=True)
    expected = {}
    for file, (build, save, made, options) in CASES.items():
        torch.manual_seed(zlib.crc32(file.encode()))
        path = folder / "kinds" / file
        save(build(), path)
        loaded = torch.load(path, weights_only=False)
        expected[file] = {"made": made, "readings": [reading(loaded, each) for each in options]}
    (folder / "expected-kinds.json").write_text(to_json(expected), newline="\n")


if __name__ == "__main__":
    write_all(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else FIXTURES / "torch")
