"""Pictures of a run: grids of images and curves of losses, drawn with Pillow alone."""
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from ..data.images import read_image, save_image

Colour = tuple[int, int, int]
PAIRS_SHOWN, NOVELTY_SHOWN = 8, 8
WHITE, INK, PALE, BLUE, RED = (255, 255, 255), (40, 40, 40), (225, 225, 225), (70, 120, 180), (200, 60, 40)


def image_grid(rows: Sequence[tuple[str, Sequence[Image.Image]]], cell: int = 160,
               label_height: int = 16) -> Image.Image:
    """[(label, [image, ..]), ..] as one picture: a line of text above each row of square cells."""
    columns = max(len(images) for _, images in rows)
    grid = Image.new("RGB", (columns * (cell + 4) + 4, len(rows) * (cell + 4 + label_height) + 4), WHITE)
    pen = ImageDraw.Draw(grid)
    for r, (label, images) in enumerate(rows):
        top = 4 + r * (cell + 4 + label_height)
        pen.text((4, top), label, fill=INK)
        for c, image in enumerate(images):
            scale = cell / max(image.size)
            size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
            small = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
            grid.paste(small, (4 + c * (cell + 4), top + label_height))
    return grid


def running_mean(values: Sequence[float], width: int) -> list[float]:
    """The mean over the last `width` values, from the first on."""
    total, means = 0.0, []
    for i, value in enumerate(values):
        total += value - (values[i - width] if i >= width else 0.0)
        means.append(total / min(i + 1, width))
    return means


def curve_plot(title: str, curve: Sequence[tuple[float, float]], colour: Colour,
               size: tuple[int, int] = (480, 320)) -> Image.Image:
    """One line [(x, y), ..] with the axes fitted to it."""
    (x_0, x_1), (y_0, y_1) = ((min(p[k] for p in curve), max(p[k] for p in curve)) for k in (0, 1))
    margin = 0.05 * (y_1 - y_0) or 0.05 * abs(y_0) or 1
    y_0, y_1 = y_0 - margin, y_1 + margin
    left, top, right, bottom = 60, 30, size[0] - 20, size[1] - 30

    def place(x: float, y: float) -> tuple[float, float]:
        return (left + (x - x_0) / ((x_1 - x_0) or 1) * (right - left),
                bottom - (y - y_0) / (y_1 - y_0) * (bottom - top))

    picture = Image.new("RGB", size, WHITE)
    pen = ImageDraw.Draw(picture)
    pen.text((left, 8), title, fill=INK)
    for k in range(5):
        x, y = x_0 + k / 4 * (x_1 - x_0), y_0 + k / 4 * (y_1 - y_0)
        pen.line([place(x_0, y), place(x_1, y)], fill=PALE)
        pen.text((6, place(x_0, y)[1] - 6), f"{y:.5f}", fill=INK)
        pen.text((place(x, y_0)[0] - 8, bottom + 8), f"{x:.0f}", fill=INK)
    pen.line([place(*p) for p in curve], fill=colour, width=2, joint="curve")
    return picture


def save_loss_plot(path: Path, title: str, losses: Sequence[float], held_out: Mapping[int, float]) -> None:
    """Draw two curves, each on a scale of its own.

    On the left is the training loss as a running mean; it jumps with the timesteps drawn. On the right is the loss of
    held-out images at fixed timesteps and noise; judge by this one.
    """
    width = max(1, len(losses) // 10)
    means = list(enumerate(running_mean(losses, width), start=1))[width - 1:]
    plots = [curve_plot(f"{title}: training loss, mean of {width} steps", means, BLUE)]
    if len(held_out) > 1:
        plots.append(curve_plot(f"{title}: held-out loss, fixed noise", sorted(held_out.items()), RED))
    picture = Image.new("RGB", (sum(plot.width for plot in plots), plots[0].height), WHITE)
    for k, plot in enumerate(plots):
        picture.paste(plot, (k * plot.width, 0))
    save_image(path, picture)


def save_pairs(path: Path, pairs: Sequence[tuple[Path, Path]], label: str) -> None:
    """Draw the first sources above what was made of them: pairs (source, generated)."""
    shown = pairs[:PAIRS_SHOWN]
    save_image(path, image_grid([("sources", [read_image(source)[0] for source, _ in shown]),
                                 (label, [read_image(generated)[0] for _, generated in shown])]))


def save_novelty_picture(path: Path, rows: Sequence[tuple[Path, float, Path]]) -> None:
    """Draw the least and the most novel images above their nearest training image: rows (file, novelty, nearest)."""
    rows = sorted(rows, key=lambda row: row[1])
    shown = []
    for label, some in (("least novel", rows[:NOVELTY_SHOWN]), ("most novel", rows[:-NOVELTY_SHOWN - 1:-1])):
        numbers = " ".join(f"{value:.2f}" for _, value, _ in some)
        shown += [(f"{label}: {numbers}", [read_image(file)[0] for file, _, _ in some]),
                  ("their nearest training images", [read_image(file)[0] for _, _, file in some])]
    save_image(path, image_grid(shown))
