"""The two pictures of the README, from drawn surfaces alone: python benchmarks/pictures.py runs/demo-data

    docs/pictures/generated.png  sources above, images generated from them below, after `make demo`
    docs/pictures/overlap.png    pairs that the overlap search finds among crops of four drawn surfaces
"""
import argparse
from pathlib import Path

import numpy as np
from jobs import ROOT
from PIL import Image

from stablesdg.app.command_line import parser, run_main
from stablesdg.app.runs import require_run
from stablesdg.data.images import read_image, save_image
from stablesdg.data.overlap import find_overlaps
from stablesdg.prior.textures import draw
from stablesdg.report.overlaps import save_overlap_picture
from stablesdg.report.pictures import image_grid
from stablesdg.storage.files import read_csv

PICTURES = ROOT / "docs" / "pictures"
IMAGES_A_CLASS = 3
SURFACE_SIDE, CROP_SIDE = 320, 200  # pixels
SURFACES = (5, 12, 3, 8)  # indices of drawn textures
CORNERS = ((0, 0), (60, 90))  # of the two crops of each surface: a sixth to a half of them is common
EXPOSURES, NOISE = (0.9, 1.1), 2.0  # each crop has its own; gray levels


def generated_picture(runs: Path) -> Image.Image:
    """The first images of each class and their sources."""
    sources, generated = [], []
    for folder in sorted(file.parent for file in runs.glob("*/run.json")):
        data = Path(require_run(folder)["data"]).parent
        for row in read_csv(folder / "samples" / "manifest.csv")[:IMAGES_A_CLASS]:
            sources.append(read_image(data / row["source"])[0])
            generated.append(read_image(folder / "samples" / row["file"])[0])
    return image_grid([("drawn", sources), ("generated from them", generated)], cell=120)


def crops_of_surfaces() -> list[Image.Image]:
    """Two crops of each surface, with an exposure and a noise of their own, as two photographs would have."""
    rng, crops = np.random.default_rng(0), []
    for index in SURFACES:
        surface = np.asarray(Image.fromarray(draw(index, side=SURFACE_SIDE).image).convert("L"), dtype=float)
        for top, left in CORNERS:
            crop = surface[top:top + CROP_SIDE, left:left + CROP_SIDE]
            seen = crop * rng.uniform(*EXPOSURES) + NOISE * rng.standard_normal(crop.shape)
            crops.append(Image.fromarray(seen.clip(0, 255).round().astype(np.uint8)))
    return crops


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python benchmarks/pictures.py runs/demo-data")
    p.add_argument("runs", type=Path, help="run folder that make demo wrote")
    return p.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    save_image(PICTURES / "generated.png", generated_picture(args.runs))
    crops = crops_of_surfaces()
    found = find_overlaps([np.asarray(crop) for crop in crops])
    save_overlap_picture(PICTURES / "overlap.png", crops, found[:2])
    print(f"wrote {PICTURES}/generated.png and overlap.png; {len(found)} overlapping pairs among {len(crops)} crops")


if __name__ == "__main__":
    run_main(main)
