"""Makes vit.safetensors: values and gradients of small vision transformers, computed by torchvision and timm in f64.

The sizes are small, everything else is as published. Parameters and input are not stored: they are `start(name, shape)`
below and `hashed("x", …)` of ife.py, rounded to f32. For each case the file holds, under `<case>.`:

    y                     the result
    attention             the weights of the second block (timm's names only)
    patch_tokens          normalised
    grad.<name>           of Σ y·cotangent, cotangent = hashed("dy", …), for x and every parameter: its norm, and its
                          product with hashed("probe.<name>")

Run it with: python tests/golden/vit.py. Made with torch 2.15, torchvision 0.29, timm 1.0.
"""

import math
from pathlib import Path

import torch
from ife import hashed
from safetensors.torch import save_file
from timm.layers import SwiGLUPacked
from timm.models.vision_transformer import VisionTransformer as TimmTransformer
from torchvision.models import VisionTransformer as TorchvisionTransformer

WIDTH, DEPTH, HEADS, CLASSES = 24, 3, 3, 5
TIMM = dict(embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS)
GATED = dict(mlp_layer=SwiGLUPacked, act_layer=torch.nn.SiLU, mlp_ratio=128 / 24)  # 64 = ⅔ · 4 · 24 hidden channels
CASES = {
    "vit_b_16": ([2, 3, 32, 32], lambda: TorchvisionTransformer(32, 16, DEPTH, HEADS, WIDTH, 4 * WIDTH, num_classes=CLASSES)),
    "deit_tiny_patch16_224": ([2, 3, 48, 32], lambda: TimmTransformer((48, 32), 16, num_classes=CLASSES, **TIMM)),
    "dinov2_vits14": ([2, 3, 28, 42], lambda: TimmTransformer((28, 42), 14, num_classes=0, init_values=1, **TIMM)),
    "dinov2_vitg14": ([2, 3, 28, 42], lambda: TimmTransformer((28, 42), 14, num_classes=0, init_values=1, **TIMM, **GATED)),
}


def start(name, shape):
    centre, radius = 0.0, 0.2
    if name.endswith(".gamma"):
        centre = 0.5
    elif len(shape) == 1 and name.endswith(".weight"):
        centre = 1.0
    elif len(shape) == 3:  # tokens and positions
        radius = 0.5
    elif len(shape) > 1:
        radius = math.sqrt(3 / math.prod(shape[1:]))
    return numbers(name, shape, centre, radius)


def numbers(name, shape, centre=0.0, radius=1.0):
    return torch.from_numpy(hashed(name, math.prod(shape), centre, radius).reshape(shape)).double()


def run(case, shape, model):
    def ours(name):
        gated = case == "dinov2_vitg14"  # DINOv2's own names for what timm calls fc1 and fc2
        return name.replace("fc1", "w12").replace("fc2", "w3") if gated else name

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(start(ours(name), parameter.shape))
    kept = {}
    norm = model.encoder.ln if case == "vit_b_16" else model.norm
    norm.register_forward_hook(lambda _module, _inputs, output: kept.update(norm=output))
    if case != "vit_b_16":
        model.blocks[1].attn.qkv.register_forward_hook(lambda _module, _inputs, output: kept.update(qkv=output))
    x = numbers("x", shape).requires_grad_()
    y = model(x)
    (y * numbers("dy", y.shape)).sum().backward()
    results = {"y": y, "patch_tokens": kept["norm"][:, 1:]}
    if "qkv" in kept:
        samples, tokens, _ = kept["qkv"].shape
        q, k, _v = kept["qkv"].reshape(samples, tokens, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        results["attention"] = (q @ k.transpose(2, 3) / math.sqrt(WIDTH / HEADS)).softmax(3)
    gradients = {"x": x.grad} | {ours(name): parameter.grad for name, parameter in model.named_parameters()}
    for name, gradient in gradients.items():
        probe = numbers(f"probe.{name}", gradient.shape)
        results[f"grad.{name}"] = torch.stack([gradient.norm(), (gradient * probe).sum()])
    return {f"{case}.{name}": value.detach().contiguous() for name, value in results.items()}


def main():
    torch.set_num_threads(1)
    vectors = {}
    for case, (shape, make) in CASES.items():
        vectors |= run(case, shape, make().double().eval())
    save_file(vectors, Path(__file__).with_name("vit.safetensors"))


if __name__ == "__main__":
    main()
