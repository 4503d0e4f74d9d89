"""The IFE system in PyTorch: the model, its attention maps and its loss, written from the published definitions.

A function of a dictionary of parameters, so that every name is said once and gradients can be asked for by name.
It serves as an independent second implementation: nothing here is optimised, every line can be held against the
equations.

Names. A stage that both tasks share has the plain names (`encoder.layer3.1.conv2.weight`). In a stage that exists
twice the plain names belong to the heavy branch and the suffix `_dual` to the light branch
(`encoder.layer4.1.conv2_dual.weight`). Variant `released` applies the heavy branch's attention `sa` and `shortcut` in
the light branch too, so that its `sa_dual` and `shortcut_dual` take no part.
"""

import math

import torch
import torch.nn.functional as F

WIDTH = 64  # channels of the first stage, doubled by each further one
TASKS = ("heavy", "light")
HEADS = {"heavy": ("cls1", 4), "light": ("cls2", 3)}
EPS, MOMENTUM = 1e-5, 0.1  # of batch norms
SGD_MOMENTUM, WEIGHT_DECAY, CLIP_NORM = 0.9, 5e-4, 3.0
LAMBDA_INNER = LAMBDA_INTER = 0.3
TEMPERATURE = 5.0
FACTORS = {  # inner, the inner terms of negatives on top of it, inter
    "paper": (1.0, 1.0, 1.0),
    "released": (0.01, 0.5, 100.0),
}


# ---------------------------------------------------------------------------------------------- parameters


def batch_norm_shapes(name, channels):
    return {f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}


def block_shapes(block, inputs, outputs, suffix):
    shapes = {
        f"{block}.conv1{suffix}.weight": (outputs, inputs, 3, 3),
        **batch_norm_shapes(f"{block}.bn1{suffix}", outputs),
        f"{block}.conv2{suffix}.weight": (outputs, outputs, 3, 3),
        **batch_norm_shapes(f"{block}.bn2{suffix}", outputs),
        f"{block}.sa{suffix}.conv1.weight": (1, 2, 7, 7),
    }
    if inputs != outputs:
        shapes[f"{block}.shortcut{suffix}.0.weight"] = (outputs, inputs, 1, 1)
        shapes |= batch_norm_shapes(f"{block}.shortcut{suffix}.1", outputs)
    return shapes


def takes_part(name, variant, share):
    """Whether the model computes with this parameter, or merely carries it along."""
    if "_dual" not in name:
        return True
    stage = int(name.split(".")[1].removeprefix("layer"))
    own_in_paper_only = ".sa_dual." in name or ".shortcut_dual." in name
    return stage > share and (variant == "paper" or not own_in_paper_only)


def all_shapes(width=WIDTH):
    """Name → shape of everything that a released checkpoint holds, whether it takes part or not."""
    shapes = {"encoder.conv1.weight": (width, 3, 7, 7), **batch_norm_shapes("encoder.bn1", width)}
    inputs = width
    for stage in range(1, 5):
        outputs = width * 2 ** (stage - 1)
        for index in range(2):
            for suffix in ("", "_dual"):
                shapes |= block_shapes(f"encoder.layer{stage}.{index}", inputs, outputs, suffix)
            inputs = outputs
    for head, classes in HEADS.values():
        shapes |= {f"{head}.weight": (classes, 8 * width), f"{head}.bias": (classes,)}
    return shapes


def shapes_taking_part(variant, share, width=WIDTH):
    return {name: shape for name, shape in all_shapes(width).items() if takes_part(name, variant, share)}


def is_statistic(name):
    return name.endswith((".running_mean", ".running_var"))


# --------------------------------------------------------------------------------------------------- model


