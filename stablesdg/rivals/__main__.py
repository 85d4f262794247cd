"""Train a generator that the paper compares with, on one category, and make images with it.

    python -m stablesdg.rivals dcgan --data neu/Pa       # -> runs/neu/rivals/dcgan/Pa/samples

NAME is one of

    dcgan              Radford et al. 2015
    stylegan3          Karras et al. 2021
    ddpm, ddim         diffusion from scratch, drawn in the one way or the other; ddpm stands for Yang et al.
    textual-inversion  the paper's first stage alone, from noise
    dreambooth         Ruiz et al. 2023: the whole prior adapts to a rare token

Only the training part of the split is used. The folder is like that of sample.py, so that fid.py takes its samples and
classify.py takes --generated runs/neu/rivals/dcgan. Ctrl-C saves, --resume goes on, also with more --steps or
--minutes.
"""
import argparse
from collections.abc import Mapping
from pathlib import Path

from ..app.command_line import add_common, add_split, announce, parser, positive, rate, run_main
from ..app.paths import dataset_folder
from ..storage.errors import UserError
from ..storage.lock import alone_in

# name -> steps, where the command line gives none
STEPS = {"dcgan": 20_000, "stylegan3": 50_000, "ddpm": 50_000, "ddim": 50_000, "textual-inversion": 1000,
         "dreambooth": 1000}
NOISE_LEVELS = 1000  # T of diffusion.py, which needs PyTorch
SCRATCH, PROMPTED = ("dcgan", "stylegan3", "ddpm", "ddim"), ("textual-inversion", "dreambooth")
# option -> the rivals that it means something to
BELONGS_TO = {"width": SCRATCH, "augmentation": ("dcgan",), "gamma": ("stylegan3",), "rotation": ("stylegan3",),
              "truncation": ("stylegan3",), "latents": ("ddpm", "ddim"), "lr": PROMPTED,
              "weights": ("ddpm", "ddim", *PROMPTED), "prompt": PROMPTED, "token": ("textual-inversion",),
              "class_prompt": ("dreambooth",), "prior_preservation": ("dreambooth",), "guidance": PROMPTED,
              "draw_steps": ("ddpm", "ddim", *PROMPTED)}


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python -m stablesdg.rivals dcgan --data neu/Pa --minutes 30")
    p.add_argument("name", choices=list(STEPS), metavar="NAME", help=", ".join(STEPS))
    data = p.add_argument_group("data")
    data.add_argument("--data", type=Path, required=True, help="folder of one category's images, for example neu/Pa")
    add_split(data)
    data.add_argument("--size", type=positive,
                      help="side in pixels at which images are learned: 64, 128 or 256; they come back at the size of "
                           "the category (default: the least that is no smaller than the first image, or 256). For "
                           "textual-inversion and dreambooth the shorter side (default: the recipe's or the model's)")
    training = p.add_argument_group("training")
    training.add_argument("--steps", type=positive, help=f"steps of training at most (default: {said(STEPS)})")
    training.add_argument("--minutes", type=rate, help="stop training after so many minutes, class images included")
    training.add_argument("--batch-size", type=positive, help="images a step (default: the rival's own)")
    training.add_argument("--lr", type=rate, help="Adam's learning rate, of textual-inversion and dreambooth (default: "
                                                  "the recipe's, or the paper's)")
    training.add_argument("--width", type=positive, help="channels of the networks that start from nothing: a smaller "
                                                         "number is faster (default: the rival's own)")
    training.add_argument("--augmentation", action=argparse.BooleanOptionalAction,
                          help="differentiable augmentation for dcgan (default: on for fewer than 1,000 images)")
    training.add_argument("--gamma", type=rate, help="weight of R1, for stylegan3 (default: (side / 256)^2)")
    training.add_argument("--rotation", action="store_true",
                          help="config R of stylegan3: a turned input gives a turned image")
    training.add_argument("--latents", action="store_true",
                          help="ddpm and ddim learn the latents of the frozen VAE of --weights instead of pixels")
    prior = p.add_argument_group("prior")
    prior.add_argument("--weights", help="diffusers folder or CompVis .safetensors (default: weights/"
                                         "stable-diffusion-v1-5 if it is there, else weights/nano)")
    prior.add_argument("--prompt", help="y (default: A photo of <unknown>; for dreambooth A photo of a sks steel "
                                        "surface)")
    prior.add_argument("--token", help="the part of the prompt that textual-inversion learns (default: <unknown>)")
    prior.add_argument("--class-prompt", help="what dreambooth must not forget (default: A photo of a steel surface)")
    prior.add_argument("--prior-preservation", type=count, metavar="N",
                       help="class images that dreambooth keeps the prior with; 0 for none (default: 200)")
    drawing = p.add_argument_group("drawing")
    drawing.add_argument("--number", type=positive, default=1000, help="images to make, as many as the paper makes")
    drawing.add_argument("--draw-steps", type=positive, help="denoising steps (default: 1000 for ddpm, else 50)")
    drawing.add_argument("--guidance", type=rate, help="w of textual-inversion and dreambooth (default: the recipe's, "
                                                       "or 5)")
    drawing.add_argument("--truncation", type=rate, help="below 1: better images of stylegan3 and less variety "
                                                         "(default: 1)")
    drawing.add_argument("--draw-batch", type=positive, default=8, help="images at once")
    add_common(p.add_argument_group("run"))
    p.add_argument("--out", type=Path, help="run folder (default: runs/DATASET/rivals/NAME/CATEGORY)")
    p.add_argument("--resume", action="store_true", help="go on from the last checkpoint, and keep finished images")
    args = p.parse_args(argv)
    check(args, {option: p.get_default(option) for option in BELONGS_TO})
    return args


def said(steps: dict[str, int]) -> str:
    """The default steps of each rival, for the help."""
    return ", ".join(f"{number} for {name}" for name, number in steps.items())


def count(text: str) -> int:
    """A whole number of at least 0."""
    return 0 if text == "0" else positive(text)


def check(args: argparse.Namespace, defaults: Mapping[str, object]) -> None:
    """Raise UserError for an option that means nothing to the rival, and has another value than its default."""
    for option, names in BELONGS_TO.items():
        if args.name not in names and getattr(args, option) is not defaults[option]:
            raise UserError(f"--{option.replace('_', '-')} means nothing to {args.name}: leave it out, or take "
                            f"{' or '.join(names)}.")
    if args.weights and args.name in ("ddpm", "ddim") and not args.latents:
        raise UserError("--weights means nothing to a diffusion of pixels: add --latents, or leave it out.")
    if (args.draw_steps or 0) > NOISE_LEVELS:
        raise UserError(f"--draw-steps {args.draw_steps}: there are {NOISE_LEVELS} levels of noise, so take at most as "
                        "many steps.")
    if args.name == "stylegan3" and args.dtype not in ("auto", "float32"):
        raise UserError(f"--dtype {args.dtype} is not enough for stylegan3: leave out --dtype.")
    if args.dtype == "float16":
        raise UserError("--dtype float16 is not enough to train a rival with: take bfloat16 or float32.")


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    out = args.out or dataset_folder(args.data.resolve().parent) / "rivals" / args.name / args.data.resolve().name
    announce("stablesdg.rivals", f"{args.name}, {args.data}", out)

    from ..app import rival_runs, rivals

    with alone_in(out):
        rival_runs.run(rivals.RivalSettings(**{**vars(args), "out": out, "steps": args.steps or STEPS[args.name]}))


if __name__ == "__main__":
    run_main(main)
