"""Makes the golden vectors beside this file: numbers from PyTorch in f64 that the engine is tested against.

    pip install torch numpy safetensors
    python tests/golden/make_golden.py

Only whoever changes the vectors needs this; building and testing the project does not need Python.

ops.json and ops/<op>.safetensors: single operations
    `ops.json` is a list of {"op", "case", "attributes", "inputs", "outputs", "grads"}: the name of the operation, the
    number of the case, its attributes, how many inputs and outputs there are, and the numbers of the inputs that have
    a gradient (empty where none is asked for). The file of the operation holds for each case

    case<k>.input.<i>       F32 (real) or I64 (index, mask)
    case<k>.output.<i>      F64, or I64 for indices
    case<k>.cotangent.<i>   F32, of the shape of output i; an output without one does not enter the gradients
    case<k>.grad.<i>        F64, of the shape of input i: Σ over outputs ⟨cotangent, output⟩, differentiated by input i

    Inputs and cotangents are numbers of f32, so that f32 and f64 start from the same point.

ife.safetensors: the whole IFE system on three small batches (see BATCHES)
    Weights and input are not stored: they are `hashed_parameter(name, shape)` and `hashed("x", …)`, defined in ife.py
    and short enough to be written again anywhere. <batch>.heavy and <batch>.light hold the labels, <batch>.shape the
    input's shape, <batch>.width the channels of the first stage. Everything else is F64, under keys
    <batch>.<variant>.share<n>.<mode>.<name>, modes `train` (batch statistics) and `inference` (running statistics):

    y.heavy, y.light, attention.<stage>.<task>, loss.<name>     whole, as `axenic forward ife` writes them
    state     [S, 5], a row for each running statistic after the step: norm, sum, first, middle, last element; middle is
              n div 2
    grad      [P, 2], a row for x and each parameter: norm of d loss.total / d parameter, and its product with
              hashed("probe.<name>")

    and for two steps of training, <batch>.<variant>.share<n>.step<k>.<name> with k from 1 and the rates of STEP_RATES:

    loss.<name>, square_norm     of the gradient before clipping
    update, momentum             [P, 2], a row for each parameter: norm and product, as above, of its change since the
                                 first step began, and of its momentum buffer
    state                        [S, 5], as above

    Rows are in the alphabetical order of the names.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

import ife

HERE = Path(__file__).parent


# ----------------------------------------------------------------------------------------------- the cases


@dataclass
class Case:
    attributes: dict
    inputs: list  # of numpy arrays, f32 or i64
    compute: Callable  # tensors → tensor or tuple of tensors
    differentiated: int | None = None  # how many outputs have a cotangent; None: all real ones
    constants: tuple = ()  # numbers of real inputs that have no gradient


class Numbers:
    """Hashed numbers for the inputs of one operation, each drawn once."""

    def __init__(self, op):
        self.op, self.drawn = op, 0

    def real(self, *shape, centre=0.0, radius=1.0):
        self.drawn += 1
        count = int(np.prod(shape, dtype=int))
        return ife.hashed(f"{self.op}.{self.drawn}", count, centre, radius).reshape(shape)

    def coarse(self, *shape):
        """Multiples of one half in [−1, 1]: many ties, many zeros."""
        return np.round(self.real(*shape) * 2) / 2 + np.float32(0)  # + 0 turns −0 into 0

    def index(self, below, *shape):
        return np.array(np.floor(self.real(*shape, centre=below / 2, radius=below / 2)), np.int64)

    def distribution(self, *shape, axis):
        z = np.exp(self.real(*shape, radius=3.0).astype(np.float64))
        return (z / z.sum(axis, keepdims=True)).astype(np.float32)


def elementwise(op, function):
    draw = Numbers(op)
    shapes = [((3, 4), (3, 4)), ((2, 3, 5), (5,)), ((2, 1, 5), (3, 1)), ((7,), ()), ((1,), (4, 1, 3)), ((2, 3, 1, 1), (2, 3, 5, 7))]
    for number, (left, right) in enumerate(shapes):
        away_from_zero = (2.0, -1.25)[number % 2]
        yield Case({}, [draw.real(*left), draw.real(*right, centre=away_from_zero)], function)


def rows_of(x, axes):
    """The reduced axes, in ascending order, flattened into one at the end."""
    kept = [axis for axis in range(x.dim()) if axis not in axes]
    return x.permute(*kept, *axes).flatten(len(kept))


def reduction(op, function):
    """Over several axes, position means the row-major position within the reduced axes; ties go to the first."""
    draw = Numbers(op)
    shapes = [((5,), [0]), ((3, 4), [1]), ((3, 4), [0]), ((2, 3, 4, 5), [0, 2, 3]), ((2, 3, 4, 5), [1, 3]), ((2, 3, 7), [0, 1, 2]), ((3, 1, 2), [1]), ((2, 257), [1])]
    for shape, axes in shapes:
        for keepdim in (False, True):
            kept = [1 if i in axes else n for i, n in enumerate(shape) if keepdim or i not in axes]
            numbers = draw.coarse if op in ("max", "argmax") and shape != (5,) else draw.real
            yield Case({"axes": axes, "keepdim": keepdim}, [numbers(*shape)], lambda x: function(rows_of(x, axes)).reshape(kept))


def matmul():
    draw = Numbers("matmul")
    turned = lambda x, transpose: x.transpose(-1, -2) if transpose else x
    sizes = [((), 1, 1, 1), ((), 3, 5, 2), ((), 1, 17, 4), ((2,), 3, 4, 5), ((2, 3), 7, 1, 3), ((2, 2), 5, 9, 17)]
    for batch, m, k, n in sizes:
        for left in (False, True):
            for right in (False, True):
                a, b = draw.real(*batch, *((k, m) if left else (m, k))), draw.real(*batch, *((n, k) if right else (k, n)))
                yield Case({"transpose_a": left, "transpose_b": right}, [a, b], lambda a, b: turned(a, left) @ turned(b, right))
    # One side without a batch axis: the other's batch is broadcast over it.
    attributes = {"transpose_a": False, "transpose_b": False}
    yield Case(attributes, [draw.real(3, 4, 5), draw.real(5, 2)], torch.matmul)


def conv2d():
    draw = Numbers("conv2d")
    cases = [  # input, weight, stride, padding, dilation, groups
        ((1, 1, 1, 1), (1, 1, 1, 1), (1, 1), (0, 0), (1, 1), 1),
        ((2, 3, 5, 6), (4, 3, 3, 3), (1, 1), (1, 1), (1, 1), 1),
        ((2, 3, 9, 8), (5, 3, 3, 3), (2, 2), (1, 1), (1, 1), 1),
        ((2, 3, 13, 11), (4, 3, 7, 7), (2, 2), (3, 3), (1, 1), 1),
        ((3, 4, 5, 7), (6, 4, 1, 1), (2, 2), (0, 0), (1, 1), 1),
        ((2, 2, 7, 1), (1, 2, 7, 7), (1, 1), (3, 3), (1, 1), 1),
        ((1, 2, 9, 10), (3, 2, 3, 3), (1, 1), (2, 2), (2, 2), 1),
        ((2, 4, 6, 5), (6, 2, 3, 3), (1, 1), (1, 1), (1, 1), 2),
        ((2, 3, 6, 5), (3, 1, 3, 3), (2, 1), (1, 1), (1, 1), 3),
        ((1, 3, 8, 11), (2, 3, 2, 5), (3, 2), (1, 2), (2, 1), 1),
        ((1, 17, 4, 4), (19, 17, 3, 3), (1, 1), (1, 1), (1, 1), 1),
        ((2, 3, 6, 6), (4, 3, 2, 2), (3, 3), (0, 0), (1, 1), 1),  # the last row and column are never read
    ]
    for x, weight, stride, padding, dilation, groups in cases:
        attributes = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        yield Case(attributes, [draw.real(*x), draw.real(*weight)], lambda x, w: F.conv2d(x, w, None, **attributes))


def conv1d():
    """Inputs x, weight and, where there is one, bias; `causal` puts (kernel_size − 1)·dilation zeros in front."""
    draw = Numbers("conv1d")
    cases = [  # x, weight, stride, padding, dilation, groups, bias
        ((1, 1, 1), (1, 1, 1), 1, 0, 1, 1, True),
        ((2, 3, 11), (4, 3, 3), 1, 1, 1, 1, True),
        ((2, 3, 17), (5, 3, 5), 2, 4, 2, 1, False),
        ((2, 3, 13), (4, 3, 3), 1, "causal", 1, 1, True),
        ((1, 2, 29), (3, 2, 2), 1, "causal", 8, 1, True),
        ((2, 4, 19), (6, 2, 3), 1, "causal", 4, 2, False),
        ((2, 5, 16), (5, 1, 4), 1, "causal", 2, 5, True),
        ((1, 3, 18), (6, 1, 3), 3, 2, 1, 3, True),
        ((1, 4, 9), (2, 4, 3), 2, "causal", 3, 1, True),
    ]
    for x, weight, stride, padding, dilation, groups, bias in cases:
        attributes = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}

        def compute(x, weight, bias=None):
            causal = padding == "causal"
            x = F.pad(x, ((weight.shape[2] - 1) * dilation, 0)) if causal else x
            return F.conv1d(x, weight, bias, stride, 0 if causal else padding, dilation, groups)

        yield Case(attributes, [draw.real(*x), draw.real(*weight)] + [draw.real(weight[0])] * bias, compute)


def max_pool2d():
    draw = Numbers("max_pool2d")
    cases = [
        (draw.real(2, 3, 7, 6), 3, 2, 1, False),
        (draw.coarse(2, 3, 8, 9), 3, 2, 1, False),
        (np.zeros((1, 2, 5, 5), np.float32), 3, 2, 1, False),
        (draw.real(1, 1, 1, 1, centre=-5.0), 3, 2, 1, False),
        (draw.coarse(1, 3, 6, 7), 2, 2, 0, False),
        (draw.coarse(2, 1, 6, 5), 3, 1, 1, False),
        (draw.coarse(2, 2, 6, 8), 3, 2, 1, True),
        (draw.real(1, 2, 7, 9), 2, 2, 0, True),
        (draw.real(1, 2, 5, 7), 2, 2, 1, True),
        (draw.real(2, 1, 2, 3), 3, 2, 0, True),
        (draw.real(1, 2, 11, 12), 2, 3, 0, True),
    ]
    for x, kernel, stride, padding, ceil in cases:
        attributes = {"kernel_size": [kernel] * 2, "stride": [stride] * 2, "padding": [padding] * 2, "ceil_mode": ceil}
        yield Case(attributes, [x], lambda x: F.max_pool2d(x, **attributes, return_indices=True))


def avg_pool2d():
    draw = Numbers("avg_pool2d")
    for shape, kernel, stride, padding, ceil, counted in [
        ((2, 3, 6, 8), (2, 2), (2, 2), (0, 0), False, True),
        ((1, 2, 7, 7), (7, 7), (7, 7), (0, 0), False, True),
        ((2, 1, 7, 5), (3, 3), (2, 2), (1, 1), False, True),
        ((2, 1, 7, 5), (3, 3), (2, 2), (1, 1), False, False),
        ((1, 3, 5, 6), (2, 3), (1, 2), (0, 1), False, True),
        ((2, 2, 6, 8), (3, 3), (2, 2), (1, 1), True, True),
        ((2, 2, 6, 8), (3, 3), (2, 2), (1, 1), True, False),
        ((1, 2, 7, 9), (2, 2), (2, 2), (0, 0), True, True),
        ((1, 2, 5, 7), (2, 2), (2, 2), (1, 1), True, True),
        ((1, 2, 12, 13), (2, 3), (3, 4), (1, 0), True, True),
        ((1, 2, 12, 13), (2, 3), (3, 4), (1, 0), True, False),
        ((2, 1, 2, 2), (3, 5), (2, 3), (0, 1), True, True),
    ]:
        attributes = {"kernel_size": kernel, "stride": stride, "padding": padding, "ceil_mode": ceil, "count_include_pad": counted}
        yield Case(attributes, [draw.real(*shape)], lambda x: F.avg_pool2d(x, **attributes))


ADAPTIVE = [((2, 3, 4, 9), (2, 3)), ((2, 2, 7, 11), (3, 5)), ((2, 3, 5, 7), (1, 1)), ((1, 2, 3, 4), (3, 4)), ((1, 2, 3, 2), (7, 5)), ((1, 2, 13, 17), (7, 7))]


def adaptive(op, pool):
    draw = Numbers(op)
    for shape, size in ADAPTIVE:
        for numbers in (draw.real, draw.coarse):
            yield Case({"output_size": size}, [numbers(*shape)], lambda x: pool(x, size))


def resize():
    draw = Numbers("resize")
    sizes = [((2, 3, 4, 5), (8, 10)), ((1, 2, 5, 11), (13, 7)), ((2, 1, 17, 3), (5, 31)), ((1, 2, 1, 6), (3, 4)), ((1, 2, 6, 4), (1, 1)), ((1, 1, 7, 9), (7, 9)), ((1, 1, 23, 31), (3, 2))]
    for shape, size in sizes:
        yield Case({"mode": "nearest", "align_corners": False, "size": size}, [draw.real(*shape)], lambda x: F.interpolate(x, size))
        for corners in (False, True):
            attributes = {"mode": "bilinear", "align_corners": corners, "size": size}
            yield Case(attributes, [draw.real(*shape)], lambda x: F.interpolate(x, **attributes))


def batch_norm(op, training):
    """Inputs x, gamma, beta, running mean, running variance. `batch_norm_training` yields y, the batch's mean, its
    biased variance, and both running statistics after the step; `batch_norm_inference` yields y."""
    draw = Numbers(op)
    for shape, centre in [((2, 3, 4, 5), 0.0), ((3, 1, 1, 1), 0.5), ((1, 5, 1, 7), -1.0), ((4, 2, 3, 3), 30.0), ((2, 17, 3, 1), 0.0)]:
        channels = shape[1]
        inputs = [draw.real(*shape, centre=centre), draw.real(channels, centre=1.0, radius=0.5), draw.real(channels)]
        inputs += [draw.real(channels), draw.real(channels, centre=1.0, radius=0.5)]
        attributes = {"eps": 1e-5} | ({"momentum": 0.1} if training else {})

        def compute(x, gamma, beta, mean, variance):
            mean, variance = mean.clone(), variance.clone()
            y = F.batch_norm(x, mean, variance, gamma, beta, training, 0.1, 1e-5)
            if not training:
                return y
            return y, x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False), mean, variance

        yield Case(attributes, inputs, compute, differentiated=1, constants=(3, 4))


def unary(op, function):
    draw = Numbers(op)
    special = np.array([0.0, -0.0, 1e-30, -1e-30, 0.5, -0.5, 20.0, -20.0, 80.0, -80.0, 110.0, -110.0], np.float32)
    for x in (draw.real(3, 5, radius=4.0), special, draw.coarse(2, 3, 4)):
        yield Case({}, [x], function)


def positive(op, function):
    draw = Numbers(op)
    special = np.array([1.0, 0.25, 1e-30, 1e30, 0.999, 1.001, 80.0, 3e38, 2e-38], np.float32)
    for x in (draw.real(3, 5, centre=2.0, radius=1.9), special, draw.real(2, 3, 4, centre=50.0, radius=49.0)):
        yield Case({}, [x], function)


def exponential():
    draw = Numbers("exp")
    for x in (draw.real(3, 5, radius=4.0), draw.real(2, 9, radius=85.0), draw.coarse(2, 3, 4)):
        yield Case({}, [x], torch.exp)


def clamp():
    """No element lies on a border, where the gradient differs between releases."""
    draw = Numbers("clamp")
    for low, high in [(-0.25, 0.75), (0.125, 1.0625), (0.375, 0.375), (-2.0, 2.0)]:
        for x in (draw.coarse(3, 7), draw.real(2, 3, 4, radius=3.0)):
            yield Case({"min": low, "max": high}, [x], lambda x: torch.clamp(x, low, high))


def maximum():
    """Many elements are equal; the gradient is shared there."""
    draw = Numbers("maximum")
    for left, right in [((3, 4), (3, 4)), ((2, 3, 5), (5,)), ((2, 1, 5), (3, 1)), ((7,), (1,)), ((1,), (4, 1, 3))]:
        yield Case({}, [draw.coarse(*left), draw.coarse(*right)], torch.maximum)
        yield Case({}, [draw.real(*left), draw.real(*right)], torch.maximum)


def layer_norm():
    """Inputs x, weight, bias; normalised over the axes of the weight. Outputs y, mean and reciprocal deviation of each row."""
    draw = Numbers("layer_norm")
    for shape, row, centre in [((3, 7), (7,), 0.0), ((2, 3, 5), (5,), 1.0), ((2, 3, 5), (3, 5), -1.0), ((4,), (4,), 0.0), ((2, 257), (257,), 30.0)]:
        inputs = [draw.real(*shape, centre=centre), draw.real(*row, centre=1.0, radius=0.5), draw.real(*row)]
        for eps in (1e-5, 0.1):
            def compute(x, weight, bias):
                y, *statistics = torch.native_layer_norm(x, row, weight, bias, eps)
                return y, *(each.reshape(shape[: len(shape) - len(row)]) for each in statistics)

            yield Case({"eps": eps}, inputs, compute, differentiated=1)


def logits_and_targets(draw):
    """Labels, far from zero; and targets between."""
    for shape in [(3, 5), (7,), (2, 3, 4)]:
        yield draw.real(*shape, radius=9.0), draw.index(2, *shape).astype(np.float32)
        yield draw.real(*shape, radius=3.0), np.abs(draw.real(*shape))


def bce_with_logits():
    """Inputs logits, targets, and the weights of positives by class; only the logits have a gradient."""
    draw = Numbers("bce_with_logits")
    for x, target in logits_and_targets(draw):
        weight = draw.real(x.shape[-1], centre=2.0)
        compute = lambda x, t, w: F.binary_cross_entropy_with_logits(x, t, pos_weight=w, reduction="none")
        yield Case({}, [x, target, weight], compute, constants=(1, 2))
    x = np.array([200.0, -200.0, 90.0, -90.0], np.float32)
    yield Case({}, [x, np.array([0, 1, 1, 0], np.float32), np.ones(4, np.float32)], compute, constants=(1, 2))


def focal_loss():
    """As in torchvision, before its reduction."""
    draw = Numbers("focal_loss")

    def compute(x, t, alpha, gamma):
        p = torch.sigmoid(x)
        entropy = F.binary_cross_entropy_with_logits(x, t, reduction="none")
        loss = entropy * (1 - (p * t + (1 - p) * (1 - t))) ** gamma
        return loss * (alpha * t + (1 - alpha) * (1 - t)) if alpha >= 0 else loss

    for alpha, gamma in [(0.25, 2.0), (-1.0, 2.0), (0.5, 0.0), (0.75, 0.5), (0.6, 5.0)]:
        for x, target in logits_and_targets(draw):
            yield Case({"alpha": alpha, "gamma": gamma}, [x, target], lambda x, t: compute(x, t, alpha, gamma), constants=(1,))


def asymmetric_loss():
    """The paper's definition, differentiated as a whole."""
    draw = Numbers("asymmetric_loss")

    def compute(x, t, gamma_neg, gamma_pos, clip):
        p, rest = torch.sigmoid(x), torch.sigmoid(-x)
        shifted = (p - clip).clamp(min=0)
        positive = -F.logsigmoid(x) * rest**gamma_pos
        negative = -torch.log(1 - shifted) if clip > 0 else -F.logsigmoid(-x)
        return t * positive + (1 - t) * negative * shifted**gamma_neg

    for gamma_neg, gamma_pos, clip in [(4.0, 1.0, 0.05), (4.0, 0.0, 0.0), (2.0, 1.0, 0.5), (0.0, 0.0, 0.0), (1.5, 2.5, 0.2)]:
        attributes = {"gamma_neg": gamma_neg, "gamma_pos": gamma_pos, "clip": clip}
        for x, target in logits_and_targets(draw):
            yield Case(attributes, [x, target], lambda x, t: compute(x, t, **attributes), constants=(1,))


