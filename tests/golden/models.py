"""Makes models/<name>.safetensors: networks of torchvision and timm in f64, that the models are tested against.

    pip install torch torchvision timm numpy safetensors
    python tests/golden/models.py [name ...]

Made with torch 2.15, torchvision 0.29, timm 1.0. Weights, running statistics, images and cotangents are not stored: they
are `hashed_parameter(name, shape)`, `hashed("x", …)` and `hashed("dy", …)` (`dy.0`, … where there are several results),
defined in ife.py. `shape` is that of the images. Everything else is F64, under <mode>.<name>, modes `train` (batch
statistics) and `inference` (running statistics), nothing being dropped in either; a network without batch norms is the same
in both, and has `inference` only:

    y         whole; of a pyramid [O, 2], a row for each of y.0, y.1, …, y.pool: norm, and product with
              hashed("probe.<name>"), the name being what follows "y."
    grad      [P, 2], a row for x and each parameter, likewise of its gradient, the name being x or the parameter's
    tap       [T, 2], a row for each part of the case's taps, likewise of what the part gives
    state     [S, 5], a row for each running statistic after a step in `train`: norm, sum, first, middle, last element
    single    [P], for x and each parameter: the relative error of the gradient where PyTorch computes in f32; the divisor is
              at least 1e-6 of the norm of all gradients

Rows are in the alphabetical order of the names.
"""

import math
import sys
from dataclasses import dataclass, field
from typing import Callable

import numpy as np
import timm
import torch
import torchvision
from safetensors.numpy import save_file
from timm.layers import SwiGLUPacked
from timm.models.convnext import ConvNeXt as TimmConvNeXt
from timm.models.vision_transformer import VisionTransformer as TimmTransformer
from torchvision.models import VisionTransformer as TorchvisionTransformer
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool

import ife
from make_golden import FAMILIES, HERE, probe, summarised, tensor

CLASSES = 5
BOTH = ("inference", "train")


@dataclass
class Case:
    """A network, the shape of its images (height and width unequal in every stage), the parts that are watched, and the modes.

    Where a relu's argument is within rounding of 0, gradients in f32 jump by chance, on any program (`single` shows
    PyTorch's own jumps): another shape has other arguments. `names` are what our parameters are called, where the library
    differs from the weights as they were published."""

    build: Callable
    shape: tuple
    taps: tuple
    modes: tuple = BOTH
    names: dict = field(default_factory=dict)

    def ours(self, name):
        for theirs, own in self.names.items():
            name = name.replace(theirs, own)
        return name


class WithPyramid(torch.nn.Module):
    """torchvision's `BackboneWithFPN`, on any `body` that gives maps by name."""

    def __init__(self, body, channels):
        super().__init__()
        self.body = body
        self.fpn = FeaturePyramidNetwork(channels, 256, LastLevelMaxPool())

    def forward(self, x):
        return self.fpn(self.body(x))


def resnet18_fpn():
    return resnet_fpn_backbone(
        backbone_name="resnet18", weights=None, norm_layer=torch.nn.BatchNorm2d, trainable_layers=5
    )


class Depths(TimmTransformer):
    """The patch tokens of every block, laid out as the patches lie."""

    def forward(self, x):
        maps = self.forward_intermediates(x, output_fmt="NCHW", norm=False, intermediates_only=True)
        return {str(i): y for i, y in enumerate(maps)}


# Everything about transformers, ConvNeXts and DenseNets is as published, but for these sizes.
BLOCKS, WIDTHS = (2, 1, 3, 1), (16, 32, 64, 128)
GROWTH, LAYERS = 8, (2, 3, 4, 2)
WIDTH, DEPTH, HEADS = 24, 4, 3
TIMM = dict(embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS)
GATED = dict(mlp_layer=SwiGLUPacked, act_layer=torch.nn.SiLU, mlp_ratio=128 / 24)  # 64 = ⅔ · 4 · 24 hidden channels


