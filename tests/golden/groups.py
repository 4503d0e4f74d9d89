"""Makes groups.safetensors: steps of PyTorch's optimisers with parameter groups, in f64, on a small network.

    pip install torch numpy safetensors
    python tests/golden/groups.py

The network is linear `a`, tanh, linear `b`, layer norm `norm`, linear `head` on x [4, 3]; the loss is the mean square of
what it gives. `a` is frozen; `b` learns at a tenth of the rate; neither biases nor the norm decay. Keys:

    x, first.<parameter>                    F32, what the steps begin with
    <optimiser>.<step>.<parameter>          F64, after each of three steps; optimisers `sgd` (Nesterov) and `adamw`
    <optimiser>.<step>.norm                 F64, the gradient's norm before it was clipped
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

RATES = [0.1, 0.05, 0.2]
CLIP_NORM = 0.2
DECAY = 0.05


def network(first):
    layers = {"a": torch.nn.Linear(3, 5), "b": torch.nn.Linear(5, 6), "norm": torch.nn.LayerNorm(6, eps=1e-5), "head": torch.nn.Linear(6, 2)}
    model = torch.nn.ModuleDict(layers).double()
    model.load_state_dict({name: torch.from_numpy(values).double() for name, values in first.items()})
    model["a"].requires_grad_(False)
    return model


def groups(model):
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            factor = 0.1 if name.startswith("b.") else 1.0
            yield {"params": [parameter], "factor": factor, "weight_decay": DECAY if parameter.ndim > 1 else 0.0}


def steps(kind, first, x):
    model = network(first)
    if kind == "sgd":
        optimiser = torch.optim.SGD(groups(model), 1.0, momentum=0.9, nesterov=True)
    else:
        optimiser = torch.optim.AdamW(groups(model), 1.0)
    for step, rate in enumerate(RATES):
        y = model["head"](model["norm"](model["b"](torch.tanh(model["a"](torch.from_numpy(x).double())))))
        optimiser.zero_grad()
        y.square().mean().backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        for group in optimiser.param_groups:
            group["lr"] = rate * group["factor"]
        optimiser.step()
        yield f"{kind}.{step}.norm", norm.numpy()
        for name, parameter in model.named_parameters():
            yield f"{kind}.{step}.{name}", parameter.detach().numpy().copy()


def main():
    draw = np.random.default_rng(5)
    shapes = {"a.weight": (5, 3), "a.bias": (5,), "b.weight": (6, 5), "b.bias": (6,), "norm.weight": (6,), "norm.bias": (6,), "head.weight": (2, 6), "head.bias": (2,)}
    first = {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    x = draw.normal(size=(4, 3)).astype(np.float32)
    tensors = {"x": x} | {f"first.{name}": values for name, values in first.items()}
    for kind in ("sgd", "adamw"):
        tensors |= dict(steps(kind, first, x))
    save_file(tensors, Path(__file__).parent / "groups.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
