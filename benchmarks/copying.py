"""Does weights/nano copy the photographs that it learned from?

    python benchmarks/copying.py surfaces

surfaces is the folder of photographs, or the pack, of `python -m stablesdg.prior --photographs`. Images are made from
the captions of photographs that were kept out of training. For each, the nearest of many crops that training saw is
found, by features and by gray levels. Crops of the photographs that were kept out are the yardstick: they cannot be
copies. The picture runs/benchmarks/copying.png shows the nearest pairs.
"""
import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from prior import OUT, features, from_captions
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from stablesdg.app.command_line import parser, positive, run_main
from stablesdg.data.images import save_image, to_image
from stablesdg.evaluate.features import load_feature_network
from stablesdg.evaluate.neighbours import nearest
from stablesdg.models.stable_diffusion import load_stable_diffusion
from stablesdg.prior.photographs import Photographs
from stablesdg.prior.pool import HELD_OUT, parted
from stablesdg.prior.pretraining import open_photographs
from stablesdg.report.pictures import image_grid
from stablesdg.weights.read import NANO

THUMBNAIL = 32  # pixels: gray levels are compared at this size
SHOWN = 8


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python benchmarks/copying.py surfaces")
    p.add_argument("photographs", type=Path, help="folder of photographs, or a pack of them")
    p.add_argument("--number", type=positive, default=20, help="images to make")
    p.add_argument("--crops", type=positive, default=6000, help="crops of training photographs to search")
    p.add_argument("--guidance", type=float, default=3.0, help="w")
    p.add_argument("--steps", type=positive, default=50, help="denoising steps")
    p.add_argument("--weights", default=str(NANO), help="the prior to look at")
    return p.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    sd = load_stable_diffusion(args.weights)
    network = load_feature_network(Path(args.weights) / "features.safetensors")
    photographs = open_photographs(args.photographs, OUT)
    assert photographs is not None  # as it is without a folder
    train, kept_out = parted(photographs)
    seen, _ = crops(train, range(args.crops), sd.resolution)
    strangers, prompts = crops(kept_out, range(HELD_OUT, HELD_OUT + args.number), sd.resolution)
    made = torch.stack(from_captions(sd, prompts, args.guidance, args.steps, seed=0))
    marks = features(network, list(seen)), gray_thumbnails(seen)
    found = {name: search(x, features(network, list(x)), *marks)
             for name, x in (("generated", made), ("photographs kept out", strangers))}
    print(f"{len(seen)} crops searched\n| images | N | distance of the nearest, median | least | "
          "likeness of gray levels, median | greatest |\n|---|---|---|---|---|---|")
    for name, own in found.items():
        print(f"| {name} | {len(own.distance)} | {own.distance.median():.2f} | {own.distance.min():.2f} | "
              f"{own.likeness.median():.2f} | {own.likeness.max():.2f} |")
    save_pairs(made, seen, found["generated"])


def crops(photographs: Photographs, indices: Sequence[int], side: int) -> tuple[Tensor, list[str]]:
    """(images (N, 3, side, side) in [-1, 1], captions) of some indices, as pretraining draws them with seed 0."""
    drawn = [photographs.draw(i, 0, side) for i in tqdm(indices, desc="drawing", unit="crop", disable=None)]
    images = torch.from_numpy(np.stack([texture.image for texture in drawn])).permute(0, 3, 1, 2)
    return images / 127.5 - 1, [texture.caption for texture in drawn]


def gray_thumbnails(x: Tensor) -> Tensor:
    """Images (N, 3, H, W) -> their gray levels (N, THUMBNAIL^2), of mean 0 and length 1."""
    small = F.interpolate(x.mean(dim=1, keepdim=True), (THUMBNAIL, THUMBNAIL), mode="area").flatten(1)
    return F.normalize(small - small.mean(dim=1, keepdim=True), dim=1)


@dataclass(frozen=True)
class Found:
    """For each image the crop of nearest features and its distance, and the crop of the likest gray levels and its
    correlation, over all turns and mirrors."""
    nearest: Tensor
    distance: Tensor
    likest: Tensor
    likeness: Tensor


def search(x: Tensor, own: Tensor, known: Tensor, thumbnails: Tensor) -> Found:
    """Find images x (N, 3, H, W) with features `own` among crops of features `known` and of these thumbnails."""
    distance, index = nearest(own, known)
    turned = [torch.rot90(y, k, (2, 3)) for y in (x, x.flip(3)) for k in range(4)]
    likeness, likest = torch.stack([gray_thumbnails(y) @ thumbnails.T for y in turned]).amax(dim=0).max(dim=1)
    return Found(index, distance, likest, likeness)


def save_pairs(made: Tensor, seen: Tensor, found: Found) -> None:
    """The generated images that are nearest to a crop, above that crop and above the likest one."""
    order = found.distance.argsort()[:SHOWN].tolist()
    rows = {"generated, the nearest to any crop first": made[order],
            "crop of nearest features": seen[found.nearest[order]],
            "crop of likest gray levels, as it lies": seen[found.likest[order]]}
    save_image(OUT / "copying.png", image_grid([(label, [to_image(x) for x in images])
                                                for label, images in rows.items()], cell=160))
    print(f"wrote {OUT / 'copying.png'}")


if __name__ == "__main__":
    run_main(main)