def small_convnext():
    widths = (*WIDTHS, None)
    settings = [CNBlockConfig(*widths[stage : stage + 2], blocks) for stage, blocks in enumerate(BLOCKS)]
    return torchvision.models.ConvNeXt(settings, num_classes=CLASSES)


def small_densenet():
    return torchvision.models.DenseNet(GROWTH, LAYERS, num_init_features=2 * GROWTH, num_classes=CLASSES)


def small_densenet_fpn():
    nodes = {f"features.denseblock{i}": str(i - 1) for i in range(1, 5)}
    return WithPyramid(create_feature_extractor(small_densenet(), nodes), [32, 40, 52, 42])


RESNET_TAPS = ("conv1", "bn1", "maxpool", "layer1.0", "layer2.0.downsample.1", "layer2", "layer4")
DENSENET_TAPS = ("features.denseblock1.denselayer2", "features.denseblock3", "features.transition2", "features.pool0")
INCEPTION_TAPS = ("mixed_5b", "repeat.0", "mixed_6a", "repeat_1.19.branch1", "repeat_2", "block8", "conv2d_7b")
CONVNEXT_TAPS = ("features.0", "features.3.0", "features.4", "features.5.2", "classifier.0")
CONVNEXT_TIMM_TAPS = ("stem", "stages.1.blocks.0", "stages.1.downsample", "stages.2.blocks.2", "head.norm")
VIT_TAPS = ("blocks.1", "blocks.1.attn.weights", "norm", "norm.class_token", "norm.patch_tokens", "patch_embed.proj")
TORCHVISION_VIT_TAPS = (
    "conv_proj",
    "encoder.layers.encoder_layer_1",
    "encoder.layers.encoder_layer_1.self_attention.weights",
    "encoder.ln.class_token",
    "encoder.ln.patch_tokens",
)

tv = torchvision.models
CASES = {
    "resnet18": Case(lambda: tv.resnet18(num_classes=CLASSES), (3, 3, 40, 72), RESNET_TAPS),
    "resnet34": Case(lambda: tv.resnet34(num_classes=CLASSES), (4, 3, 33, 20), RESNET_TAPS),
    "resnet50": Case(lambda: tv.resnet50(num_classes=CLASSES), (4, 3, 33, 20), RESNET_TAPS),
    "densenet121": Case(small_densenet, (2, 3, 64, 96), DENSENET_TAPS),
    "convnext_tiny": Case(small_convnext, (2, 3, 32, 64), CONVNEXT_TAPS, ("inference",)),
    "convnext_tiny.timm": Case(
        lambda: TimmConvNeXt(num_classes=CLASSES, depths=BLOCKS, dims=WIDTHS), (2, 3, 32, 64), CONVNEXT_TIMM_TAPS, ("inference",)
    ),
    "inception_resnet_v2": Case(
        lambda: timm.create_model("inception_resnet_v2", num_classes=CLASSES), (2, 3, 75, 139), INCEPTION_TAPS
    ),
    "resnet18_fpn": Case(
        resnet18_fpn, (2, 3, 48, 64), ("body.layer4", "fpn.inner_blocks.0", "fpn.layer_blocks.3")
    ),
    "densenet121_fpn": Case(
        small_densenet_fpn, (2, 3, 64, 96), ("fpn.inner_blocks.0", "fpn.layer_blocks.3"), ("inference",)
    ),
    "deit_tiny_patch16_224_fpn": Case(
        lambda: WithPyramid(Depths((48, 32), 16, num_classes=0, final_norm=False, **TIMM), [WIDTH] * DEPTH),
        (2, 3, 48, 32),
        ("body.blocks.1", "fpn.inner_blocks.0"),
        ("inference",),
    ),
    "vit_b_16": Case(
        lambda: TorchvisionTransformer(32, 16, DEPTH, HEADS, WIDTH, 4 * WIDTH, num_classes=CLASSES),
        (2, 3, 32, 32),
        TORCHVISION_VIT_TAPS,
        ("inference",),
    ),
    "deit_tiny_patch16_224": Case(
        lambda: TimmTransformer((48, 32), 16, num_classes=CLASSES, **TIMM), (2, 3, 48, 32), VIT_TAPS, ("inference",)
    ),
    "dinov2_vits14": Case(
        lambda: TimmTransformer((28, 42), 14, num_classes=0, init_values=1, **TIMM), (2, 3, 28, 42), VIT_TAPS, ("inference",)
    ),
    "dinov2_vitg14": Case(
        lambda: TimmTransformer((28, 42), 14, num_classes=0, init_values=1, **TIMM, **GATED),
        (2, 3, 28, 42),
        VIT_TAPS,
        ("inference",),
        names={"fc1": "w12", "fc2": "w3"},
    ),
}


