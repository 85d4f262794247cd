"""Low-rank adaptation (Hu et al. 2021; eq. 4 of the paper): W0 + (alpha / r) B A, W0 frozen.

One file format is written (kohya names, which diffusers, ComfyUI and A1111 read too) and three are read.
"""
import json
import re

import torch
from torch import nn
from torch.nn import functional as F

from .files import UserError, load_tensors, save_tensors

# Every dense layer of the attention layers: 128 in SD v1.5's UNet, 48 in its text encoder.
UNET_TARGETS = re.compile(r"\.attn[12]\.(to_q|to_k|to_v|to_out\.0)$")
TEXT_TARGETS = re.compile(r"\.self_attn\.(q_proj|k_proj|v_proj|out_proj)$")


class LoRALinear(nn.Module):
    """A frozen linear layer plus scale * B A, scale = alpha / r. A (r, k), B (d, r), float32 or finer."""

    def __init__(self, base, A, B, alpha):
        super().__init__()
        if A.shape != (len(A), base.in_features) or B.shape != (base.out_features, len(A)):
            raise ValueError(f"A {tuple(A.shape)} and B {tuple(B.shape)} do not fit a layer of "
                             f"{base.in_features} inputs and {base.out_features} outputs")
        self.base = base
        self.A = nn.Parameter(A)
        self.B = nn.Parameter(B)
        self.alpha = alpha
        self.multiplier = 1.0  # how much of the adapter acts: 0 is the base layer

    def forward(self, x):
        y = self.base(x)
        if self.multiplier == 0:
            return y
        scale = self.multiplier * self.alpha / len(self.A)
        return y + scale * F.linear(F.linear(x, self.A.to(x.dtype)), self.B.to(x.dtype))


def initial_factors(layer, rank, generator):
    """A ~ N(0, (1/r)^2), drawn on the CPU; B = 0, so that training starts from the pretrained model."""
    dtype = torch.promote_types(layer.weight.dtype, torch.float32)
    A = torch.randn(rank, layer.in_features, generator=generator) / rank
    return A.to(layer.weight.device, dtype), torch.zeros(layer.out_features, rank, device=layer.weight.device, dtype=dtype)


def linear_layers(sd):
    """{("unet" or "text", name): layer} for every linear layer of both models, under its official name.

    Text names always start with text_model., which some versions of transformers leave out.
    """
    layers = {}
    for part, model in (("unet", sd.unet), ("text", sd.text.model)):
        for name, module in model.named_modules():
            if isinstance(module, (nn.Linear, LoRALinear)) and not name.endswith(".base"):
                if part == "text" and not name.startswith("text_model."):
                    layers[part, "text_model." + name] = (model, name, module)
                else:
                    layers[part, name] = (model, name, module)
    return layers


def inject(sd, rank, alpha=None, seed=0):
    """Wrap all attention layers of the text encoder and the UNet. Returns {(part, name): LoRALinear}."""
    generator = torch.Generator().manual_seed(seed)
    targets = {key: layer for key, (_, _, layer) in linear_layers(sd).items()
               if (UNET_TARGETS if key[0] == "unet" else TEXT_TARGETS).search(key[1])}
    alpha = rank if alpha is None else alpha
    return _wrap(sd, {key: (*initial_factors(layer, rank, generator), alpha) for key, layer in targets.items()})


def _wrap(sd, factors):
    """{(part, name): (A, B, alpha)} into place."""
    layers, wrapped = linear_layers(sd), {}
    for key, (A, B, alpha) in factors.items():
        model, name, layer = layers[key]
        dtype = torch.promote_types(layer.weight.dtype, torch.float32)
        try:
            wrapped[key] = LoRALinear(layer, A.to(layer.weight.device, dtype), B.to(layer.weight.device, dtype), alpha)
        except ValueError as error:
            raise UserError(f"The LoRA does not fit these weights at {key[1]}: {error}.") from None
        model.set_submodule(name, wrapped[key])
    return wrapped


def remove(sd):
    """Put the original layers back."""
    for model, name, layer in linear_layers(sd).values():
        if isinstance(layer, LoRALinear):
            model.set_submodule(name, layer.base)