class Model:
    """One forward pass. `state` holds the running statistics, replaced as each batch norm is applied."""

    def __init__(self, parameters, variant, share, train):
        assert variant in FACTORS and 0 <= share <= 4
        self.parameters, self.variant, self.share, self.train = parameters, variant, share, train
        self.state = {name: value for name, value in parameters.items() if is_statistic(name)}

    def batch_norm(self, x, name):
        gamma, beta = self.parameters[f"{name}.weight"], self.parameters[f"{name}.bias"]
        if self.train:
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
            count = x.numel() // x.shape[1]
            self.update(f"{name}.running_mean", mean)
            self.update(f"{name}.running_var", variance * count / (count - 1))
        else:
            mean, variance = self.state[f"{name}.running_mean"], self.state[f"{name}.running_var"]
        scale = gamma / torch.sqrt(variance + EPS)
        return (x - mean[:, None, None]) * scale[:, None, None] + beta[:, None, None]

    def update(self, name, statistic):
        self.state[name] = (1 - MOMENTUM) * self.state[name] + MOMENTUM * statistic.detach()

    def conv(self, x, name, stride=1, padding=0):
        return F.conv2d(x, self.parameters[f"{name}.weight"], stride=stride, padding=padding)

    def attention(self, features, name):
        rows = features.permute(0, 2, 1, 3).flatten(2)  # [N, H, C·W]
        pooled = torch.stack([rows.mean(2), rows.max(2).values], dim=1)  # [N, 2, H]
        return torch.sigmoid(self.conv(pooled.unsqueeze(3), f"{name}.conv1", padding=3))  # [N, 1, H, 1]

    def block(self, x, block, suffix, stride):
        """One basic block of one branch. Returns its output and its attention map, [N, H]."""
        borrowed = "" if self.variant == "released" else suffix
        y = self.conv(x, f"{block}.conv1{suffix}", stride, 1)
        y = torch.relu(self.batch_norm(y, f"{block}.bn1{suffix}"))
        y = self.batch_norm(self.conv(y, f"{block}.conv2{suffix}", 1, 1), f"{block}.bn2{suffix}")
        attention = self.attention(y, f"{block}.sa{borrowed}")
        shortcut = x
        if f"{block}.shortcut.0.weight" in self.parameters:
            shortcut = self.batch_norm(self.conv(x, f"{block}.shortcut{borrowed}.0", stride), f"{block}.shortcut{borrowed}.1")
        return torch.relu(y * attention + shortcut), attention[:, 0, :, 0]

    def forward(self, x):
        """Logits per task, and the last block's map per (stage, task)."""
        x = torch.relu(self.batch_norm(self.conv(x, "encoder.conv1", 2, 3), "encoder.bn1"))
        x = F.max_pool2d(x, 3, 2, 1)
        branches, maps = {"": x}, {}  # suffix → features
        for stage in range(1, 5):
            if stage == self.share + 1:
                branches = {"": branches[""], "_dual": branches[""]}
            for index in range(2):
                stride = 2 if stage > 1 and index == 0 else 1
                for suffix, features in branches.items():  # the heavy branch first
                    branches[suffix], attention = self.block(features, f"encoder.layer{stage}.{index}", suffix, stride)
                    for task in TASKS if len(branches) == 1 else [TASKS[suffix == "_dual"]]:
                        maps[stage, task] = attention
        logits = {}
        for task, suffix in zip(TASKS, ("", "_dual")):
            head, _ = HEADS[task]
            pooled = branches[suffix if len(branches) == 2 else ""].mean((2, 3))
            logits[task] = pooled @ self.parameters[f"{head}.weight"].T + self.parameters[f"{head}.bias"]
        return logits, maps


# ---------------------------------------------------------------------------------------------------- loss


def kl(t, p):
    return (t * (t.log() - p.log())).sum(-1)


def js(a, b):
    c = (a + b) / 2
    return kl(a, c) / 2 + kl(b, c) / 2


def inner_target(attention, positive):
    """The sharper map for positives, the smoother one for negatives; it carries no gradient."""
    attention = attention.detach()
    sharper, smoother = torch.softmax(attention * TEMPERATURE, 1), torch.softmax(attention / TEMPERATURE, 1)
    return torch.where(positive[:, None], sharper, smoother)


def losses(logits, maps, labels, variant, targets=None):
    """The five losses by name. `targets`, (stage, task) → t, replaces the inner targets (for finite differences)."""
    inner_factor, negative_factor, inter_factor = FACTORS[variant]
    over_samples = torch.mean if variant == "paper" else torch.sum
    values = {task: F.cross_entropy(logits[task], labels[task]) for task in TASKS}
    inner = inter = torch.zeros((), dtype=logits["heavy"].dtype)
    both_chains = (labels["heavy"] != 0) & (labels["light"] != 0)
    for stage in (3, 4):
        for task in TASKS:
            attention, positive = maps[stage, task], labels[task] != 0
            target = targets[stage, task] if targets else inner_target(attention, positive)
            weight = torch.where(positive, 1.0, negative_factor).to(attention.dtype)
            inner = inner + over_samples(weight * kl(target, torch.softmax(attention, 1)))
        if both_chains.any():
            heavy, light = (torch.softmax(maps[stage, task], 1)[both_chains] for task in TASKS)
            inter = inter + over_samples(js(heavy, light))
    values["inner"], values["inter"] = inner_factor * inner, inter_factor * inter
    values["total"] = values["heavy"] + values["light"] + LAMBDA_INNER * values["inner"] + LAMBDA_INTER * values["inter"]
    return values