def softmax_js_divergence():
    draw = Numbers("softmax_js_divergence")
    for shape, axis in [((14,), 0), ((3, 7), 1), ((3, 7), 0), ((2, 14, 3), 1), ((2, 257), 1)]:
        for temperature in (1.0, 5.0, 0.5):
            js = lambda a, b: ife.js(*(torch.softmax(z / temperature, axis).movedim(axis, -1) for z in (a, b)))
            inputs = [draw.real(*shape, radius=3.0), draw.real(*shape, radius=3.0)]
            yield Case({"axis": axis, "temperature": temperature}, inputs, js)


SOFTMAX_SHAPES = [((1,), 0), ((3, 7), 1), ((3, 7), 0), ((2, 14, 3), 1), ((2, 3, 4, 5), 3), ((2, 257), 1)]


def softmax():
    draw = Numbers("softmax")
    for shape, axis in SOFTMAX_SHAPES:
        for temperature in (1.0, 5.0, 0.2):
            attributes = {"axis": axis, "temperature": temperature}
            yield Case(attributes, [draw.real(*shape, radius=3.0)], lambda x: torch.softmax(x / temperature, axis))
    large = draw.real(2, 5, centre=1000.0, radius=50.0)
    yield Case({"axis": 1, "temperature": 1.0}, [large], lambda x: torch.softmax(x, 1))


