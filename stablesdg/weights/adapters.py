"""Files of adapters. Three LoRA formats are read. One is written: kohya's, which diffusers, ComfyUI and A1111 read.

An embedding file holds one tensor (n, C), and its key is the token.
"""
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..storage.errors import UserError
from ..storage.files import read_json
from ..storage.tensors import load_tensors, save_tensors

GENERIC_TOKENS = ("emb_params", "emp_params", "clip_l", "*")  # keys that other tools use for every token
MOST_SHOWN = 10  # an error names so many strange keys at most
ENDINGS = (  # kohya | diffusers | PEFT | diffusers before 0.18
    (re.compile(r"(\.lora_down|\.lora\.down|\.lora_linear_layer\.down|\.lora_A|\.lora_A\.default|_lora\.down)"
                r"\.weight$"), "A"),
    (re.compile(r"(\.lora_up|\.lora\.up|\.lora_linear_layer\.up|\.lora_B|\.lora_B\.default|_lora\.up)"
                r"\.weight$"), "B"),
    (re.compile(r"\.alpha$"), "alpha"),
)
PREFIX = re.compile(r"^(lora_unet_|lora_te1?_|unet\.|text_encoder\.|base_model\.model\.)+")


class LayerName(NamedTuple):
    """A linear layer by its official name. Names of the text encoder always start with text_model."""
    part: str  # "unet" or "text"
    name: str


class Factors(NamedTuple):
    """What a LoRA holds for one layer."""
    A: Tensor  # (r, k)
    B: Tensor  # (d, r)
    alpha: float


def read_embedding(path: Path) -> tuple[str, Tensor]:
    """(token, v_d (n, C)). The token is the file's only key, or the file's name if a tool writes one key for all."""
    tensors, _ = load_tensors(path)
    if len(tensors) != 1:
        raise UserError(f"{path} holds {len(tensors)} tensors, but an embedding file has one: the vectors of a token.")
    (token, vectors), = tensors.items()
    return path.stem if token in GENERIC_TOKENS else token, vectors if vectors.ndim == 2 else vectors[None]


def save_lora(path: Path, layers: Mapping[LayerName, Factors], metadata: Mapping[str, str]) -> None:
    """Write a LoRA with kohya's names, an alpha for each layer, and metadata."""
    tensors = {}
    for key, (A, B, alpha) in layers.items():
        prefix = ("lora_unet_" if key.part == "unet" else "lora_te_") + key.name.replace(".", "_")
        tensors[f"{prefix}.lora_down.weight"] = A
        tensors[f"{prefix}.lora_up.weight"] = B
        tensors[f"{prefix}.alpha"] = torch.tensor(float(alpha))
    first = next(iter(layers.values()))
    save_tensors(path, tensors, {"ss_network_module": "networks.lora", "ss_network_dim": str(len(first.A)),
                                 "ss_network_alpha": str(float(first.alpha)), **metadata})


def read_lora(path: Path, layers: Mapping[LayerName, nn.Linear]) -> dict[LayerName, Factors]:
    """Read a LoRA in kohya's, diffusers' or PEFT's spelling, for these linear layers.

    Raises UserError if the file names any other layer, if a shape does not fit, or if it is no plain LoRA.
    """
    tensors, metadata = load_tensors(path)
    by_name = {}  # underscored name -> layer; text layers with and without their text_model_
    for key in layers:
        by_name[key.name.replace(".", "_")] = key
        by_name[key.name.removeprefix("text_model.").replace(".", "_")] = key

    found: dict[LayerName, dict[str, Tensor]] = {}
    strange = []
    for key, tensor in tensors.items():
        ending, kind = next(((m, kind) for pattern, kind in ENDINGS if (m := pattern.search(key))), (None, ""))
        name = PREFIX.sub("", key[:ending.start()] if ending else key)
        name = name.replace(".processor.to_out", ".to_out.0").replace(".processor", "").replace(".", "_")
        if ending is None or name not in by_name or (kind != "alpha" and tensor.ndim != 2):
            strange.append(key)
        else:
            found.setdefault(by_name[name], {})[kind] = tensor
    strange += [f"{part} {name} without lora_down or lora_up" for (part, name), f in found.items()
                if not {"A", "B"} <= set(f)]
    if strange or not found:
        shown = "\n  ".join(strange[:MOST_SHOWN]
                            + [f".. and {len(strange) - MOST_SHOWN} more"] * (len(strange) > MOST_SHOWN))
        raise UserError(f"{path} is not a LoRA for the linear layers of these weights (convolutions are not "
                        f"supported); it holds\n  {shown or 'nothing'}\n"
                        "Train it again on these weights, or pass the weights that it belongs to.")
    for key, f in found.items():
        k, d = layers[key].in_features, layers[key].out_features
        if f["A"].shape[1] != k or f["B"].shape != (d, len(f["A"])):
            raise UserError(f"The LoRA does not fit these weights at {key.name}: A {tuple(f['A'].shape)} and "
                            f"B {tuple(f['B'].shape)} do not fit a layer of {k} inputs and {d} outputs.")
    return {key: Factors(f["A"], f["B"], _alpha(path, metadata, key.part, f)) for key, f in found.items()}


def _alpha(path: Path, metadata: Mapping[str, str], part: str, factors: Mapping[str, Tensor]) -> float:
    """The file's alpha: a tensor (kohya), the header (diffusers), adapter_config.json (PEFT), or else the rank."""
    if "alpha" in factors:
        return float(factors["alpha"])
    beside = path.parent / "adapter_config.json"
    try:
        config = dict(json.loads(metadata.get("lora_adapter_metadata", "{}")))
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} has damaged metadata ({error}): fetch or make it again.") from None
    config = {key.removeprefix("unet." if part == "unet" else "text_encoder."): value for key, value in config.items()}
    if "lora_alpha" not in config and path.name.startswith("adapter_model") and beside.is_file():
        config = read_json(beside)
    if any(config.get(key) for key in ("use_rslora", "use_dora", "alpha_pattern")):
        raise UserError(f"{path} uses rsLoRA, DoRA or an alpha for each layer, which are not supported: "
                        "save it as a plain LoRA.")
    return float(config.get("lora_alpha", len(factors["A"])))
