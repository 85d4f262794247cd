"""Pictures of a training: grids of images and curves of losses, drawn with Pillow alone."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, sqrt
from pathlib import Path
from statistics import fmean

import numpy as np
from PIL import Image, ImageDraw

from ..data.images import save_image
from ..recognise.significance import spread_of_mean
from .lettering import SMALL, Colour, ticks, wrapped, write, write_centred, write_right

CELL, LABEL_HEIGHT, CAPTION_HEIGHT = 160, 16, 13  # pixels: an image's side in a grid, a line above, one below it
CAPTION_SIZE = 10  # pixels: 26 characters fit under a cell
LOSS_AXES = ("iteration", "loss (mean squared error of the noise)")
MOST_MARKED = 40  # points of a curve; more would hide the line
LEAST_CHANGE_SHOWN = 0.01  # of the loss: the axis spans at least this much on either side of the start
WHITE, INK, PALE, BLUE, RED = (255, 255, 255), (40, 40, 40), (225, 225, 225), (70, 120, 180), (200, 60, 40)


def image_grid(rows: Sequence[tuple[str, Sequence[Image.Image]]], cell: int = CELL,
               captions: Mapping[int, Sequence[str]] | None = None) -> Image.Image:
    """[(label, [image, ..]), ..] as one picture: a line of text above each row of square cells.

    captions  lines of text under each image of a row: {number of the row: [text of its first image, ..]}
    """
    captions = captions or {}
    columns = max(len(images) for _, images in rows)
    lines = {r: max(text.count("\n") + 1 for text in texts) for r, texts in captions.items()}
    height = len(rows) * (cell + 4 + LABEL_HEIGHT) + CAPTION_HEIGHT * sum(lines.values())
    grid = Image.new("RGB", (columns * (cell + 4) + 4, height + 4), WHITE)
    pen = ImageDraw.Draw(grid)
    top = 4
    for r, (label, images) in enumerate(rows):
        write(pen, 4, top, label, INK)
        for c, image in enumerate(images):
            scale = cell / max(image.size)
            size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
            small = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
            grid.paste(small, (4 + c * (cell + 4), top + LABEL_HEIGHT))
        for c, text in enumerate(captions.get(r, [])):
            y = top + LABEL_HEIGHT + cell + 1
            for k, line in enumerate(text.split("\n")):
                write(pen, 4 + c * (cell + 4), y + CAPTION_HEIGHT * k, line, INK, CAPTION_SIZE)
        top += cell + 4 + LABEL_HEIGHT + CAPTION_HEIGHT * lines.get(r, 0)
    return grid


def running_mean(values: Sequence[float], width: int) -> list[float]:
    """The mean over the last `width` values, from the first on."""
    total, means = 0.0, []
    for i, value in enumerate(values):
        total += value - (values[i - width] if i >= width else 0.0)
        means.append(total / min(i + 1, width))
    return means


def curve_plot(title: str, curve: Sequence[tuple[float, float]], colour: Colour, bars: Sequence[float] | None = None,
               least: float = 0.0, size: tuple[int, int] = (480, 340),
               names: tuple[str, str] = ("", "")) -> Image.Image:
    """One line [(x, y), ..] with the axes fitted to it.

    bars   half the length of a vertical bar at each point
    least  the vertical axis reaches at least so far on either side of the first point
    names  of the axes, (x, y), with their units
    """
    bars = bars or [0.0] * len(curve)
    x_0, x_1 = (extreme(x for x, _ in curve) for extreme in (min, max))
    start = curve[0][1]
    y_0 = min(start - least, *(y - bar for (_, y), bar in zip(curve, bars)))
    y_1 = max(start + least, *(y + bar for (_, y), bar in zip(curve, bars)))
    margin = 0.05 * (y_1 - y_0) or 0.05 * abs(y_0) or 1
    y_0, y_1 = y_0 - margin, y_1 + margin
    left, top, right, bottom = 64, 82, size[0] - 22, size[1] - 44

    def place(x: float, y: float) -> tuple[float, float]:
        return (left + (x - x_0) / ((x_1 - x_0) or 1) * (right - left),
                bottom - (y - y_0) / (y_1 - y_0) * (bottom - top))

    picture = Image.new("RGB", size, WHITE)
    pen = ImageDraw.Draw(picture)
    write(pen, 8, 8, wrapped(title, size[0] - 16), INK)
    write(pen, 8, top - 16, names[1], INK, SMALL)
    for y in ticks(y_0, y_1):
        pen.line([place(x_0, y), place(x_1, y)], fill=PALE)
        write_right(pen, left - 6, place(x_0, y)[1] - 7, f"{y:g}", INK, SMALL)
    for x in ticks(x_0, x_1):
        pen.line([place(x, y_0), (place(x, y_0)[0], bottom + 4)], fill=INK)
        write_centred(pen, place(x, y_0)[0], bottom + 7, f"{x:g}", INK, SMALL)
    pen.line([(left, bottom), (right, bottom)], fill=INK)
    write_centred(pen, (left + right) / 2, bottom + 24, names[0], INK, SMALL)
    for (x, y), bar in zip(curve, bars):
        if bar:
            pen.line([place(x, y - bar), place(x, y + bar)], fill=colour, width=2)
    pen.line([place(*p) for p in curve], fill=colour, width=2, joint="curve")
    if len(curve) <= MOST_MARKED:
        for x, y in (place(*p) for p in curve):
            pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=colour)
    return picture


# ---- losses -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """Mean change of the held-out loss, and how sure it is for other surfaces."""
    mean: float
    error: float  # its standard error
    half_width: float  # of its 95 % interval, by Student's t
    surfaces: int

    @property
    def is_clear(self) -> bool:
        """Whether chance can hardly have made it."""
        return self.surfaces > 1 and abs(self.mean) > self.half_width


def change_of(before: Sequence[float], after: Sequence[float], surfaces: Sequence[str]) -> Change:
    """The change between losses of the same draws. Draws of images of one surface rise and fall together."""
    changes = np.subtract(after, before)
    spread = spread_of_mean(changes[None], surfaces)
    return Change(float(changes.mean()), sqrt(spread.variance), spread.half_width, len(set(surfaces)))


def describe_change(held_out: Mapping[int, Sequence[float]], surfaces: Sequence[str]) -> str:
    """What training did to the held-out loss, in words: {step: losses of the same draws}, and each draw's surface."""
    before, after = (held_out[extreme(held_out)] for extreme in (min, max))
    change = change_of(before, after, surfaces)
    numbers = f"held-out loss {fmean(before):.4f} -> {fmean(after):.4f}"
    if change.mean == 0:
        return f"{numbers}, unchanged"
    if change.surfaces < 2:
        return f"{numbers}, of one surface alone"
    count = abs(change.mean) / change.error if change.error else inf
    size = f"{count:.1f} standard errors over {change.surfaces} surfaces"
    if change.is_clear:
        return f"{numbers}: it {'fell' if change.mean < 0 else 'rose'} by {size}"
    return f"{numbers}: no change that can be told ({size}; {change.half_width / change.error:.1f} would tell)"


