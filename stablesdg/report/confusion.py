"""A confusion matrix as a picture: true classes down, predicted ones across."""
from collections.abc import Sequence

from PIL import Image, ImageDraw

from .pictures import INK, WHITE, Colour

MARGIN = 80  # pixels left of the cells and above them
CELL = 56  # pixels
SHARE_OF_WHITE_TEXT = 0.6  # from which on a cell is so dark that its number is white


def confusion_picture(counts: Sequence[Sequence[int]], classes: Sequence[str], title: str) -> Image.Image:
    """Draw counts[true][predicted]. The larger the share of the true class, the darker the cell."""
    side = MARGIN + CELL * len(classes)
    picture = Image.new("RGB", (side + 10, side + 10), WHITE)
    draw = ImageDraw.Draw(picture)
    draw.text((8, 6), f"{title}: true down, predicted across", fill=INK)
    for r, row in enumerate(counts):
        draw.text((8, MARGIN + CELL * r + 20), classes[r][:10], fill=INK)
        draw.text((MARGIN + CELL * r + 6, 58), classes[r][:8], fill=INK)
        for c, count in enumerate(row):
            share = count / max(1, sum(row))
            left, top = MARGIN + CELL * c, MARGIN + CELL * r
            draw.rectangle((left, top, left + CELL - 2, top + CELL - 2), fill=shade(share))
            draw.text((left + 18, top + 20), str(count), fill=WHITE if share > SHARE_OF_WHITE_TEXT else INK)
    return picture


def shade(share: float) -> Colour:
    """From nearly white to blue as the share goes from 0 to 1."""
    return round(250 - 180 * share), round(250 - 130 * share), round(252 - 60 * share)
