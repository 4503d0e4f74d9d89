"""Makes `weights/`: small files of torch.save, and tables of positions and first convolutions adapted by timm and as DINOv2.

    python3 tests/golden/weights.py

Every .pth file holds the tensors of `expected.safetensors`, stored in another way each; made with torch 2.15, timm 1.0.
"""

import argparse
import collections
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed
from timm.models import adapt_input_conv

HERE = pathlib.Path(__file__).parent / "weights"


def expected():
    """Numbers that bfloat16 holds exactly, so that every variant has the same."""
    counts = torch.arange(-6.0, 6.0)
    return {
        "conv.weight": (counts / 4).reshape(2, 1, 3, 2),
        "bn.bias": torch.tensor([0.5, -2.0, 96.0]),
        "scale": torch.tensor(1.5),
        "empty": torch.zeros(0, 3),
        "bn.num_batches_tracked": torch.tensor(7),
    }


def views(tensors):
    """The same numbers as transposed, sliced and shared views with offsets."""
    made = dict(tensors)
    weight = tensors["conv.weight"]
    made["conv.weight"] = weight.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    line = torch.full((11,), 9.0)
    line[2:8:2] = tensors["bn.bias"]
    line[9] = tensors["scale"]
    made["bn.bias"], made["scale"] = line[2:8:2], line[9]
    return made


def cast(tensors, dtype):
    return {name: t.to(dtype) if t.is_floating_point() else t for name, t in tensors.items()}


def files():
    plain = expected()
    ordered = collections.OrderedDict((name, torch.nn.Parameter(t) if t.is_floating_point() else t) for name, t in plain.items())
    ordered._metadata = {"": {"version": 1}}
    nested = {
        "teacher": {f"module.backbone.{name}": t for name, t in plain.items()} | {"module.dino_head.weight": torch.ones(2)},
        "student": cast({f"module.backbone.{name}": t + 1 for name, t in plain.items()}, torch.half),
        "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
        "epoch": 3,
        "args": argparse.Namespace(arch="tiny"),
        "mask": torch.tensor([True, False]),
    }
    return {
        "plain": plain,
        "parameters": ordered,
        "views": views(plain),
        "half": cast(plain, torch.half),
        "bfloat16": cast(plain, torch.bfloat16),
        "double": cast(plain, torch.double),
        "nested": nested,
    }


def dinov2(table, size):
    """DINOv2's interpolate_pos_encoding, with its offset of 0.1 and without antialiasing."""
    side = round((table.shape[1] - 1) ** 0.5)
    patches = table[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    factor = [(length + 0.1) / side for length in size]
    patches = F.interpolate(patches, scale_factor=factor, mode="bicubic", antialias=False)
    assert list(patches.shape[-2:]) == list(size)
    return torch.cat([table[:, :1], patches.permute(0, 2, 3, 1).reshape(1, size[0] * size[1], -1)], dim=1)


def adapted():
    found = {}
    for side, size in [(3, (5, 4)), (7, (3, 3)), (6, (6, 4)), (4, (8, 2)), (2, (5, 7)), (9, (4, 4)), (4, (4, 6)), (5, (3, 5))]:
        table = torch.randn(1, 1 + side * side, 2)
        name = f"positions.{side}.{size[0]}.{size[1]}"
        found[f"{name}.table"] = table
        found[f"{name}.timm"] = resample_abs_pos_embed(table, list(size), num_prefix_tokens=1)
        found[f"{name}.dinov2"] = dinov2(table, size)
    weight = torch.randn(2, 3, 2, 2)
    found["channels.weight"] = weight
    for channels in (1, 2, 4, 5, 7):
        found[f"channels.{channels}"] = adapt_input_conv(channels, weight.clone())
    return {name: t.contiguous() for name, t in found.items()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(1)
    HERE.mkdir(exist_ok=True)
    save_file(expected(), HERE / "expected.safetensors")
    for name, tensors in files().items():
        torch.save(tensors, HERE / f"{name}.pth")
        torch.save(tensors, HERE / f"{name}-legacy.pth", _use_new_zipfile_serialization=False)
    save_file(adapted(), HERE / "adapted.safetensors")