def log_softmax():
    draw = Numbers("log_softmax")
    for shape, axis in SOFTMAX_SHAPES:
        yield Case({"axis": axis}, [draw.real(*shape, radius=3.0)], lambda x: torch.log_softmax(x, axis))
    yield Case({"axis": 1}, [draw.real(2, 5, centre=-1000.0, radius=50.0)], lambda x: torch.log_softmax(x, 1))


def divergence(op, function):
    """Inputs are positive numbers that sum to one but for their rounding to f32; the formula takes them as they are."""
    draw = Numbers(op)
    for shape, axis in [((14,), 0), ((3, 7), 1), ((3, 7), 0), ((2, 14, 3), 1), ((2, 257), 1)]:
        a, b = draw.distribution(*shape, axis=axis), draw.distribution(*shape, axis=axis)
        yield Case({"axis": axis}, [a, b], lambda a, b: function(a.movedim(axis, -1), b.movedim(axis, -1)))
    same = draw.distribution(2, 5, axis=1)
    yield Case({"axis": 1}, [same, same.copy()], function)


def cross_entropy():
    draw = Numbers("cross_entropy")
    for samples, classes in [(1, 1), (3, 4), (5, 3), (2, 9), (7, 2)]:
        inputs = [draw.real(samples, classes, radius=4.0), draw.index(classes, samples)]
        yield Case({}, inputs, lambda x, label: F.cross_entropy(x, label, reduction="none"))
    extreme = np.array([[200.0, -200.0, 0.0], [-200.0, 200.0, 0.0]], np.float32)
    yield Case({}, [extreme, np.array([1, 1])], lambda x, label: F.cross_entropy(x, label, reduction="none"))