def run(parameters, x, labels, variant, share, train, gradients=True):
    """Everything that `axenic forward ife` writes, under the same names, in the precision of what is given."""
    leaves = {n: p.detach().clone().requires_grad_(gradients and not is_statistic(n)) for n, p in parameters.items()}
    x = x.detach().clone().requires_grad_(gradients)
    model = Model(leaves, variant, share, train)
    logits, maps = model.forward(x)
    result = {f"y.{task}": logits[task] for task in TASKS}
    result |= {f"attention.{stage}.{task}": value for (stage, task), value in maps.items()}
    if train:
        result |= {f"state.{name}": value for name, value in model.state.items() if takes_part(name, variant, share)}
    if labels is not None:
        values = losses(logits, maps, labels, variant)
        result |= {f"loss.{name}": value for name, value in values.items()}
        if gradients:
            wanted = {"x": x} | {n: p for n, p in leaves.items() if p.requires_grad and takes_part(n, variant, share)}
            found = torch.autograd.grad(values["total"], list(wanted.values()))
            result |= {f"grad.{name}": value for name, value in zip(wanted, found)}
    return {name: value.detach() for name, value in result.items()}


def train(parameters, x, labels, variant, share, rates):
    """Steps of training on one batch, one for each learning rate; for each step what it gives by name: `loss.<name>`,
    `square_norm` (of the gradient, before clipping), and after it `update.<parameter>` (since the first step began),
    `momentum.<parameter>` and `state.<running statistic>`."""
    state = {name: value for name, value in parameters.items() if is_statistic(name)}
    leaves = {n: p.detach().clone().requires_grad_() for n, p in parameters.items() if not is_statistic(n)}
    optimizer = torch.optim.SGD(leaves.values(), momentum=SGD_MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True)
    results = []
    for rate in rates:
        optimizer.zero_grad()
        model = Model(leaves | state, variant, share, train=True)
        values = losses(*model.forward(x), labels, variant)
        values["total"].backward()
        norm = torch.nn.utils.clip_grad_norm_(leaves.values(), CLIP_NORM)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        state = model.state
        result = {f"loss.{name}": value.detach() for name, value in values.items()} | {"square_norm": norm**2}
        for name, leaf in leaves.items():
            result[f"update.{name}"] = leaf.detach() - parameters[name]
            result[f"momentum.{name}"] = optimizer.state[leaf]["momentum_buffer"].clone()
        results.append(result | {f"state.{name}": value for name, value in state.items()})
    return results


# ------------------------------------------------------------------------------------------ hashed numbers


def hashed(name, count, centre=0.0, radius=1.0):
    """`count` numbers in [centre − radius, centre + radius), the same on every machine and in every language.

    The seed is the 64-bit FNV-1a hash of the name's bytes; the numbers are the outputs of SplitMix64 from that seed:
    output i mixes seed + (i + 1)·0x9E3779B97F4A7C15 (mod 2⁶⁴). Its upper 24 bits k give u = 2·k/2²⁴ − 1, and the number
    is centre + radius·u, computed in f64 (one product, one sum) and rounded to f32.
    """
    import numpy as np

    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = (seed ^ byte) * 0x100000001B3 % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    u = (z >> np.uint64(40)).astype(np.float64) * 2.0**-23 - 1.0
    return (centre + radius * u).astype(np.float32)


def hashed_parameter(name, shape):
    """Weights of two or more axes: 0 ± √(6 / fan_in), fan_in the product of all lengths but the first.
    Scales of batch norms: 1 ± 0.2; biases 0 ± 0.2; running means 0 ± 0.2; running variances 1 ± 0.5."""
    if name.endswith("running_var"):
        centre, radius = 1.0, 0.5
    elif len(shape) == 1:
        centre, radius = float(name.endswith(".weight")), 0.2
    else:
        centre, radius = 0.0, math.sqrt(6.0 / math.prod(shape[1:]))
    return torch.from_numpy(hashed(name, math.prod(shape), centre, radius).reshape(shape))