def save_loss_plot(path: Path, title: str, losses: Sequence[float], held_out: Mapping[int, Sequence[float]],
                   surfaces: Sequence[str]) -> None:
    """Draw two curves, each on a scale of its own.

    On the left is the training loss as a running mean; it jumps with the timesteps drawn. On the right is the loss of
    held-out images at fixed timesteps and noise; judge by this one. Its bars are the 95 % interval of the change since
    the start, for other surfaces. Its axis spans at least twice the longest bar and one percent of the loss on either
    side of the start, so that a change within chance looks small.

    surfaces  of the image of each draw, named
    """
    width = max(1, len(losses) // 10)
    means = list(enumerate(running_mean(losses, width), start=1))[width - 1:]
    plots = [curve_plot(f"{title}: training loss,\nrunning mean of {width} steps", means, BLUE, names=LOSS_AXES)]
    if len(held_out) > 1:
        steps = sorted(held_out)
        start = held_out[steps[0]]
        bars = [change_of(start, held_out[step], surfaces).half_width for step in steps]
        plots.append(curve_plot(f"{title}, fixed noise:\n{describe_change(held_out, surfaces)}",
                                [(step, fmean(held_out[step])) for step in steps], RED, bars,
                                max(2 * max(bars), LEAST_CHANGE_SHOWN * fmean(start)), names=LOSS_AXES))
    picture = Image.new("RGB", (sum(plot.width for plot in plots), plots[0].height), WHITE)
    for k, plot in enumerate(plots):
        picture.paste(plot, (k * plot.width, 0))
    save_image(path, picture)
