"""config.json -> arguments of our models. A setting that is not implemented is refused by name."""
from pathlib import Path
from typing import Any

from ..storage.errors import UserError

# The text encoder of Stable Diffusion v1.5. For UNet and VAE its sizes are the defaults of our classes.
SD15_TEXT = dict(vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12,
                 num_attention_heads=12, max_position_embeddings=77, hidden_act="quick_gelu", layer_norm_eps=1e-5)

# .._SIZES are taken from config.json. .._ONLY holds settings for which this value alone is implemented.
UNET_SIZES = ("in_channels", "out_channels", "block_out_channels", "layers_per_block", "attention_head_dim",
              "cross_attention_dim", "down_block_types", "up_block_types", "norm_num_groups", "sample_size")
UNET_ONLY = dict(act_fn="silu", downsample_padding=1, flip_sin_to_cos=True, freq_shift=0, norm_eps=1e-5,
                 mid_block_type="UNetMidBlock2DCrossAttn", mid_block_scale_factor=1, transformer_layers_per_block=1,
                 resnet_time_scale_shift="default", resnet_out_scale_factor=1.0, attention_type="default",
                 time_embedding_type="positional", conv_in_kernel=3, conv_out_kernel=3)
VAE_SIZES = ("in_channels", "out_channels", "latent_channels", "block_out_channels", "layers_per_block",
             "norm_num_groups", "scaling_factor", "mid_block_add_attention")
VAE_ONLY = dict(act_fn="silu", use_quant_conv=True, use_post_quant_conv=True)
# These have no effect on the result, whatever they say.
IGNORED = ("addition_embed_type_num_heads", "addition_time_embed_dim", "upcast_attention", "force_upcast",
           "sample_size")
UNET_BLOCKS = {"DownBlock2D", "CrossAttnDownBlock2D", "UpBlock2D", "CrossAttnUpBlock2D"}
VAE_BLOCKS = {"DownEncoderBlock2D", "UpDecoderBlock2D"}
BETA_SCHEDULES = ("scaled_linear", "linear")  # of diffusion.alpha_bar_table
ONLY_SD1 = "which is not implemented: only the architecture of Stable Diffusion v1 is"


def unet_arguments(config: dict[str, Any], where: Path) -> dict[str, Any]:
    """The arguments of UNet from unet/config.json."""
    sizes = _sizes(config, UNET_SIZES, UNET_ONLY, where)
    strange = {*sizes.get("down_block_types", ()), *sizes.get("up_block_types", ())} - UNET_BLOCKS
    if strange or not isinstance(sizes.get("attention_head_dim", 8), int):
        wish = ", ".join(sorted(strange)) or "a number of heads for each level"
        raise UserError(f"{where}/config.json asks for {wish}, {ONLY_SD1}.")
    return sizes


def vae_arguments(config: dict[str, Any], where: Path) -> dict[str, Any]:
    """The arguments of VAE from vae/config.json."""
    strange = {*config.get("down_block_types", ()), *config.get("up_block_types", ())} - VAE_BLOCKS
    if strange:
        raise UserError(f"{where}/config.json asks for {', '.join(sorted(strange))}, {ONLY_SD1}.")
    rest = {key: value for key, value in config.items() if key not in ("down_block_types", "up_block_types")}
    return _sizes(rest, VAE_SIZES, VAE_ONLY, where)


def require_sd1_schedule(scheduler: dict[str, Any], where: Path) -> None:
    """Raise UserError if scheduler_config.json asks for another process than Stable Diffusion v1's."""
    if scheduler.get("prediction_type", "epsilon") != "epsilon" or scheduler.get("trained_betas"):
        raise UserError(f"{where} has a scheduler with another prediction_type than epsilon or with trained_betas: "
                        "only the process of Stable Diffusion v1 is implemented.")
    if (schedule := scheduler.get("beta_schedule", BETA_SCHEDULES[0])) not in BETA_SCHEDULES:
        raise UserError(f"{where} has a scheduler with beta_schedule {schedule}, and {' and '.join(BETA_SCHEDULES)} "
                        "alone are implemented: pass weights of Stable Diffusion v1.")


def _sizes(config: dict[str, Any], names: tuple[str, ...], only: dict[str, Any], where: Path) -> dict[str, Any]:
    for key, value in config.items():
        if key.startswith("_") or key in names or key in IGNORED:
            continue
        implemented = value == only[key] if key in only else not value  # a setting we do not know must be off
        if not implemented:
            raise UserError(f"{where}/config.json says {key} = {value!r}, {ONLY_SD1}.")
    return {key: config[key] for key in names if key in config}
