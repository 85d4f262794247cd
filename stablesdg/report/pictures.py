"""Pictures of a training: grids of images and curves of losses, drawn with Pillow alone."""
from collections.abc import Mapping, Sequence
from math import inf, sqrt
from pathlib import Path
from statistics import fmean, stdev

from PIL import Image, ImageDraw

from ..data.images import save_image

Colour = tuple[int, int, int]
CELL, CAPTION_HEIGHT = 160, 13  # pixels: the side of an image in a grid, a line of text under it
CLEAR_CHANGE = 2.0  # standard errors; less can be chance
LEAST_CHANGE_SHOWN = 0.01  # of the loss: the axis spans at least this much on either side of the start
WHITE, INK, PALE, BLUE, RED = (255, 255, 255), (40, 40, 40), (225, 225, 225), (70, 120, 180), (200, 60, 40)


def image_grid(rows: Sequence[tuple[str, Sequence[Image.Image]]], cell: int = CELL, label_height: int = 16,
               captions: Mapping[int, Sequence[str]] | None = None) -> Image.Image:
    """[(label, [image, ..]), ..] as one picture: a line of text above each row of square cells.

    captions  lines of text under each image of a row: {number of the row: [text of its first image, ..]}
    """
    captions = captions or {}
    columns = max(len(images) for _, images in rows)
    lines = {r: max(text.count("\n") + 1 for text in texts) for r, texts in captions.items()}
    height = len(rows) * (cell + 4 + label_height) + CAPTION_HEIGHT * sum(lines.values())
    grid = Image.new("RGB", (columns * (cell + 4) + 4, height + 4), WHITE)
    pen = ImageDraw.Draw(grid)
    top = 4
    for r, (label, images) in enumerate(rows):
        pen.text((4, top), label, fill=INK)
        for c, image in enumerate(images):
            scale = cell / max(image.size)
            size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
            small = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
            grid.paste(small, (4 + c * (cell + 4), top + label_height))
        for c, text in enumerate(captions.get(r, [])):
            pen.multiline_text((4 + c * (cell + 4), top + label_height + cell + 1), text, fill=INK, spacing=2)
        top += cell + 4 + label_height + CAPTION_HEIGHT * lines.get(r, 0)
    return grid


def running_mean(values: Sequence[float], width: int) -> list[float]:
    """The mean over the last `width` values, from the first on."""
    total, means = 0.0, []
    for i, value in enumerate(values):
        total += value - (values[i - width] if i >= width else 0.0)
        means.append(total / min(i + 1, width))
    return means


def curve_plot(title: str, curve: Sequence[tuple[float, float]], colour: Colour, bars: Sequence[float] | None = None,
               least: float = 0.0, size: tuple[int, int] = (480, 320)) -> Image.Image:
    """One line [(x, y), ..] with the axes fitted to it.

    bars   half the length of a vertical bar at each point
    least  the vertical axis reaches at least so far on either side of the first point
    """
    bars = bars or [0.0] * len(curve)
    x_0, x_1 = (extreme(x for x, _ in curve) for extreme in (min, max))
    start = curve[0][1]
    y_0 = min(start - least, *(y - bar for (_, y), bar in zip(curve, bars)))
    y_1 = max(start + least, *(y + bar for (_, y), bar in zip(curve, bars)))
    margin = 0.05 * (y_1 - y_0) or 0.05 * abs(y_0) or 1
    y_0, y_1 = y_0 - margin, y_1 + margin
    left, top, right, bottom = 60, 44, size[0] - 20, size[1] - 30

    def place(x: float, y: float) -> tuple[float, float]:
        return (left + (x - x_0) / ((x_1 - x_0) or 1) * (right - left),
                bottom - (y - y_0) / (y_1 - y_0) * (bottom - top))

    picture = Image.new("RGB", size, WHITE)
    pen = ImageDraw.Draw(picture)
    pen.multiline_text((6, 8), title, fill=INK)
    for k in range(5):
        x, y = x_0 + k / 4 * (x_1 - x_0), y_0 + k / 4 * (y_1 - y_0)
        pen.line([place(x_0, y), place(x_1, y)], fill=PALE)
        pen.text((6, place(x_0, y)[1] - 6), f"{y:.5f}", fill=INK)
        pen.text((place(x, y_0)[0] - 8, bottom + 8), f"{x:.0f}", fill=INK)
    for (x, y), bar in zip(curve, bars):
        pen.line([place(x, y - bar), place(x, y + bar)], fill=colour)
    pen.line([place(*p) for p in curve], fill=colour, width=2, joint="curve")
    return picture


# ---- losses -----------------------------------------------------------------------------------------------------


def change_and_error(before: Sequence[float], after: Sequence[float]) -> tuple[float, float]:
    """(mean change, its standard error) of the losses of the same draws."""
    changes = [b - a for a, b in zip(before, after)]
    return fmean(changes), stdev(changes) / sqrt(len(changes)) if len(changes) > 1 else inf


def describe_change(held_out: Mapping[int, Sequence[float]]) -> str:
    """What training did to the held-out loss, in words: {step: losses of the same draws}."""
    before, after = (held_out[extreme(held_out)] for extreme in (min, max))
    change, error = change_and_error(before, after)
    numbers = f"held-out loss {fmean(before):.4f} -> {fmean(after):.4f}"
    if change == 0 or error == inf:
        return f"{numbers}, unchanged" if change == 0 else numbers
    count = abs(change) / error if error else inf
    way = "fell" if change < 0 else "rose"
    size = f"{count:.1f} standard errors over {len(before)} draws"
    return (f"{numbers}: it {way} by {size}" if count >= CLEAR_CHANGE
            else f"{numbers}: no change that can be told ({size})")


def save_loss_plot(path: Path, title: str, losses: Sequence[float], held_out: Mapping[int, Sequence[float]]) -> None:
    """Draw two curves, each on a scale of its own.

    On the left is the training loss as a running mean; it jumps with the timesteps drawn. On the right is the loss of
    held-out images at fixed timesteps and noise; judge by this one. Its bars are two standard errors of the change
    since the start, over the draws. Its axis spans at least twice the longest bar and one percent of the loss on either
    side of the start, so that a change within chance looks small.
    """
    width = max(1, len(losses) // 10)
    means = list(enumerate(running_mean(losses, width), start=1))[width - 1:]
    plots = [curve_plot(f"{title}: training loss,\nrunning mean of {width} steps", means, BLUE)]
    if len(held_out) > 1:
        steps = sorted(held_out)
        start = held_out[steps[0]]
        bars = [0.0 if error == inf else CLEAR_CHANGE * error
                for _, error in (change_and_error(start, held_out[step]) for step in steps)]
        plots.append(curve_plot(f"{title}, fixed noise:\n{describe_change(held_out)}",
                                [(step, fmean(held_out[step])) for step in steps], RED, bars,
                                max(2 * max(bars), LEAST_CHANGE_SHOWN * fmean(start))))
    picture = Image.new("RGB", (sum(plot.width for plot in plots), plots[0].height), WHITE)
    for k, plot in enumerate(plots):
        picture.paste(plot, (k * plot.width, 0))
    save_image(path, picture)
