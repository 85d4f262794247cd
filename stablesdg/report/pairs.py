"""Pictures of generated images beside what they come from, drawn with Pillow alone."""
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops, ImageFilter
from scipy import ndimage

from ..data.images import read_image, save_image
from .pictures import CELL, image_grid

PAIRS_SHOWN, NOVELTY_SHOWN = 8, 8
DIFFERENCE_GAIN = 3  # a difference of 85 gray levels is drawn white
MIN_ZOOM = 1.5  # an image this many times as large as its cell is shown at full size, too, in part
CAPTION_LENGTH = 26  # characters that fit under a cell

OUTLINE = (255, 40, 40)

Box = tuple[int, int, int, int]  # left, top, right, bottom


class Pair(NamedTuple):
    """A source, and what was made of it."""
    source: Path
    generated: Path
    novelty: float


def save_pairs(path: Path, pairs: Sequence[Pair], label: str, compare: bool = True) -> None:
    """Draw the first sources above what was made of them, with their names and novelty.

    compare  draw the differences, too; and if an image is larger than its cell, the place of the largest difference at
             full size. That tells nothing where an image does not keep the places of its source
    """
    shown = pairs[:PAIRS_SHOWN]
    sources = [read_image(pair.source)[0] for pair in shown]
    made = [read_image(pair.generated)[0] for pair in shown]
    rows = [("sources", sources), (label, made)]
    captions = [f"{pair.generated.name} from\n{caption_name(pair.source)}\nnovelty {pair.novelty:.2f}"
                for pair in shown]
    if compare:
        differences = [difference(a, b) for a, b in zip(sources, made)]
        rows.append((f"their difference, drawn {DIFFERENCE_GAIN} times as large: white where much was changed",
                     [amplify(d) for d in differences]))
        if any(max(image.size) > MIN_ZOOM * CELL for image in sources):
            boxes = [largest_difference(d) for d in differences]
            for name, images in (("sources", sources), ("generated", made)):
                rows.append((f"{name}, full size at the place of the largest difference",
                             [image.crop(box) for image, box in zip(images, boxes)]))
    save_image(path, image_grid(rows, captions={len(rows) - 1: captions}))


class Composition(NamedTuple):
    """A composite, and what it was made of."""
    source: Path
    source_mask: np.ndarray  # bool (H, W): the defect in it
    ground: Image.Image
    pasted: Image.Image  # before the prior
    composite: Image.Image
    caption: str


def save_compositions(path: Path, shown: Sequence[Composition], label: str) -> None:
    """Draw composites below the defects and the grounds that they were made of, and what the prior changed."""
    changes = [amplify(difference(c.pasted, c.composite)) for c in shown]
    rows = [("where the defects come from, the masks outlined", [outlined(c.source, c.source_mask) for c in shown]),
            ("grounds, at the defects' level", [c.ground for c in shown]), (label, [c.composite for c in shown]),
            (f"what the prior changed, drawn {DIFFERENCE_GAIN} times as large", changes)]
    captions = [f"{caption_name(c.source)}\n{c.caption}" for c in shown]
    save_image(path, image_grid(rows, captions={len(rows) - 1: captions}))


def outlined(file: Path, mask: np.ndarray) -> Image.Image:
    """An image with a red line around a mask, bool (H, W)."""
    levels = np.array(read_image(file)[0])
    levels[ndimage.binary_dilation(mask, iterations=max(1, min(mask.shape) // CELL)) & ~mask] = OUTLINE
    return Image.fromarray(levels)


def amplify(levels: Image.Image) -> Image.Image:
    """A difference as it is drawn."""
    return levels.point([min(255, DIFFERENCE_GAIN * level) for level in range(256)])


def difference(a: Image.Image, b: Image.Image) -> Image.Image:
    """The absolute difference of two images of one size, in gray levels."""
    return ImageChops.difference(a.convert("L"), b.convert("L"))


def largest_difference(levels: Image.Image, side: int = CELL) -> Box:
    """The square of at most `side` pixels around the place where an image of differences is brightest.

    A single pixel does not count: the mean over an eighth of the square does.
    """
    blurred = levels.filter(ImageFilter.BoxBlur(max(1, side // 16)))
    values = blurred.tobytes()
    y, x = divmod(values.index(max(values)), levels.width)
    width, height = (min(side, size) for size in levels.size)
    left = min(max(0, x - width // 2), levels.width - width)
    top = min(max(0, y - height // 2), levels.height - height)
    return left, top, left + width, top + height


def caption_name(file: Path) -> str:
    """The name of a file, cut in the middle to what fits under a cell."""
    half = (CAPTION_LENGTH - 2) // 2
    return file.name if len(file.name) <= CAPTION_LENGTH else f"{file.name[:half]}..{file.name[-half:]}"


def save_novelty_picture(path: Path, rows: Sequence[tuple[Path, float, Path]]) -> None:
    """Draw the least and the most novel images above their nearest training image: rows (file, novelty, nearest)."""
    rows = sorted(rows, key=lambda row: row[1])
    shown, captions = [], {}
    for label, some in (("least novel", rows[:NOVELTY_SHOWN]), ("most novel", rows[:-NOVELTY_SHOWN - 1:-1])):
        shown += [(label, [read_image(file)[0] for file, _, _ in some]),
                  ("their nearest training images", [read_image(file)[0] for _, _, file in some])]
        captions[len(shown) - 1] = [f"{file.name}, novelty {novelty:.2f}\nnearest: {caption_name(nearest)[:18]}"
                                    for file, novelty, nearest in some]
    save_image(path, image_grid(shown, captions=captions))
