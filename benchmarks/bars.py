"""Bars for the figures of a benchmark, drawn with Pillow alone."""
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from stablesdg.data.images import save_image
from stablesdg.report.pictures import BLUE, INK, WHITE

ROW, LABEL, LENGTH, MARGIN = 26, 230, 300, 90  # pixels: height of a bar's row, its label, the longest bar, the number
TITLE_HEIGHT = 28


def save_bars(path: Path, title: str, bars: Sequence[tuple[str, float]]) -> None:
    """A row for each (label, value), from the top down. All values are at least 0."""
    longest = max((value for _, value in bars), default=0) or 1
    picture = Image.new("RGB", (LABEL + LENGTH + MARGIN, TITLE_HEIGHT + ROW * len(bars) + 8), WHITE)
    pen = ImageDraw.Draw(picture)
    pen.text((8, 8), title, fill=INK)
    for k, (label, value) in enumerate(bars):
        top, end = TITLE_HEIGHT + ROW * k, LABEL + value / longest * LENGTH
        pen.text((8, top + 6), label, fill=INK)
        pen.rectangle((LABEL, top + 4, max(LABEL, end), top + ROW - 4), fill=BLUE)
        pen.text((end + 6, top + 6), f"{value:.4g}", fill=INK)
    save_image(path, picture)