def concat():
    draw = Numbers("concat")
    for shapes, axis in [([(2,), (3,)], 0), ([(2, 3), (2, 1), (2, 4)], 1), ([(1, 3, 2), (2, 3, 2)], 0), ([(2, 2, 3, 1)] * 2, 1)]:
        yield Case({"axis": axis}, [draw.real(*shape) for shape in shapes], lambda *x: torch.cat(x, axis))


def slice_():
    draw = Numbers("slice")
    for shape, axis, start, end in [((7,), 0, 2, 5), ((3, 5), 1, 0, 1), ((3, 5), 0, 2, 3), ((2, 6, 3), 1, 1, 6), ((2, 3, 4), 2, 0, 4)]:
        attributes = {"axis": axis, "start": start, "end": end}  # start ≤ index < end
        yield Case(attributes, [draw.real(*shape)], lambda x: x.narrow(axis, start, end - start))


def permute():
    draw = Numbers("permute")
    for shape, axes in [((3, 4), (1, 0)), ((2, 3, 5), (2, 0, 1)), ((2, 3, 4, 5), (0, 2, 1, 3)), ((2, 3, 4, 5), (3, 1, 0, 2)), ((1, 7, 1), (1, 0, 2))]:
        yield Case({"axes": axes}, [draw.real(*shape)], lambda x: x.permute(axes))  # output axis i is input axis axes[i]


