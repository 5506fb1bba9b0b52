"""Writes small checkpoints as the ranks of a distributed program leave them, each file a part, and expected.json:
the tensors that they were made from.

An entry of expected.json has, for each folder,
  made      how its files were made
  tensors   the whole tensors: name, dtype and shape as safetensors has them, sha256 of the packed little-endian bytes
"""

import json
import os
import pathlib
import sys
import tempfile
import zlib

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.multiprocessing as mp
from safetensors.torch import save_file
from torch.distributed.checkpoint import HuggingFaceStorageWriter
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor
from torch.distributed.tensor.placement_types import _StridedShard

from fixtures import FIXTURES, sha256, to_json

DTYPES = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int32: "I32",
    torch.int64: "I64",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.float8_e4m3fn: "F8_E4M3",
}


def made_of(name, dtype, shape):
    """Random bits that depend on the name only; booleans are 0 or 1."""
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    count = torch.Size(shape).numel() * torch.empty((), dtype=dtype).element_size()
    bits = torch.randint(0, 2 if dtype == torch.bool else 256, (count,), dtype=torch.uint8, generator=generator)
    return bits.view(dtype).reshape(shape)


def packed_bytes(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def describe(name, tensor):
    data = packed_bytes(tensor)
    return {"name": name, "dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "sha256": sha256(data)}


# Name, dtype, shape, how it lies on a mesh of 2 x 2; nothing for a tensor that is no DTensor.
ON_MESH = [
    ("rows", torch.float32, (8, 3), [Shard(0), Shard(0)]),
    ("uneven", torch.float32, (5, 3), [Shard(0), Shard(0)]),
    ("columns", torch.bfloat16, (3, 8), [Replicate(), Shard(1)]),
    ("uneven.columns", torch.float16, (2, 3), [Shard(1), Replicate()]),
    ("grid", torch.float32, (6, 10), [Shard(0), Shard(1)]),
    ("grid.swapped", torch.float64, (5, 7), [Shard(1), Shard(0)]),
    ("deep", torch.bfloat16, (2, 3, 4, 5), [Shard(2), Shard(0)]),
    ("strided", torch.float32, (8, 2), [_StridedShard(0, split_factor=2), Shard(0)]),
    ("few", torch.float32, (2, 2), [Shard(0), Shard(0)]),
    ("replicated", torch.float32, (3, 3), [Replicate(), Replicate()]),
    ("plain", torch.float32, (4,), None),
    ("empty", torch.float32, (0, 4), None),
]
# What torch's own consolidation gets wrong or does not do at all: integers, booleans, no dimensions.
BEYOND = [
    ("ids", torch.int64, (8,), [Shard(0), Replicate()]),
    ("mask", torch.bool, (4, 4), [Shard(0), Shard(1)]),
    ("bytes", torch.uint8, (7, 2), [Shard(0), Shard(0)]),
    ("scalar", torch.float32, (), None),
    ("count", torch.int64, (), [Replicate(), Replicate()]),
]
FLOAT8 = [("float8", torch.float8_e4m3fn, (4, 6), [Shard(1), Shard(0)])]

# Folder: how it was made, the mesh, its tensors, the number of the file for each name.
DISTRIBUTED = {
    "dcp": ("torch.distributed.checkpoint, 4 ranks", (2, 2), ON_MESH + BEYOND + FLOAT8, False),
    "dcp-floats": ("the same without what torch cannot consolidate", (2, 2), ON_MESH, False),
    "dcp-files": ("the same in several files a rank", (2, 2), ON_MESH, True),
}


def save_distributed(rank, folder, world, start):
    """What one rank does."""
    dist.init_process_group("gloo", init_method=f"file://{start}", rank=rank, world_size=world)
    for name, (_, mesh_shape, tensors, in_files) in DISTRIBUTED.items():
        mesh = init_device_mesh("cpu", mesh_shape)
        state = {}
        for tensor, dtype, shape, placements in tensors:
            whole = made_of(tensor, dtype, shape)
            # Communication knows fewer dtypes than there are, so the bits travel.
            state[tensor] = whole if placements is None else distributed(whole, mesh, placements)
        mapping = {tensor[0]: 1 + i % 3 for i, tensor in enumerate(tensors)} if in_files else None
        writer = HuggingFaceStorageWriter(
            str(folder / name), mapping, save_distributed=True, enable_consolidation=False
        )
        dcp.save(state, storage_writer=writer)
    dist.destroy_process_group()


def distributed(whole, mesh, placements):
    return distribute_tensor(whole, mesh, placements, src_data_rank=None)


def write_distributed(folder):
    with tempfile.TemporaryDirectory() as temporary:
        arguments = (folder, 4, os.path.join(temporary, "start"))
        mp.start_processes(save_distributed, arguments, nprocs=4, start_method="fork")
    return {
        name: {"made": made, "tensors": [describe(t, made_of(t, dtype, shape)) for t, dtype, shape, _ in tensors]}
        for name, (made, _, tensors, _) in DISTRIBUTED.items()
    }


def deepseek_tensors():
    """Name → tensor, axis: as DeepSeek-V3.2's inference code names and cuts them, on a very small scale."""
    bf16, f32, f8 = torch.bfloat16, torch.float32, torch.float8_e4m3fn
    yield "embed.weight", bf16, (8, 4), 0
    yield "head.weight", bf16, (8, 4), 0
    yield "norm.weight", bf16, (4,), None
    for layer in range(2):
        for part, dtype, shape, axis in [
            ("attn_norm.weight", bf16, (4,), None),
            ("ffn_norm.weight", bf16, (4,), None),
            ("attn.wq_a.weight", f8, (2, 4), None),
            ("attn.wq_a.scale", f32, (1, 1), None),
            ("attn.q_norm.weight", bf16, (2,), None),
            ("attn.wq_b.weight", f8, (8, 2), 0),
            ("attn.wq_b.scale", f32, (4, 1), 0),
            ("attn.wkv_a.weight", f8, (3, 4), None),
            ("attn.kv_norm.weight", bf16, (2,), None),
            ("attn.wkv_b.weight", f8, (12, 2), 0),
            ("attn.wo.weight", f8, (4, 8), 1),
            ("attn.wo.scale", f32, (1, 4), 1),
            ("attn.indexer.wq_b.weight", f8, (8, 2), None),
            ("attn.indexer.wk.weight", f8, (2, 4), None),
            ("attn.indexer.k_norm.bias", f32, (2,), None),
            ("attn.indexer.weights_proj.weight", bf16, (2, 4), None),
        ]:
            yield f"layers.{layer}.{part}", dtype, shape, axis
    for name, shape, axis in [("w1", (6, 4), 0), ("w2", (4, 6), 1), ("w3", (6, 4), 0)]:
        yield f"layers.0.ffn.{name}.weight", bf16, shape, axis
        yield f"layers.1.ffn.shared_experts.{name}.weight", bf16, shape, axis
        for expert in range(4):
            yield f"layers.1.ffn.experts.{expert}.{name}.weight", bf16, shape, "expert"
    yield "layers.1.ffn.gate.weight", bf16, (4, 4), None
    yield "layers.1.ffn.gate.bias", f32, (4,), None


def write_deepseek(folder, ranks=2, experts=4):
    tensors = [(name, made_of(name, dtype, shape), axis) for name, dtype, shape, axis in deepseek_tensors()]
    for rank in range(ranks):
        state = {}
        for name, whole, axis in tensors:
            if axis == "expert":
                if int(name.split(".")[-3]) * ranks // experts == rank:
                    state[name] = whole
            else:
                state[name] = whole if axis is None else whole.chunk(ranks, axis)[rank].contiguous()
        save_file(state, folder / f"model{rank}-mp{ranks}.safetensors")
    return "cut as DeepSeek's inference code does", tensors


def write_vllm(folder, ranks=2):
    """As vLLM's workers hold a model: q, k and v in one tensor, gate and up in another, each cut on its own."""
    bf16 = torch.bfloat16
    tensors, states = [], [{} for _ in range(ranks)]

    def add(name, blocks, axis):
        wholes = [made_of(f"{name} {i}", bf16, shape) for i, shape in enumerate(blocks)]
        tensors.append((name, torch.cat(wholes, axis or 0), axis))
        for rank, state in enumerate(states):
            parts = wholes if axis is None else [whole.chunk(ranks, axis)[rank] for whole in wholes]
            state[name] = torch.cat(parts, axis or 0).contiguous()

    for layer in range(2):
        add(f"model.layers.{layer}.self_attn.qkv_proj.weight", [(8, 4), (2, 4), (2, 4)], 0)
        add(f"model.layers.{layer}.self_attn.o_proj.weight", [(4, 8)], 1)
        add(f"model.layers.{layer}.mlp.gate_up_proj.weight", [(6, 4), (6, 4)], 0)
        add(f"model.layers.{layer}.mlp.down_proj.weight", [(4, 6)], 1)
        add(f"model.layers.{layer}.input_layernorm.weight", [(4,)], None)
    add("model.embed_tokens.weight", [(8, 4)], 0)
    add("model.norm.weight", [(4,)], None)
    for rank, state in enumerate(states):
        names = list(state)
        for part in range(2):
            save_file(
                {name: state[name] for name in names[part * 6 : part * 6 + 6]},
                folder / f"model-rank-{rank}-part-{part}.safetensors",
            )
    cuts = {
        "model.layers.*.self_attn.qkv_proj.weight": {"axis": 0, "blocks": [4, 1, 1]},
        "model.layers.*.self_attn.o_proj.weight": -1,
        "model.layers.*.mlp.gate_up_proj.weight": {"axis": 0, "blocks": 2},
        "model.layers.*.mlp.down_proj.weight": 1,
        "model.embed_tokens.weight": 0,
    }
    (folder / "cuts.json").write_text(json.dumps(cuts, indent=2) + "\n", newline="\n")
    return "as vLLM's sharded state", tensors


def write_all(folder):
    """Writes the files into `folder`, with what is to be expected of them."""
    folder.mkdir(parents=True, exist_ok=True)
    expected = write_distributed(folder)
    for name, write in {"deepseek": write_deepseek, "vllm": write_vllm}.items():
        (folder / name).mkdir(exist_ok=True)
        made, tensors = write(folder / name)
        expected[name] = {"made": made, "tensors": [describe(name, whole) for name, whole, _ in tensors]}
    (folder / "expected.json").write_text(to_json(expected), newline="\n")


if __name__ == "__main__":
    write_all(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else FIXTURES / "consolidate")
