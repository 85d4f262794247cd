"""Other spellings of the official keys: older files, other versions of transformers, and CompVis' single file."""
import re

# Older files name the attention of the VAE otherwise.
OLD_VAE_ATTENTION = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}


def rename_vae(tensors):
    """Old attention names to new ones; 1x1 convolutions (C, C, 1, 1) to linear layers (C, C)."""
    renamed = {}
    for key, value in tensors.items():
        for old, new in OLD_VAE_ATTENTION.items():
            key = key.replace(old, new)
        linear = re.search(r"attentions\.\d+\.to_(q|k|v|out\.0)\.weight$", key)
        renamed[key] = value.flatten(1) if linear else value
    return renamed


def rename_text(tensors, model):
    """With or without the text_model. prefix, whichever this version of transformers wants; no position_ids."""
    prefix = "text_model." if any(key.startswith("text_model.") for key in model.state_dict()) else ""
    return {prefix + key.removeprefix("text_model."): value for key, value in tensors.items()
            if not key.endswith("position_ids")}


def from_compvis(tensors, prefix, names):
    """{our key: tensor}, names = {our key: CompVis key}; what is left over stays in under its own name."""
    theirs = {v: k for k, v in names.items()}
    return {theirs.get(key.removeprefix(prefix), key): value for key, value in tensors.items()
            if key.startswith(prefix) and not key.startswith(prefix + "loss.")}


RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1",
          "norm2": "out_layers.0", "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}


def compvis_unet_names(unet):
    """{official key: CompVis key}. CompVis numbers all blocks of the way down, and up, in one list."""
    layers = len(unet.down_blocks[0].resnets)
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


def compvis_vae_names(vae):
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


def _compvis_key(key, prefixes, inner):
    """Replace the longest known prefix of an official key, then the name of the layer within a residual block."""
    prefix = max((p for p in prefixes if key.startswith(p + ".")), key=len, default=None)
    if prefix is None:
        return key
    rest = key.removeprefix(prefix + ".")
    layer, parameter = rest.rsplit(".", 1) if "." in rest else ("", rest)
    layer = inner.get(layer, layer)
    return ".".join(part for part in (prefixes[prefix], layer, parameter) if part)