def select():
    """Inputs mask (0 or 1), a, b: a where the mask is 1, else b; broadcast."""
    draw = Numbers("select")
    for mask, a, b in [((5,), (5,), (5,)), ((2, 3, 4), (2, 3, 4), (2, 3, 4)), ((3, 1), (3, 4), (3, 4)), ((2, 3), (2, 3), ())]:
        inputs = [draw.index(2, *mask), draw.real(*a), draw.real(*b)]
        yield Case({}, inputs, lambda mask, a, b: torch.where(mask != 0, a, b))


def clip_grad_norm():
    """Inputs are gradients, outputs the clipped gradients and then the norm of all of them before clipping."""
    draw = Numbers("clip_grad_norm")

    def compute(*gradients):
        leaves = [torch.zeros_like(gradient) for gradient in gradients]
        for leaf, gradient in zip(leaves, gradients):
            leaf.grad = gradient.clone()
        norm = torch.nn.utils.clip_grad_norm_(leaves, 3.0)
        return *(leaf.grad for leaf in leaves), norm

    for shapes, radius in [([(3,)], 0.5), ([(3, 4), (5,), (2, 1, 3)], 0.25), ([(3, 4), (5,), (2, 1, 3)], 7.0), ([(257,), ()], 1e4)]:
        yield Case({"max_norm": 3.0}, [draw.real(*shape, radius=radius) for shape in shapes], compute, differentiated=0)
    yield Case({"max_norm": 3.0}, [np.zeros((4,), np.float32), np.zeros((2, 2), np.float32)], compute, differentiated=0)


