"""Makes the golden vectors in models/: what the networks of torchvision and timm compute in f64.

    pip install torch torchvision timm safetensors
    python tests/golden/models.py [name …]

models/<name>.safetensors, for one network on one small batch. Weights and input are not stored: they are
`hashed_parameter(name, shape)` and `hashed("x", …)` of ife.py, the cotangent of an output y is `hashed("cotangent.y", …)`.

    shape                   of the input
    classes                 how many there are; 0 for a network without classifier
    <mode>.output           [O, 2] for each mode of CASES, a row for each output, in the alphabetical order of their names
    <mode>.grad             [P, 2], the same for x and each parameter: d Σ ⟨cotangent, output⟩
    train.state             [S, 2], the same for each running statistic after the step

Modes are `train` (statistics of the batch) and `inference` (running statistics), both without dropout and stochastic
depth. A row is the norm of a tensor and its product with `hashed("probe.<name>", …)`.
"""

import sys
from pathlib import Path

import numpy as np
import timm
import torch
import torchvision.models as tv
from safetensors.numpy import save_file
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from ife import hashed, hashed_parameter

HERE = Path(__file__).parent


class WithPyramid(torch.nn.Module):
    """torchvision's `BackboneWithFPN`, whose `body` takes its maps from anywhere in a network."""

    def __init__(self, network, nodes, channels):
        super().__init__()
        self.body = create_feature_extractor(network, {node: str(i) for i, node in enumerate(nodes)})
        self.fpn = FeaturePyramidNetwork(channels, 256, LastLevelMaxPool())

    def forward(self, x):
        return self.fpn(self.body(x))


def densenet121_fpn():
    nodes = [f"features.denseblock{i}" for i in range(1, 5)]
    return WithPyramid(tv.densenet121(), nodes, [256, 512, 1024, 1024])


def resnet18_fpn():
    return resnet_fpn_backbone(
        backbone_name="resnet18", weights=None, norm_layer=torch.nn.BatchNorm2d, trainable_layers=5
    )


TRAIN, INFERENCE = "train", "inference"

# By the name of the file: how the network is made (from the number of classes, where there is one), its input's shape, and
# the modes. Where it trains, the coarsest maps have more than a few pixels: a batch norm over few values amplifies errors.
CASES = {
    "resnet18": (lambda k: tv.resnet18(num_classes=k), (2, 3, 64, 64), [TRAIN, INFERENCE]),
    "resnet50": (lambda k: tv.resnet50(num_classes=k), (2, 3, 64, 64), [TRAIN]),
    "densenet121": (lambda k: tv.densenet121(num_classes=k), (2, 3, 64, 48), [INFERENCE]),
    "densenet121_fpn": (densenet121_fpn, (2, 3, 48, 64), [TRAIN]),
    "convnext_tiny": (lambda k: tv.convnext_tiny(num_classes=k), (1, 3, 32, 64), [TRAIN]),
    "convnext_tiny.timm": (lambda k: timm.create_model("convnext_tiny", num_classes=k), (2, 3, 32, 32), [INFERENCE]),
    "inception_resnet_v2": (lambda k: timm.create_model("inception_resnet_v2", num_classes=k), (2, 3, 75, 107), [TRAIN]),
    "resnet18_fpn": (resnet18_fpn, (2, 3, 48, 64), [INFERENCE]),
}
CLASSES = 5


def build(name):
    """The network with its hashed weights, without chance."""
    make = CASES[name][0]
    model = (make() if name.endswith("_fpn") else make(CLASSES)).double()
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if value.is_floating_point():
                value.copy_(hashed_parameter(key, tuple(value.shape)))
    for module in model.modules():
        if "StochasticDepth" in type(module).__name__:
            module.p = 0.0
    return model


def numbers(name, shape):
    return torch.from_numpy(hashed(name, int(np.prod(shape))).reshape(tuple(shape))).double()


def named(outputs):
    """The outputs by name, of a network that gives one or a dictionary."""
    return {f"y.{key}": y for key, y in outputs.items()} if isinstance(outputs, dict) else {"y": outputs}


def row(name, value):
    value = value.detach().flatten().numpy()
    return [np.linalg.norm(value), value @ hashed("probe." + name, len(value)).astype(np.float64)]


def table(values):
    return np.array([row(name, values[name]) for name in sorted(values)])


def run(model, shape):
    x = numbers("x", shape).requires_grad_()
    outputs = named(model(x))
    cotangents = [numbers("cotangent." + name, y.shape) for name, y in outputs.items()]
    torch.autograd.backward(list(outputs.values()), cotangents)
    grads = {name: parameter.grad for name, parameter in model.named_parameters()}
    return {"output": table(outputs), "grad": table({"x": x.grad, **grads})}


def make(name):
    _, shape, modes = CASES[name]
    tensors = {"shape": np.array(shape), "classes": np.array(0 if name.endswith("_fpn") else CLASSES)}
    for mode in modes:
        model = build(name).train(mode == TRAIN)
        tensors |= {f"{mode}.{what}": rows for what, rows in run(model, shape).items()}
        states = {key: value for key, value in model.named_buffers() if ".running_" in key}
        if mode == TRAIN and states:
            tensors["train.state"] = table(states)
    save_file(tensors, HERE / "models" / f"{name}.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:] or CASES:
        make(name)
