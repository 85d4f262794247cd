"""How right are the masks that sample.py --compose finds in images, beside what people have marked?

    python benchmarks/masks.py neu --boxes neu-boxes --numbers 136 300     # boxes in neu-boxes/CLASS
    python benchmarks/masks.py magnetic-tile --masks magnetic-tile-masks   # PNG files in magnetic-tile-masks/CLASS

The thresholds of compose/masks.py were set on images 1 to 135 of each class of NEU, and on every second surface of the
magnetic tiles. `--numbers` leaves out images whose file names end with other numbers. A class that nobody has marked is
passed over. Columns:

    IoU       common area of the found and the true region, as a share of their union; mean over the images. With
              --boxes, the found region is the boxes around the parts of the mask
    touched   share of the marked boxes, or of the parts of the marked masks, in which at least a pixel is found
    inside    share of the found mask that lies in the true region; mean over the images
"""
import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from stablesdg.app.command_line import parser, positive, run_main
from stablesdg.compose.given import GivenBoxes, read_boxes
from stablesdg.compose.labels import Box, parts_of, read_mask
from stablesdg.compose.masks import find_mask
from stablesdg.data.folders import list_categories, list_images
from stablesdg.data.images import read_image
from stablesdg.storage.errors import UserError


class Agreement(NamedTuple):
    """Of one image."""
    iou: float
    touched: int
    marked: int
    inside: float


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python benchmarks/masks.py neu --boxes neu-boxes")
    p.add_argument("data", type=Path, help="folder of class folders")
    p.add_argument("--boxes", type=Path, help="folder of class folders with VOC xml, YOLO txt or COCO json files")
    p.add_argument("--masks", type=Path, help="folder of class folders with PNG files: white is the defect")
    p.add_argument("--numbers", type=positive, nargs=2, metavar=("FIRST", "LAST"), help="images to look at")
    args = p.parse_args(argv)
    if bool(args.boxes) == bool(args.masks):
        p.error("pass --boxes or --masks")
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    print(f"{'class':16} {'images':>6} {'IoU':>6} {'touched':>8} {'inside':>7}")
    for category in list_categories(args.data):
        marked = (args.boxes or args.masks) / category.resolve().name
        if not marked.is_dir():
            continue
        files = [file for file in list_images(category) if is_wanted(file, args.numbers)]
        found = of_boxes(files, marked) if args.boxes else of_masks(files, marked)
        if not found:
            raise UserError(f"{marked} marks none of the images of {category}.")
        iou, inside = (np.mean([getattr(one, name) for one in found]) for name in ("iou", "inside"))
        touched = sum(one.touched for one in found) / sum(one.marked for one in found)
        print(f"{category.resolve().name:16} {len(found):6d} {iou:6.2f} {touched:8.0%} {inside:7.0%}", flush=True)


def is_wanted(file: Path, numbers: Sequence[int] | None) -> bool:
    """Whether the number that the file's name ends with lies between the two."""
    number = re.search(r"(\d+)$", file.stem)
    return numbers is None or bool(number and numbers[0] <= int(number[1]) <= numbers[1])


def of_boxes(files: Sequence[Path], folder: Path) -> list[Agreement]:
    """Beside boxes."""
    files = [file for file in files if (folder / f"{file.stem}.xml").is_file()] or list(files)
    given, agreements = read_boxes(folder, files), []
    for i, file in enumerate(files):
        found = find_mask(gray_of(file), i).area
        around = filled([part.box for part in parts_of(found)], found.shape)
        true = given.mask_of(file, found.shape).area
        touched = sum(bool((found & GivenBoxes({file: [box]}).mask_of(file, found.shape).area).any())
                      for box in given.boxes[file])
        agreements.append(agreement(around, found, true, touched, len(given.boxes[file])))
    return agreements


def of_masks(files: Sequence[Path], folder: Path) -> list[Agreement]:
    """Beside masks."""
    agreements = []
    for i, file in enumerate(files):
        if not (mask := folder / f"{file.stem}.png").is_file():
            continue
        found, true = find_mask(gray_of(file), i).area, read_mask(mask)
        parts = parts_of(true)
        agreements.append(agreement(found, found, true, sum(bool((found & part.area).any()) for part in parts),
                                    len(parts)))
    return agreements


def agreement(region: np.ndarray, found: np.ndarray, true: np.ndarray, touched: int, marked: int) -> Agreement:
    """`region` stands for the found mask where unions are compared."""
    iou = (region & true).sum() / max(1, (region | true).sum())
    return Agreement(float(iou), touched, marked, float((found & true).sum() / max(1, found.sum())))


def filled(boxes: Sequence[Box], shape: tuple[int, ...]) -> np.ndarray:
    """The inside of boxes, bool (H, W)."""
    area = np.zeros(shape, dtype=bool)
    for left, top, right, bottom in boxes:
        area[int(top):int(bottom), int(left):int(right)] = True
    return area


def gray_of(file: Path) -> np.ndarray:
    """Gray levels (H, W) from 0 to 1."""
    return np.asarray(read_image(file)[0].convert("L"), dtype=np.float64) / 255


if __name__ == "__main__":
    run_main(main)
