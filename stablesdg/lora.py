"""Low-rank adaptation, eq. (4): W0 + (alpha / r) B A, with W0 frozen (Hu et al. 2021).

    W0      (d, k)  the weight of a linear layer
    A, B    (r, k), (d, r)  what is learned; A is Gaussian and B is zero at the start
    r       rank; 1 in the paper
    alpha   B A counts alpha / r times; alpha = r in the paper
"""
from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .weights.adapters import Factors, LayerName

if TYPE_CHECKING:
    from .models.stable_diffusion import StableDiffusion

# "Each dense layer" of "all the attention layers": 128 in SD v1.5's UNet, 48 in its text encoder.
UNET_TARGETS = re.compile(r"\.attn[12]\.(to_q|to_k|to_v|to_out\.0)$")
TEXT_TARGETS = re.compile(r"\.self_attn\.(q_proj|k_proj|v_proj|out_proj)$")


class LoRALinear(nn.Module):
    """A frozen linear layer plus (alpha / r) B A. A and B are kept in float32 or finer."""

    def __init__(self, base: nn.Linear, A: Tensor, B: Tensor, alpha: float) -> None:
        super().__init__()
        self.base = base
        self.A = nn.Parameter(A)
        self.B = nn.Parameter(B)
        self.alpha = alpha
        self.multiplier = 1.0  # how much of the adapter acts; 0 leaves the base layer

    def forward(self, x: Tensor) -> Tensor:
        """x (.., k) -> (.., d)."""
        y = self.base(x)
        if self.multiplier == 0:
            return y
        B = self.multiplier * self.alpha / len(self.A) * self.B  # scaled here, because B is small
        return y + F.linear(F.linear(x, self.A.to(x.dtype)), B.to(x.dtype))


def linear_layers(sd: StableDiffusion) -> dict[LayerName, nn.Linear]:
    """{official name: original layer} for all linear layers of text encoder and UNet, adapted or not."""
    layers = {}
    for part, model in (("unet", sd.unet), ("text", sd.text.model)):
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear):
                name = name.removesuffix(".base")  # the layer inside a LoRALinear
                if part == "text" and not name.startswith("text_model."):  # some versions of transformers leave it out
                    name = "text_model." + name
                layers[LayerName(part, name)] = module
    return layers


def inject(sd: StableDiffusion, rank: int, alpha: float | None = None, seed: int = 0) -> dict[LayerName, LoRALinear]:
    """Adapt all attention layers of text encoder and UNet, with A ~ N(0, (1 / r)^2) and B = 0. Returns the new layers.

    B = 0 lets training start from the pretrained model.
    """
    generator = torch.Generator().manual_seed(seed)
    factors = {}
    for key, layer in linear_layers(sd).items():
        if (UNET_TARGETS if key.part == "unet" else TEXT_TARGETS).search(key.name):
            A = torch.randn(rank, layer.in_features, generator=generator) / rank
            factors[key] = Factors(A, torch.zeros(layer.out_features, rank), rank if alpha is None else alpha)
    return wrap(sd, factors)


def wrap(sd: StableDiffusion, factors: Mapping[LayerName, Factors]) -> dict[LayerName, LoRALinear]:
    """Put LoRALinear layers with these factors into the models."""
    layers, wrapped = linear_layers(sd), {}
    for key, (A, B, alpha) in factors.items():
        base = layers[key]
        dtype = torch.promote_types(base.weight.dtype, torch.float32)
        wrapped[key] = LoRALinear(base, A.to(base.weight.device, dtype), B.to(base.weight.device, dtype), alpha)
        _set_layer(sd, key, wrapped[key])
    return wrapped


def remove(sd: StableDiffusion) -> None:
    """Put the original layers back."""
    for key, base in linear_layers(sd).items():
        _set_layer(sd, key, base)


def _set_layer(sd: StableDiffusion, key: LayerName, layer: nn.Module) -> None:
    model = sd.unet if key.part == "unet" else sd.text.model
    model.set_submodule(key.name if hasattr(model, key.name.split(".")[0]) else key.name.removeprefix("text_model."),
                        layer)
