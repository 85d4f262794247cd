"""Other spellings of keys -> the official ones: older files, other transformers versions, CompVis' single file."""
from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

from .read import OfficialFiles

if TYPE_CHECKING:
    from ..models.unet import UNet
    from ..models.vae import VAE

# Older files have other names for the VAE's attention.
OLD_VAE_ATTENTION = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}


def unet_names(files: OfficialFiles, unet: UNet) -> dict[str, Tensor]:
    """The UNet's tensors under official names."""
    return from_compvis(files.unet, compvis_unet_names(unet)) if files.layout == "compvis" else files.unet


def vae_names(files: OfficialFiles, vae: VAE) -> dict[str, Tensor]:
    """The VAE's tensors under official names. Its attention's convolutions (C, C, 1, 1) become linear layers (C, C)."""
    tensors = from_compvis(files.vae, compvis_vae_names(vae)) if files.layout == "compvis" else files.vae
    renamed = {}
    for key, value in tensors.items():
        for old, new in OLD_VAE_ATTENTION.items():
            key = key.replace(old, new)
        linear = re.search(r"attentions\.\d+\.to_(q|k|v|out\.0)\.weight$", key)
        renamed[key] = value.flatten(1) if linear else value
    return renamed


def text_names(files: OfficialFiles, model: nn.Module) -> dict[str, Tensor]:
    """The text encoder's tensors but position_ids, named as this version of transformers does (text_model. or not)."""
    prefix = "text_model." if any(key.startswith("text_model.") for key in model.state_dict()) else ""
    return {prefix + key.removeprefix("text_model."): value for key, value in files.text.items()
            if not key.endswith("position_ids")}


def from_compvis(tensors: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Tensors under official names, for names = {official key: CompVis key}. A key that no name fits stays as it is."""
    official = {theirs: ours for ours, theirs in names.items()}
    return {official.get(key, key): value for key, value in tensors.items()}


RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1",
          "norm2": "out_layers.0", "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}


def compvis_unet_names(unet: UNet) -> dict[str, str]:
    """{official key: CompVis key}. CompVis numbers all blocks of the way down, and up, in one list."""
    layers = len(next(iter(unet.down_blocks)).resnets)
    prefixes = {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
                "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
                "mid_block.resnets.0": "middle_block.0", "mid_block.attentions.0": "middle_block.1",
                "mid_block.resnets.1": "middle_block.2"}
    for i in range(len(unet.down_blocks)):
        for j in range(layers):
            prefixes[f"down_blocks.{i}.resnets.{j}"] = f"input_blocks.{1 + (layers + 1) * i + j}.0"
            prefixes[f"down_blocks.{i}.attentions.{j}"] = f"input_blocks.{1 + (layers + 1) * i + j}.1"
        prefixes[f"down_blocks.{i}.downsamplers.0.conv"] = f"input_blocks.{(layers + 1) * (i + 1)}.0.op"
    for i, level in enumerate(unet.up_blocks):
        for j in range(layers + 1):
            prefixes[f"up_blocks.{i}.resnets.{j}"] = f"output_blocks.{(layers + 1) * i + j}.0"
            prefixes[f"up_blocks.{i}.attentions.{j}"] = f"output_blocks.{(layers + 1) * i + j}.1"
        after = 2 if len(level.attentions) else 1
        prefixes[f"up_blocks.{i}.upsamplers.0.conv"] = f"output_blocks.{(layers + 1) * i + layers}.{after}.conv"
    return {key: _compvis_key(key, prefixes, RESNET) for key in unet.state_dict()}


def compvis_vae_names(vae: VAE) -> dict[str, str]:
    """{official key: CompVis key}. CompVis counts the decoder's levels from the finest."""
    prefixes = {}
    for side in ("encoder", "decoder"):
        middle = {"mid_block.resnets.0": "mid.block_1", "mid_block.attentions.0": "mid.attn_1",
                  "mid_block.resnets.1": "mid.block_2", "conv_norm_out": "norm_out"}
        prefixes.update({f"{side}.{ours}": f"{side}.{theirs}" for ours, theirs in middle.items()})
    for i, level in enumerate(vae.encoder.down_blocks):
        for j in range(len(level.resnets)):
            prefixes[f"encoder.down_blocks.{i}.resnets.{j}"] = f"encoder.down.{i}.block.{j}"
        prefixes[f"encoder.down_blocks.{i}.downsamplers.0.conv"] = f"encoder.down.{i}.downsample.conv"
    for i, level in enumerate(vae.decoder.up_blocks):
        reverse = len(vae.decoder.up_blocks) - 1 - i
        for j in range(len(level.resnets)):
            prefixes[f"decoder.up_blocks.{i}.resnets.{j}"] = f"decoder.up.{reverse}.block.{j}"
        prefixes[f"decoder.up_blocks.{i}.upsamplers.0.conv"] = f"decoder.up.{reverse}.upsample.conv"
    names = {"conv_shortcut": "nin_shortcut", "group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v",
             "to_out.0": "proj_out"}
    return {key: _compvis_key(key, prefixes, names) for key in vae.state_dict()}


def _compvis_key(key: str, prefixes: Mapping[str, str], inner: Mapping[str, str]) -> str:
    """Replace the longest known prefix of an official key, then the name of the layer within a residual block."""
    prefix = max((p for p in prefixes if key.startswith(p + ".")), key=len, default=None)
    if prefix is None:
        return key
    rest = key.removeprefix(prefix + ".")
    layer, parameter = rest.rsplit(".", 1) if "." in rest else ("", rest)
    layer = inner.get(layer, layer)
    return ".".join(part for part in (prefixes[prefix], layer, parameter) if part)
