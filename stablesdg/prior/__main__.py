"""Make weights/nano from nothing: a prior of Stable Diffusion's architecture, small enough for a laptop's CPU.

    python -m stablesdg.prior --photographs FOLDER      # -> weights/nano, after many hours

Stop it at any time and start it again: it goes on from its last checkpoint. Checkpoints and learning curves go to
runs/pretrain. Four stages come one after the other: the autoencoder; the feature network of `fid.py --features nano`;
the text encoder, which learns what captions say; the UNet, on the autoencoder's latents and the frozen text encoder's
contexts. They learn from photographs and from drawn textures, or without --photographs from drawn textures alone.
"""
import argparse
from dataclasses import replace
from pathlib import Path

from ..app.command_line import add_common, parser, positive, rate, run_main
from ..storage.errors import UserError
from ..storage.lock import alone_at, alone_in
from ..storage.runs import runs_root

# stage -> (steps, images or captions a step, learning rate, decay of the moving average)
DEFAULTS = {"autoencoder": (14000, 4, 1e-3, 0.999), "features": (10000, 64, 2e-3, 0.998),
            "text": (2000, 64, 1e-3, 0.99), "unet": (40000, 16, 6e-4, 0.9995)}


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python -m stablesdg.prior --photographs surfaces --out weights/nano")
    p.add_argument("--photographs", type=Path,
                   help="folder of photographs of surfaces, or the photographs.safetensors that an earlier call packed "
                        "from it (default: drawn textures alone)")
    p.add_argument("--start", type=Path, metavar="PRIOR",
                   help="finished prior, for example weights/nano, that autoencoder, features and UNet go on from; the "
                        "text encoder learns anew (default: random weights)")
    p.add_argument("--teacher", choices=["none", "imagenet"], default="none",
                   help="network whose features the feature network learns to tell (default: none); imagenet is "
                        "EfficientNet-Lite0, from two packages of its own")
    p.add_argument("--out", type=Path, default=Path("weights/nano"), help="folder of the finished prior")
    p.add_argument("--work", type=Path, help="checkpoints, images, learning curves (default: runs/pretrain)")
    p.add_argument("--images", type=positive, default=24000, help="training images to draw")
    p.add_argument("--stages", default=",".join(DEFAULTS), help="train these alone; finished ones are read")
    p.add_argument("--hours", type=rate, help="stop after so many hours; the same command goes on later")
    p.add_argument("--every", type=positive, default=500, help="steps between checkpoints")
    for stage, (steps, batch, lr, _) in DEFAULTS.items():
        group = p.add_argument_group(f"stage {stage}")
        group.add_argument(f"--{stage}-steps", type=positive, default=steps, help="steps")
        group.add_argument(f"--{stage}-batch", type=positive, default=batch, help="images or captions a step")
        group.add_argument(f"--{stage}-lr", type=rate, default=lr, help="Adam's learning rate")
    add_common(p.add_argument_group("run"))
    return p.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    stages = tuple(args.stages.split(","))
    if unknown := [stage for stage in stages if stage not in DEFAULTS]:
        raise UserError(f"{', '.join(unknown)} is none of the stages {', '.join(DEFAULTS)}.")

    if args.dtype == "float16":
        raise UserError("--dtype float16 is not enough to pretrain with: take bfloat16 or float32.")

    from ..app import devices
    from . import loop, model_card, pretraining

    device = devices.pick_device(args.device)
    dtype, float32 = devices.pick_dtype(args.dtype, device), devices.pick_dtype("float32", device)
    end = pretraining.deadline(args.hours)
    chosen = vars(args)
    loops = {stage: loop.Loop(chosen[f"{stage}_steps"], chosen[f"{stage}_batch"], chosen[f"{stage}_lr"], decay,
                              args.seed, args.every, end, float32 if stage == "autoencoder" else dtype)
             for stage, (_, _, _, decay) in DEFAULTS.items()}  # bfloat16 cost the autoencoder 2 dB
    settings = pretraining.PriorSettings(images=args.images, seed=args.seed)
    settings = replace(settings, features=replace(settings.features, teacher=args.teacher))
    if args.out.exists() and not model_card.is_of(args.out, settings, loops):
        raise UserError(f"{args.out} holds something else than a prior of these settings, which would be lost: "
                        "pass another --out.")
    work = args.work or runs_root() / "pretrain"
    with alone_in(work), alone_at(args.out):
        pretraining.pretrain(settings, loops, args.photographs, work, args.out, stages, device, args.start)


if __name__ == "__main__":
    run_main(main)
