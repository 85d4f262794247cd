"""Pictures of overlapping images: each pair side by side, and laid over each other at the shift that was found."""
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ..data.images import save_image
from ..data.overlap import Overlap
from ..data.surfaces import NamedOverlap
from .lettering import NORMAL, line_height, text_width, write

GAP = 6  # pixels between the pictures
WHITE, INK, BLUE, ORANGE = (255, 255, 255), (20, 20, 20), (60, 110, 200), (230, 120, 30)


def lay_over(a: Image.Image, b: Image.Image, dy: int, dx: int) -> Image.Image:
    """Image b, moved by (dy, dx), over image a, half of each where they meet; a has a blue frame, b an orange one."""
    top, left = min(0, dy), min(0, dx)
    height, width = max(a.height, dy + b.height) - top, max(a.width, dx + b.width) - left
    total, weight = np.zeros((height, width)), np.zeros((height, width))
    for image, y, x in ((a, -top, -left), (b, dy - top, dx - left)):
        total[y:y + image.height, x:x + image.width] += np.asarray(image.convert("L"), dtype=float)
        weight[y:y + image.height, x:x + image.width] += 1
    gray = np.where(weight > 0, total / np.maximum(weight, 1), 255).round().astype(np.uint8)
    picture = Image.fromarray(gray).convert("RGB")
    pen = ImageDraw.Draw(picture)
    for image, y, x, colour in ((a, -top, -left, BLUE), (b, dy - top, dx - left, ORANGE)):
        pen.rectangle((x, y, x + image.width - 1, y + image.height - 1), outline=colour, width=2)
    return picture


def framed(image: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    """The image in colour, with a frame inside its edge."""
    picture = image.convert("RGB")
    ImageDraw.Draw(picture).rectangle((0, 0, image.width - 1, image.height - 1), outline=colour, width=2)
    return picture


def save_named_overlaps(path: Path, pairs: Sequence[NamedOverlap], labels: Sequence[str] | None = None) -> None:
    """Draw a row for each pair. Above it stands its label, by default its names and what they have in common."""
    images = [Image.fromarray(gray.clip(0, 255).round().astype(np.uint8)) for pair in pairs for gray in pair.images]
    overlaps = [replace(pair.overlap, i=2 * k, j=2 * k + 1) for k, pair in enumerate(pairs)]
    save_overlap_picture(path, images, overlaps, labels or [
        f"{pair.first}   {pair.second}   {pair.overlap.share:.0%} in common" for pair in pairs])


def save_overlap_picture(path: Path, images: Sequence[Image.Image], overlaps: Sequence[Overlap],
                         labels: Sequence[str] | None = None) -> None:
    """Draw a row for each pair: image i, image j, and both laid over each other. `labels` stand above the rows."""
    space = line_height(NORMAL) if labels else 0
    rows = [(framed(images[o.i], BLUE), framed(images[o.j], ORANGE), lay_over(images[o.i], images[o.j], o.dy, o.dx))
            for o in overlaps]
    columns = [max(row[k].width for row in rows) for k in range(3)]
    heights = [max(image.height for image in row) for row in rows]
    width = max(sum(columns) + 4 * GAP, round(text_width(labels or [""], NORMAL)) + 2 * GAP)
    sheet = Image.new("RGB", (width, sum(heights) + len(rows) * (GAP + space) + GAP), WHITE)
    top = GAP
    for k, (row, height) in enumerate(zip(rows, heights)):
        if labels:
            write(ImageDraw.Draw(sheet), GAP, top, labels[k], INK)
        top += space
        left = GAP
        for image, column in zip(row, columns):
            sheet.paste(image, (left, top))
            left += column + GAP
        top += height + GAP
    save_image(path, sheet)
