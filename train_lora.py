"""Network parameter adaptation, eq. (4): W0 + BA of rank r in all attention layers of text encoder and UNet.

    python train_lora.py --rank 1 --data neu/Pa        # -> runs/neu/Pa/lora.safetensors

Uses the token embedding v_d* of the same run folder, fixed. --full trains every parameter of both networks instead
(the paper's full adaptation) and writes full.safetensors.
"""
import argparse

from stablesdg.app.command_line import add_training, announce, finite, parser, positive, run_main
from stablesdg.app.paths import run_folder
from stablesdg.storage.errors import UserError
from stablesdg.storage.lock import alone_in

LEARNING_RATE = 1e-4  # Adam's, the paper's


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python train_lora.py --rank 1 --data neu/Pa", many=True)
    add_training(p, LEARNING_RATE)
    method = p.add_argument_group("method")
    method.add_argument("--rank", type=positive, default=1, help="r, the rank of BA")
    method.add_argument("--alpha", type=finite, help="BA is scaled by alpha / r (default: the rank)")
    method.add_argument("--full", action="store_true", help="adapt all parameters rather than BA")
    args = p.parse_args(argv)
    if args.full and (args.rank != 1 or args.alpha is not None):
        raise UserError("--full trains all parameters and has no rank: leave out --rank and --alpha.")
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    folder = run_folder(args.data, args.out)
    announce("train_lora.py", args.data, folder)
    with alone_in(folder):
        learn_weights(args)


def learn_weights(args: argparse.Namespace) -> None:
    """Train BA, or with --full all weights, and write them into the run folder."""
    from stablesdg import lora
    from stablesdg.app import processes, training

    processes.start()
    settings = training.TrainingSettings(**vars(args))
    name = "full" if args.full else "lora"
    output = settings.folder / f"{name}.safetensors"
    if training.is_finished(settings, name, name):
        return

    stage = training.open_stage(name, settings, LEARNING_RATE)
    if args.full:  # all parameters of both networks
        networks = {"unet": stage.sd.unet.requires_grad_(), "text_encoder": stage.sd.text.model.requires_grad_()}
        parameters = {f"{part}.{key}": p for part, network in networks.items() for key, p in network.named_parameters()}
        print(f"training all {sum(p.numel() for p in parameters.values()):,} parameters")
        log = training.train_stage(stage, parameters)
        training.save_adapter(stage, output, parameters)
    else:  # A and B, beside the frozen weights
        layers = lora.inject(stage.sd, args.rank, args.alpha, args.seed)
        parameters = {f"{part}.{key}.{factor}": getattr(layer, factor)
                      for (part, key), layer in layers.items() for factor in "AB"}
        print(f"training {sum(p.numel() for p in parameters.values()):,} parameters: A and B of {len(layers)} layers, "
              f"rank {args.rank}")
        log = training.train_stage(stage, parameters)
        training.save_lora_adapter(stage, output, layers)
    training.close_stage(stage, output, log)


if __name__ == "__main__":
    run_main(main)