def kohya_name(part, name):
    return ("lora_unet_" if part == "unet" else "lora_te_") + name.replace(".", "_")


def save(path, wrapped, metadata):
    """Write {(part, name): LoRALinear} with kohya's names, an alpha for each, and metadata of strings."""
    tensors = {}
    for (part, name), layer in wrapped.items():
        prefix = kohya_name(part, name)
        tensors[f"{prefix}.lora_down.weight"] = layer.A
        tensors[f"{prefix}.lora_up.weight"] = layer.B
        tensors[f"{prefix}.alpha"] = torch.tensor(float(layer.alpha))
    layer = next(iter(wrapped.values()))
    save_tensors(path, tensors, {"ss_network_module": "networks.lora", "ss_network_dim": str(len(layer.A)),
                                 "ss_network_alpha": str(float(layer.alpha)), **metadata})


ENDINGS = (  # kohya | diffusers | PEFT | diffusers before 0.18
    (re.compile(r"(\.lora_down|\.lora\.down|\.lora_linear_layer\.down|\.lora_A|\.lora_A\.default|_lora\.down)\.weight$"), "A"),
    (re.compile(r"(\.lora_up|\.lora\.up|\.lora_linear_layer\.up|\.lora_B|\.lora_B\.default|_lora\.up)\.weight$"), "B"),
    (re.compile(r"\.alpha$"), "alpha"),
)
PREFIX = re.compile(r"^(lora_unet_|lora_te1?_|unet\.|text_encoder\.|base_model\.model\.)+")


def load(sd, path):
    """Wrap the layers that a LoRA file names, in kohya's, diffusers' or PEFT's spelling. Returns them as inject does."""
    tensors, metadata = load_tensors(path)
    by_name = {}  # underscored name -> (part, name); text layers with and without their text_model_
    for part, name in linear_layers(sd):
        by_name[name.replace(".", "_")] = (part, name)
        by_name[name.removeprefix("text_model.").replace(".", "_")] = (part, name)

    found, strange = {}, []
    for key, tensor in tensors.items():
        ending, kind = next(((m, kind) for pattern, kind in ENDINGS if (m := pattern.search(key))), (None, None))
        if ending is None:
            strange.append(key)
            continue
        name = PREFIX.sub("", key[:ending.start()]).replace(".processor.to_out", ".to_out.0").replace(".processor", "")
        target = by_name.get(name.replace(".", "_"))
        if target is None or (kind != "alpha" and tensor.ndim != 2):
            strange.append(key)
        else:
            found.setdefault(target, {})[kind] = tensor
    strange += [f"{part} {name} without lora_down or lora_up" for (part, name), f in found.items() if not {"A", "B"} <= set(f)]
    if strange or not found:
        shown = "\n  ".join(strange[:10] + [f".. and {len(strange) - 10} more"] * (len(strange) > 10))
        raise UserError(f"{path} is not a LoRA for the linear layers of these weights (convolutions are not supported); "
                        f"it holds\n  {shown or 'nothing'}\n"
                        "Train it again on them, or pass the weights that it belongs to.")
    return _wrap(sd, {key: (f["A"], f["B"], _alpha(path, metadata, key[0], f)) for key, f in found.items()})


def _alpha(path, metadata, part, factors):
    """The file's alpha: a tensor (kohya), the header (diffusers), adapter_config.json (PEFT), or else the rank."""
    if "alpha" in factors:
        return float(factors["alpha"])
    beside = path.parent / "adapter_config.json"
    config = json.loads(metadata.get("lora_adapter_metadata", "{}"))
    config = {key.removeprefix("unet." if part == "unet" else "text_encoder."): value for key, value in config.items()}
    if "lora_alpha" not in config and path.name.startswith("adapter_model") and beside.is_file():
        config = json.loads(beside.read_text())
    if any(config.get(key) for key in ("use_rslora", "use_dora", "alpha_pattern")):
        raise UserError(f"{path} uses rsLoRA, DoRA or an alpha for each layer, which are not supported: "
                        "save it as a plain LoRA.")
    return float(config.get("lora_alpha", len(factors["A"])))
