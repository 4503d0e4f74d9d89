"""Makes models/<name>.safetensors: networks of torchvision and timm in f64, that the models are tested against.

    pip install torch torchvision timm numpy safetensors
    python tests/golden/models.py [name ...]

Weights, running statistics, images and cotangents are not stored: they are `hashed_parameter(name, shape)`, `hashed("x", …)`
and `hashed("dy", …)` (`dy.0`, … where there are several results), defined in ife.py. `shape` is that of the images.
Everything else is F64, under <mode>.<name>, modes `train` (batch statistics) and `inference` (running statistics);
nothing is dropped in either:

    y         whole, or y.0, y.1, …
    grad      [P, 2], a row for x and each parameter: norm of the gradient, and its product with hashed("probe.<name>")
    tap       [T, 2], a row for each part of TAPS, likewise of what the part gives
    state     [S, 5], a row for each running statistic after a step in `train`: norm, sum, first, middle, last element
    single    [P], for x and each parameter: the relative error of the gradient where PyTorch computes in f32; the divisor is
              at least 1e-6 of the norm of all gradients

Rows are in the alphabetical order of the names.
"""

import sys
from dataclasses import dataclass
from typing import Callable

import numpy as np
import torch
import torchvision
from safetensors.numpy import save_file

import ife
from make_golden import HERE, summarised, tensor


@dataclass
class Case:
    """A network, the shape of its images (height and width unequal in every stage), and the parts that are watched.

    Where a relu's argument is within rounding of 0, gradients in f32 jump by chance, on any program (`single` shows
    PyTorch's own jumps): another shape has other arguments."""

    build: Callable
    shape: tuple
    taps: tuple


RESNET_TAPS = ("conv1", "bn1", "maxpool", "layer1.0", "layer2.0.downsample.1", "layer2", "layer4")

CASES = {
    "resnet18": Case(lambda: torchvision.models.resnet18(num_classes=5), (3, 3, 40, 72), RESNET_TAPS),
    "resnet34": Case(lambda: torchvision.models.resnet34(num_classes=5), (4, 3, 33, 20), RESNET_TAPS),
    "resnet50": Case(lambda: torchvision.models.resnet50(num_classes=5), (4, 3, 33, 20), RESNET_TAPS),
}


def with_hashed_weights(model, dtype):
    model = model.to(dtype)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                value.copy_(ife.hashed_parameter(name, tuple(value.shape)))
    for module in model.modules():
        if isinstance(module, (torch.nn.Dropout, torchvision.ops.StochasticDepth)):
            module.p = 0.0
    return model


def run(case, mode, dtype):
    model = with_hashed_weights(case.build(), dtype).train(mode == "train")
    found = {}
    for path in case.taps:
        keep = lambda _module, _inputs, output, path=path: found.__setitem__(f"tap.{path}", output.detach().clone())
        model.get_submodule(path).register_forward_hook(keep)
    x = tensor(ife.hashed("x", int(np.prod(case.shape))).reshape(case.shape)).to(dtype).requires_grad_(True)
    results = model(x)
    results = {"y": results} if torch.is_tensor(results) else {f"y.{i}": y for i, y in enumerate(results)}
    cotangents = [tensor(ife.hashed(f"d{name}", y.numel()).reshape(y.shape)).to(dtype) for name, y in results.items()]
    torch.autograd.backward(list(results.values()), cotangents)
    found |= {name: y.detach() for name, y in results.items()}
    found |= {f"grad.{name}": parameter.grad for name, parameter in model.named_parameters()} | {"grad.x": x.grad}
    if mode == "train":
        found |= {f"state.{name}": value for name, value in model.named_buffers() if ife.is_statistic(name)}
    return found


def single_errors(found, rough):
    names = sorted(name for name in found if name.startswith("grad."))
    least = 1e-6 * np.sqrt(sum(float(found[name].square().sum()) for name in names))
    return np.array([float((rough[name] - found[name]).norm()) / max(float(found[name].norm()), least) for name in names])


def vectors(case, mode):
    found, rough = (run(case, mode, dtype) for dtype in (torch.float64, torch.float32))
    values = summarised(found) | {"single": single_errors(found, rough)}
    return {f"{mode}.{name}": value for name, value in values.items()}


def make(name):
    case = CASES[name]
    tensors = {"shape": np.array(case.shape)} | vectors(case, "inference") | vectors(case, "train")
    (HERE / "models").mkdir(exist_ok=True)
    save_file(tensors, HERE / "models" / f"{name}.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:] or CASES:
        make(name)