def with_hashed_weights(case, dtype):
    model = case.build().to(dtype)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                value.copy_(ife.hashed_parameter(case.ours(name), tuple(value.shape)))
    for module in model.modules():
        if isinstance(module, (torch.nn.Dropout, torchvision.ops.StochasticDepth)):
            module.p = 0.0
    return model


def attention_weights(attention, x):
    """Of every query for every key [N, heads, T, T], from what the part is given."""
    if isinstance(attention, torch.nn.MultiheadAttention):
        return torch.nn.MultiheadAttention.forward(attention, x, x, x, average_attn_weights=False)[1]
    samples, tokens, width = x.shape
    q, k, _v = attention.qkv(x).reshape(samples, tokens, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
    return (q @ k.transpose(2, 3) / math.sqrt(width / HEADS)).softmax(3)


VIEWS = {
    "weights": lambda module, x, _y: attention_weights(module, x),
    "class_token": lambda _module, _x, y: y[:, 0],
    "patch_tokens": lambda _module, _x, y: y[:, 1:],
}


def watch(model, path, found):
    """Lets the model leave what a part gives, or what VIEWS show of it, under `tap.<path>`."""
    parent, _, last = path.rpartition(".")
    module, view = (parent, VIEWS[last]) if last in VIEWS else (path, lambda _module, _x, y: y)

    def keep(module, inputs, output):
        found[f"tap.{path}"] = view(module, inputs[0], output).detach().clone()

    model.get_submodule(module).register_forward_hook(keep)


def run(case, mode, dtype):
    model = with_hashed_weights(case, dtype).train(mode == "train")
    found = {}
    for path in case.taps:
        watch(model, path, found)
    x = tensor(ife.hashed("x", int(np.prod(case.shape))).reshape(case.shape)).to(dtype).requires_grad_(True)
    results = model(x)
    results = {"y": results} if torch.is_tensor(results) else {f"y.{name}": y for name, y in results.items()}
    cotangents = [tensor(ife.hashed(f"d{name}", y.numel()).reshape(y.shape)).to(dtype) for name, y in results.items()]
    torch.autograd.backward(list(results.values()), cotangents)
    assert all(f"tap.{path}" in found for path in case.taps)
    found |= {name: y.detach() for name, y in results.items()}
    found |= {f"grad.{case.ours(name)}": parameter.grad for name, parameter in model.named_parameters()}
    found["grad.x"] = x.grad
    if mode == "train":
        found |= {f"state.{name}": value for name, value in model.named_buffers() if ife.is_statistic(name)}
    return found


def single_errors(found, rough):
    names = sorted(name for name in found if name.startswith("grad."))
    least = 1e-6 * np.sqrt(sum(float(found[name].square().sum()) for name in names))
    return np.array([float((rough[name] - found[name]).norm()) / max(float(found[name].norm()), least) for name in names])


def vectors(case, mode):
    found, rough = (run(case, mode, dtype) for dtype in (torch.float64, torch.float32))
    families = FAMILIES if "y" in found else FAMILIES | {"y": probe}
    values = summarised(found, families) | {"single": single_errors(found, rough)}
    return {f"{mode}.{name}": value for name, value in values.items()}


def make(name):
    case = CASES[name]
    tensors = {"shape": np.array(case.shape)}
    for mode in case.modes:
        tensors |= vectors(case, mode)
    (HERE / "models").mkdir(exist_ok=True)
    save_file(tensors, HERE / "models" / f"{name}.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:] or CASES:
        make(name)
