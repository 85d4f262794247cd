"""Pictures as part of a page: shrunk or cut to a bounded size, compressed as JPEG, and written as data URIs."""
import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from PIL import Image, ImageChops

from ..data.images import read_image
from ..storage.errors import UserError
from .markup import Html, picture
from .pairs import amplify, difference, largest_difference

T = TypeVar("T")
QUALITY = 85  # of JPEG
SHEET_COLUMNS, SHEET_GAP = 6, 3


def open_picture(file: Path) -> Image.Image | None:
    """The image in a file, gray where all its pixels are, or None if it cannot be read."""
    try:
        image, mode = read_image(file)
    except UserError:
        return None
    return image.convert("L") if mode == "L" or is_gray(image) else image


def is_gray(image: Image.Image) -> bool:
    """Whether an RGB image has the same three levels in all its pixels."""
    red, green, blue = image.split()
    return not any(ImageChops.difference(red, other).getbbox() for other in (green, blue))


def shrink(image: Image.Image, side: int) -> Image.Image:
    """The image, its longer side at most so many pixels."""
    scale = min(1.0, side / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)


def embed(image: Image.Image, alt: str) -> Html:
    """An <img> that holds its own bytes."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return picture("data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode(), alt, image.size)


def embed_file(file: Path, side: int, alt: str) -> Html | None:
    """An image file, shrunk and embedded, or None if it cannot be read."""
    image = open_picture(file)
    return None if image is None else embed(shrink(image, side), alt)


def embed_triple(source: Path | None, generated: Path, side: int, alt: str) -> list[Html]:
    """Source, generated image and their difference at full size, or the generated image alone without its source.

    Where an image is larger than `side`, the square of the largest difference is shown of all three.
    """
    made = open_picture(generated)
    before = open_picture(source) if source else None
    if made is None:
        return []
    if before is None or before.size != made.size:
        return [embed(shrink(made, side), f"{alt}, generated")]
    levels = difference(before, made)
    if max(made.size) > side:
        box = largest_difference(levels, side)
        before, made, levels = (image.crop(box) for image in (before, made, levels))
    return [embed(image, f"{alt}, {what}") for image, what in
            ((before, "source"), (made, "generated"), (amplify(levels), "difference"))]


def contact_sheet(files: Sequence[Path], side: int) -> Image.Image | None:
    """The images in rows of six, each shrunk into a square, or None if none can be read."""
    images = [shrink(image, side) for image in map(open_picture, files) if image]
    if not images:
        return None
    columns = min(SHEET_COLUMNS, len(images))
    side = max(max(image.size) for image in images)
    step = side + SHEET_GAP
    gray = all(image.mode == "L" for image in images)
    sheet = Image.new("L" if gray else "RGB", (columns * step - SHEET_GAP, -(-len(images) // columns) * step
                                               - SHEET_GAP), 255 if gray else (255, 255, 255))
    for k, image in enumerate(images):
        sheet.paste(image, (k % columns * step, k // columns * step))
    return sheet


def evenly(items: Sequence[T], n: int) -> list[T]:
    """At most n of the items, evenly spread."""
    return [items[k * len(items) // n] for k in range(n)] if len(items) > n else list(items)