def sgd():
    """Inputs the parameter and the gradients of three steps; outputs parameter and momentum after each step:
    parameter 1, momentum 1, parameter 2, …. `learning_rates` has one rate per step."""
    draw = Numbers("sgd")
    for momentum, nesterov, weight_decay in [(0.9, True, 5e-4), (0.9, False, 5e-4), (0.9, True, 0.0), (0.5, True, 0.1)]:
        for rates in ([0.03, 0.03, 0.03], [0.0, 0.01, 0.02]):
            attributes = {"learning_rates": rates, "momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}

            def compute(parameter, *gradients):
                parameter = parameter.clone().requires_grad_()
                optimiser = torch.optim.SGD([parameter], 1.0, momentum, 0.0, weight_decay, nesterov)
                for rate, gradient in zip(rates, gradients):
                    optimiser.param_groups[0]["lr"] = rate
                    parameter.grad = gradient.clone()
                    optimiser.step()
                    yield parameter.detach().clone()
                    yield optimiser.state[parameter]["momentum_buffer"].clone()

            inputs = [draw.real(2, 5) for _ in range(4)]
            yield Case(attributes, inputs, lambda *tensors: tuple(compute(*tensors)), differentiated=0)


def heads_of(x, heads):
    """[N, T, D] as [N, heads, T, D / heads]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


ATTENTIONS = [  # samples, queries, keys, channels, heads, scale, map of the scores, whether keys are masked
    (1, 1, 1, 1, 1, None, "identity", False),
    (2, 5, 5, 6, 2, None, "identity", False),
    (2, 3, 7, 6, 3, None, "identity", True),
    (3, 4, 9, 8, 1, 0.25, "identity", True),
    (2, 5, 5, 6, 2, None, "sigmoid", False),
    (2, 3, 7, 6, 3, 1.5, "sigmoid", True),
    (1, 17, 67, 10, 2, None, "identity", True),
]


def attention_scores(q, k, mask, heads, scale, score_map):
    q, k = heads_of(q, heads), heads_of(k, heads)
    scores = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    scores = torch.sigmoid(scores) if score_map == "sigmoid" else scores
    return scores.masked_fill(mask[:, None, None, :] == 0, -torch.inf)


def attention_cases(op, inputs, compute):
    draw = Numbers(op)
    for samples, queries, keys, channels, heads, scale, score_map, masked in ATTENTIONS:
        q, k, v = draw.real(samples, queries, channels), draw.real(samples, keys, channels), draw.real(samples, keys, channels)
        mask = draw.index(3, samples, keys) if masked else np.ones((samples, keys), np.int64)
        mask[:, 0] = 1
        attributes = {"num_heads": heads, "score_map": score_map} | ({} if scale is None else {"scale": scale})
        given = {"q": q, "k": k, "v": v, "mask": mask, "log_sum_exp": draw.real(samples, queries, heads)}
        scores = lambda q, k, mask: attention_scores(q, k, mask, heads, scale, score_map)
        yield Case(attributes, [given[name] for name in inputs], lambda *x: compute(scores, heads, *x))


def attention():
    """Inputs q, k, v and mask (0 where a key takes no part); outputs y and the logarithms of the denominators, [N, T, heads]."""

    def compute(scores, heads, q, k, v, mask):
        scores = scores(q, k, mask)
        y = torch.softmax(scores, -1) @ heads_of(v, heads)
        return y.transpose(1, 2).flatten(2), torch.logsumexp(scores, -1).transpose(1, 2)

    return attention_cases("attention", ["q", "k", "v", "mask"], compute)


def attention_weights():
    """Inputs q, k, mask and the logarithms of the denominators, which are any numbers here."""

    def compute(scores, heads, q, k, mask, log_sum_exp):
        return torch.exp(scores(q, k, mask) - log_sum_exp.transpose(1, 2)[..., None])

    return attention_cases("attention_weights", ["q", "k", "mask", "log_sum_exp"], compute)


def gather():
    draw = Numbers("gather")
    for rows, width, shape in [(1, 1, (1,)), (7, 5, (11,)), (13, 3, (3, 5)), (4, 6, ()), (3, 2, (2, 1, 300))]:
        yield Case({}, [draw.real(rows, width), draw.index(rows, *shape)], lambda table, index: F.embedding(index, table))


def philox(counter, key):
    """Philox 4×32 with 10 rounds (Salmon et al. 2011), on Python's whole numbers."""
    for _ in range(10):
        low, high = counter[0] * 0xD2511F53, counter[2] * 0xCD9E8D57
        counter = [high >> 32 ^ counter[1] ^ key[0], high & 0xFFFFFFFF, low >> 32 ^ counter[3] ^ key[1], low & 0xFFFFFFFF]
        key = [key[0] + 0x9E3779B9 & 0xFFFFFFFF, key[1] + 0xBB67AE85 & 0xFFFFFFFF]
    return counter


def dropout():
    """Inputs x and the two words of the key."""
    draw = Numbers("dropout")
    for p, noise, stream, shape in [
        (0.5, "element", 0, (3, 5, 7)),
        (0.1, "element", 12, (101,)),
        (0.9, "element", 2**40 + 7, (67,)),
        (0.0, "element", 1, (9,)),
        (1.0, "element", 1, (9,)),
        (0.3, "row", 3, (23, 2, 3)),
        (0.4, "channel", 4, (5, 7, 2, 3)),
        (0.5, "batch", 5, (4, 3)),
    ]:
        key = [0xFFFFFFFF - 1000 * stream & 0xFFFFFFFF, 0x89ABCDEF]
        axes = {"element": len(shape), "channel": 2, "row": 1, "batch": 0}[noise]
        draws = int(np.prod(shape[:axes], dtype=int))
        words = [philox([i // 4, 0, stream & 0xFFFFFFFF, stream >> 32], key)[i % 4] for i in range(draws)]
        kept = torch.tensor([word / 2**32 >= p for word in words]).reshape(shape[:axes] + (1,) * (len(shape) - axes))
        scale = 0.0 if p == 1 else 1 / (1 - p)
        attributes = {"p": p, "noise": noise, "stream": stream}
        yield Case(attributes, [draw.real(*shape), np.array(key)], lambda x, key: torch.where(kept, x * scale, 0 * x))


def adamw():
    """Inputs the parameter and the gradients of four steps; outputs the parameter and both moments after each step."""
    draw = Numbers("adamw")
    for betas, eps, weight_decay in [((0.9, 0.999), 1e-8, 0.01), ((0.9, 0.95), 1e-6, 0.0), ((0.5, 0.25), 0.1, 0.5), ((0.0, 0.0), 1e-8, 0.1)]:
        for rates in ([1e-3] * 4, [0.1, 0.03, 0.0, 0.02]):
            attributes = {"learning_rates": rates, "first_beta": betas[0], "second_beta": betas[1]}
            attributes |= {"eps": eps, "weight_decay": weight_decay}

            def compute(parameter, *gradients):
                parameter = parameter.clone().requires_grad_()
                optimiser = torch.optim.AdamW([parameter], 1.0, betas, eps, weight_decay)
                for rate, gradient in zip(rates, gradients):
                    optimiser.param_groups[0]["lr"] = rate
                    parameter.grad = gradient.clone()
                    optimiser.step()
                    state = optimiser.state[parameter]
                    yield parameter.detach().clone()
                    yield state["exp_avg"].clone()
                    yield state["exp_avg_sq"].clone()

            inputs = [draw.real(2, 5) for _ in range(5)]
            yield Case(attributes, inputs, lambda *tensors: tuple(compute(*tensors)), differentiated=0)


def ema():
    """Inputs a parameter at four steps; outputs its average after each."""
    draw = Numbers("ema")
    for decay in (0.9, 0.999, 0.25):

        def compute(*values):
            model = torch.nn.Module()
            model.weight = torch.nn.Parameter(torch.zeros_like(values[0]))
            averaged = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(decay))
            for value in values:
                model.weight.data = value.clone()
                averaged.update_parameters(model)
                yield averaged.module.weight.detach().clone()

        yield Case({"decay": decay}, [draw.real(2, 5) for _ in range(4)], lambda *values: tuple(compute(*values)), differentiated=0)


OPERATIONS = {
    "add": lambda: elementwise("add", torch.add),
    "sub": lambda: elementwise("sub", torch.sub),
    "mul": lambda: elementwise("mul", torch.mul),
    "div": lambda: elementwise("div", torch.div),
    "sum": lambda: reduction("sum", lambda x: x.sum(-1)),
    "mean": lambda: reduction("mean", lambda x: x.mean(-1)),
    "max": lambda: reduction("max", lambda x: x.max(-1).values),
    "argmax": lambda: reduction("argmax", lambda x: x.argmax(-1)),
    "matmul": matmul,
    "conv2d": conv2d,
    "conv1d": conv1d,
    "max_pool2d": max_pool2d,
    "avg_pool2d": avg_pool2d,
    "adaptive_max_pool2d": lambda: adaptive("adaptive_max_pool2d", lambda x, size: F.adaptive_max_pool2d(x, size, return_indices=True)),
    "adaptive_avg_pool2d": lambda: adaptive("adaptive_avg_pool2d", F.adaptive_avg_pool2d),
    "resize": resize,
    "batch_norm_training": lambda: batch_norm("batch_norm_training", True),
    "batch_norm_inference": lambda: batch_norm("batch_norm_inference", False),
    "relu": lambda: unary("relu", torch.relu),
    "sigmoid": lambda: unary("sigmoid", torch.sigmoid),
    "tanh": lambda: unary("tanh", torch.tanh),
    "silu": lambda: unary("silu", F.silu),
    "gelu": lambda: unary("gelu", F.gelu),
    "exp": exponential,
    "log": lambda: positive("log", torch.log),
    "sqrt": lambda: positive("sqrt", torch.sqrt),
    "clamp": clamp,
    "maximum": maximum,
    "layer_norm": layer_norm,
    "softmax": softmax,
    "log_softmax": log_softmax,
    "kl_divergence": lambda: divergence("kl_divergence", ife.kl),
    "js_divergence": lambda: divergence("js_divergence", ife.js),
    "softmax_js_divergence": softmax_js_divergence,
    "cross_entropy": cross_entropy,
    "bce_with_logits": bce_with_logits,
    "focal_loss": focal_loss,
    "asymmetric_loss": asymmetric_loss,
    "concat": concat,
    "slice": slice_,
    "permute": permute,
    "select": select,
    "clip_grad_norm": clip_grad_norm,
    "sgd": sgd,
    "attention": attention,
    "attention_weights": attention_weights,
    "gather": gather,
    "dropout": dropout,
    "adamw": adamw,
    "ema": ema,
}


# --------------------------------------------------------------------------------------------- the vectors


def tensor(array):
    return torch.from_numpy(array).double() if array.dtype == np.float32 else torch.from_numpy(array)


def vectors_of(case, op, number):
    """The tensors of one case by key, and its entry in ops.json."""
    inputs = [tensor(array) for array in case.inputs]
    wanted = [i for i, x in enumerate(inputs) if x.is_floating_point() and i not in case.constants]
    for i in wanted:
        inputs[i].requires_grad_(case.differentiated != 0)
    outputs = case.compute(*inputs)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    real = [output for output in outputs[: case.differentiated] if output.is_floating_point()]
    cotangents = [ife.hashed(f"{op}.{number}.cotangent.{i}", y.numel()).reshape(tuple(y.shape)) for i, y in enumerate(real)]
    gradients = torch.autograd.grad(real, [inputs[i] for i in wanted], [tensor(c) for c in cotangents]) if real else []
    wanted = wanted if real else []

    found = {f"input.{i}": array for i, array in enumerate(case.inputs)}
    found |= {f"output.{i}": output.detach().numpy() for i, output in enumerate(outputs)}
    found |= {f"cotangent.{i}": array for i, array in enumerate(cotangents)}
    found |= {f"grad.{i}": gradient.numpy() for i, gradient in zip(wanted, gradients)}
    entry = {"op": op, "case": number, "attributes": case.attributes}
    entry |= {"inputs": len(inputs), "outputs": len(outputs), "grads": wanted}
    return {f"case{number}.{key}": np.ascontiguousarray(array).reshape(array.shape) for key, array in found.items()}, entry


def make_operations():
    (HERE / "ops").mkdir(exist_ok=True)
    entries = []
    for op, cases in OPERATIONS.items():
        tensors = {}
        for number, case in enumerate(cases()):
            found, entry = vectors_of(case, op, number)
            tensors |= found
            entries.append(entry)
        save_file(tensors, HERE / "ops" / f"{op}.safetensors")
    lines = ",\n".join(json.dumps(entry) for entry in entries)
    (HERE / "ops.json").write_text(f"[\n{lines}\n]\n")


# Batches by name: the channels of the first stage, the input's shape (H and W unequal in every stage where not square),
# the labels. The regularisers treat negatives, single chains and pairs of chains differently, and a batch without pairs.
BATCHES = {
    "wide": (64, (3, 3, 96, 64), {"heavy": [0, 0, 2], "light": [0, 1, 2]}),
    "pairs": (8, (4, 3, 64, 64), {"heavy": [1, 0, 0, 3], "light": [2, 0, 1, 1]}),
    "no_pair": (8, (3, 3, 64, 96), {"heavy": [0, 0, 0], "light": [2, 0, 1]}),
}
RUNS = [
    *(("wide", share, mode) for share in (2, 3) for mode in ("train", "inference")),
    *(("pairs", share, "train") for share in (0, 1, 3, 4)),
    ("pairs", 3, "inference"),
    ("no_pair", 3, "train"),
]
STEP_RATES = (0.03, 0.02)


def probe(name, value):
    value = value.flatten().numpy()
    return [np.linalg.norm(value), value @ ife.hashed("probe." + name, len(value)).astype(np.float64)]


def points(_name, value):
    value = value.flatten().numpy()
    return [np.linalg.norm(value), value.sum(), value[0], value[len(value) // 2], value[-1]]


FAMILIES = {"state": points, "grad": probe, "tap": probe, "update": probe, "momentum": probe}


def summarised(result, families=FAMILIES):
    """The values of a run by name: each family of tensors as one table, the others as they are."""
    found = {name: value.numpy().copy() for name, value in result.items() if name.split(".")[0] not in families}
    for family, summary in families.items():
        names = sorted(name for name in result if name.startswith(f"{family}."))
        if names:
            found[family] = np.array([summary(name.removeprefix(f"{family}."), result[name]) for name in names])
    return found


def given(batch, variant, share):
    """Parameters, input and labels."""
    width, shape, labels = BATCHES[batch]
    shapes = ife.shapes_taking_part(variant, share, width)
    parameters = {name: ife.hashed_parameter(name, shape).double() for name, shape in shapes.items()}
    x = tensor(ife.hashed("x", int(np.prod(shape))).reshape(shape))
    return parameters, x, {task: torch.tensor(values) for task, values in labels.items()}


def make_ife():
    tensors = {}
    for batch, (width, shape, labels) in BATCHES.items():
        tensors |= {f"{batch}.width": np.array(width), f"{batch}.shape": np.array(shape)}
        tensors |= {f"{batch}.{task}": np.array(values) for task, values in labels.items()}
    for variant in ife.FACTORS:
        for batch, share, mode in RUNS:
            parameters, x, labels = given(batch, variant, share)
            result = ife.run(parameters, x, labels, variant, share, mode == "train")
            found = summarised(result)
            tensors |= {f"{batch}.{variant}.share{share}.{mode}.{name}": value for name, value in found.items()}
        steps = ife.train(*given("pairs", variant, 3), variant, 3, STEP_RATES)
        for k, result in enumerate(steps, start=1):
            assert result["square_norm"] > ife.CLIP_NORM**2, "nothing is clipped"
            found = summarised(result)
            tensors |= {f"pairs.{variant}.share3.step{k}.{name}": value for name, value in found.items()}
    save_file(tensors, HERE / "ife.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    make_operations()
    make_ife()
