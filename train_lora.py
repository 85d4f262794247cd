"""Network parameter adaptation, eq. (4): W0 + BA of rank r in all attention layers of text encoder and UNet.

    python train_lora.py --rank 1 --data neu/Pa        # -> runs/neu/Pa/lora.safetensors

Uses the token embedding v_d* of the same run folder, fixed. --full trains every parameter of both networks instead
(the paper's full adaptation) and writes full.safetensors.
"""
from __future__ import annotations

from typing import TYPE_CHECKING

from stablesdg.app.command_line import add_training, parser, positive, run_main
from stablesdg.storage.errors import UserError

if TYPE_CHECKING:
    from stablesdg.app.training import TrainingSettings

LEARNING_RATE = 1e-4  # Adam's, the paper's


def main(argv: list[str] | None = None) -> None:
    p = parser(__doc__, "python train_lora.py --rank 1 --data neu/Pa")
    add_training(p, LEARNING_RATE)
    method = p.add_argument_group("method")
    method.add_argument("--rank", type=positive, default=1, help="r, the rank of BA")
    method.add_argument("--alpha", type=float, help="BA is scaled by alpha / r (default: the rank)")
    method.add_argument("--full", action="store_true", help="adapt all parameters rather than BA")
    args = p.parse_args(argv)
    if args.full and (args.rank != 1 or args.alpha is not None):
        raise UserError("--full trains all parameters and has no rank: leave out --rank and --alpha.")

    from stablesdg.app.training import TrainingSettings, is_finished

    settings = TrainingSettings(**vars(args))
    name = "full" if settings.full else "lora"
    if not is_finished(settings, name, name):
        (train_full if settings.full else train_lora)(settings)


def train_lora(settings: TrainingSettings) -> None:
    """Learn A and B, with v_d* fixed."""
    from stablesdg import lora
    from stablesdg.app.training import close_stage, open_stage, train_stage
    from stablesdg.weights.adapters import Factors, save_lora

    stage, rank = open_stage("lora", settings, LEARNING_RATE), settings.rank or 1
    layers = lora.inject(stage.sd, rank, settings.alpha, settings.seed)
    parameters = {f"{part}.{name}.{factor}": getattr(layer, factor)
                  for (part, name), layer in layers.items() for factor in "AB"}
    print(f"training {sum(p.numel() for p in parameters.values()):,} parameters: A and B of {len(layers)} layers, "
          f"rank {rank}")
    log = train_stage(stage, parameters)

    output = settings.folder / "lora.safetensors"
    save_lora(output, {key: Factors(layer.A, layer.B, layer.alpha) for key, layer in layers.items()}, {
        **stage.metadata, "ss_base_model_version": "sd_v1", "ss_sd_model_hash": stage.sd.sha256,
        "modelspec.trigger_phrase": settings.prompt})
    close_stage(stage, output, log)


def train_full(settings: TrainingSettings) -> None:
    """Learn all parameters of UNet and text encoder. They are kept in float32, whatever they compute in."""
    import torch

    from stablesdg.app.devices import pick_dtype
    from stablesdg.app.training import close_stage, open_stage, train_stage
    from stablesdg.storage.tensors import save_tensors

    stage = open_stage("full", settings, LEARNING_RATE, kept=torch.float32)
    networks = {"unet": stage.sd.unet.requires_grad_(), "text_encoder": stage.sd.text.model.requires_grad_()}
    parameters = {f"{part}.{name}": p for part, network in networks.items() for name, p in network.named_parameters()}
    print(f"training all {sum(p.numel() for p in parameters.values()):,} parameters")
    dtype = pick_dtype(settings.dtype, stage.sd.device)
    log = train_stage(stage, parameters, autocast_dtype=None if dtype == torch.float32 else dtype)

    output = settings.folder / "full.safetensors"
    save_tensors(output, parameters, stage.metadata)
    close_stage(stage, output, log)


if __name__ == "__main__":
    run_main(main)
