"""A confusion matrix as a picture: true classes down, predicted ones across, in percent and in images."""
from collections.abc import Sequence

from PIL import Image, ImageDraw

from .lettering import NORMAL, SMALL, TITLE, Colour, ink_on, line_height, text_width, wrapped, write, write_centred
from .pictures import INK, WHITE

BORDER = 10  # pixels
CELL = 62  # pixels, at least
LEAST_WIDTH = 420  # pixels; the title needs them
DIAGONAL = (0, 90, 160)  # the frame around right answers
MIN_SHARE_NAMED = 0.005  # a mistake that is rarer is written as none


def confusion_picture(counts: Sequence[Sequence[float]], classes: Sequence[str], title: str,
                      n_seeds: int = 1) -> Image.Image:
    """Draw counts[true][predicted], which are means over so many seeds.

    Each cell has the percentage of the true class and, below it, the number of images. The larger the percentage, the
    darker the cell. Right answers have a frame. Rows and columns are as wide as the longest name.
    """
    mean_of = f", mean of {n_seeds} seeds" if n_seeds > 1 else ""
    names = [f"{name} (n = {sum(row):.0f})" for name, row in zip(classes, counts)]
    margin = 2 * BORDER + text_width(names)
    width = max(CELL, text_width(classes) + BORDER)
    across = max(margin + width * len(classes) + BORDER, LEAST_WIDTH, text_width([f"{title}{mean_of}"]) + 2 * BORDER)
    finding = wrapped(largest_mistake(counts, classes), across - 2 * BORDER, TITLE)
    head = BORDER + line_height(TITLE) * (finding.count("\n") + 1)
    top = head + 4 * line_height(NORMAL) + BORDER
    picture = Image.new("RGB", (across, top + CELL * len(classes) + BORDER), WHITE)
    pen = ImageDraw.Draw(picture)
    write(pen, BORDER, BORDER, finding, INK, TITLE)
    write(pen, BORDER, head, f"{title}{mean_of}", INK)
    write(pen, BORDER, head + line_height(NORMAL), "percent of the true class, images", INK, SMALL)
    write(pen, margin, top - 2 * line_height(NORMAL), "predicted class", INK, SMALL)
    write(pen, BORDER, top - line_height(NORMAL), "true class", INK, SMALL)
    for r, row in enumerate(counts):
        y = top + CELL * r
        write(pen, BORDER, y + (CELL - line_height(NORMAL)) / 2, names[r], INK)
        write_centred(pen, margin + width * (r + 0.5), top - line_height(NORMAL), classes[r], INK)
        for c, count in enumerate(row):
            share, left = count / (sum(row) or 1), margin + width * c
            box, colour = (left, y, left + width - 3, y + CELL - 3), shade(share)
            pen.rectangle(box, fill=colour, outline=DIAGONAL if r == c else None, width=2)
            ink, middle = ink_on(colour), left + width / 2 - 1
            write_centred(pen, middle, y + 12, f"{100 * share:.0f} %", ink, TITLE)
            write_centred(pen, middle, y + 34, f"{count:.1f}".removesuffix(".0"), ink, SMALL)
    return picture


def largest_mistake(counts: Sequence[Sequence[float]], classes: Sequence[str]) -> str:
    """The class that is most often taken for another, in words."""
    shares = [(count / sum(row), name, other) for name, row in zip(classes, counts) if sum(row)
              for other, count in zip(classes, row) if other != name]
    share, name, other = max(shares, default=(0.0, "", ""))
    if share < MIN_SHARE_NAMED:
        return "No class is taken for another"
    return f"Most often mistaken: {name} for {other}, {100 * share:.0f} %"


def shade(share: float) -> Colour:
    """From nearly white to a deep blue as the share goes from 0 to 1."""
    return round(247 - 239 * share), round(250 - 170 * share), round(253 - 98 * share)
