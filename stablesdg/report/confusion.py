"""A confusion matrix as a picture: true classes down, predicted ones across, in percent and in images."""
from collections.abc import Sequence

from PIL import Image, ImageDraw

from .pictures import INK, WHITE, Colour

BORDER = 8  # pixels
HEADER = 58  # pixels above the cells: the title and the names of the columns
CELL = 56  # pixels, at least
SHARE_OF_WHITE_TEXT = 0.6  # from which on a cell is so dark that its number is white


def confusion_picture(counts: Sequence[Sequence[float]], classes: Sequence[str], title: str,
                      n_seeds: int = 1) -> Image.Image:
    """Draw counts[true][predicted], which are means over so many seeds.

    Each cell has the percentage of the true class and, below it, the number of images. The larger the percentage, the
    darker the cell. Rows and columns are as wide as the longest name.
    """
    mean_of = f", mean of {n_seeds} seeds" if n_seeds > 1 else ""
    lines = (f"{title}{mean_of}", "true class down, predicted class across: percent of the true class, images")
    names = [f"{name} (n = {sum(row):.0f})" for name, row in zip(classes, counts)]
    margin = 2 * BORDER + text_width(names)
    width = max(CELL, text_width(classes) + BORDER)
    across = max(margin + width * len(classes), text_width(lines) + BORDER) + BORDER
    picture = Image.new("RGB", (across, HEADER + CELL * len(classes) + BORDER), WHITE)
    pen = ImageDraw.Draw(picture)
    for k, line in enumerate(lines):
        pen.text((BORDER, 6 + 15 * k), line, fill=INK)
    for r, row in enumerate(counts):
        top = HEADER + CELL * r
        pen.text((BORDER, top + 22), names[r], fill=INK)
        centre_text(pen, margin + width * (r + 0.5), HEADER - 16, classes[r], INK)
        for c, count in enumerate(row):
            share, left = count / (sum(row) or 1), margin + width * c
            pen.rectangle((left, top, left + width - 2, top + CELL - 2), fill=shade(share))
            ink = WHITE if share > SHARE_OF_WHITE_TEXT else INK
            centre_text(pen, left + width / 2, top + 14, f"{100 * share:.0f} %", ink)
            centre_text(pen, left + width / 2, top + 30, f"{count:.1f}".removesuffix(".0"), ink)
    return picture


def centre_text(pen: ImageDraw.ImageDraw, x: float, y: float, text: str, ink: Colour) -> None:
    """Write a text whose middle is at x, and whose upper edge is at y."""
    pen.text((x - pen.textlength(text) / 2, y), text, fill=ink)


def text_width(texts: Sequence[str]) -> int:
    """Pixels that the longest of some texts takes."""
    pen = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    return round(max(pen.textlength(text) for text in texts))


def shade(share: float) -> Colour:
    """From nearly white to blue as the share goes from 0 to 1."""
    return round(250 - 180 * share), round(250 - 130 * share), round(252 - 60 * share)
