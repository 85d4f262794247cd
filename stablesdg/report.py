"""Pictures of a run: grids of images and curves of losses, drawn with Pillow alone."""
from PIL import Image, ImageDraw

from .data import save_image

WHITE, INK, PALE, BLUE, RED = (255, 255, 255), (40, 40, 40), (225, 225, 225), (70, 120, 180), (200, 60, 40)


def image_grid(rows, cell=160, label_height=16):
    """[(label, [image, ..]), ..] as one picture: a line of text above each row of square cells."""
    columns = max(len(images) for _, images in rows)
    grid = Image.new("RGB", (columns * (cell + 4) + 4, len(rows) * (cell + 4 + label_height) + 4), WHITE)
    draw = ImageDraw.Draw(grid)
    for r, (label, images) in enumerate(rows):
        top = 4 + r * (cell + 4 + label_height)
        draw.text((4, top), label, fill=INK)
        for c, image in enumerate(images):
            scale = cell / max(image.size)
            small = image.convert("RGB").resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.LANCZOS)
            grid.paste(small, (4 + c * (cell + 4), top + label_height))
    return grid


def running_mean(values, width):
    """The mean over the last `width` values, from the first on."""
    total, means = 0.0, []
    for i, value in enumerate(values):
        total += value - (values[i - width] if i >= width else 0.0)
        means.append(total / min(i + 1, width))
    return means


def curve_plot(title, curve, colour, size=(480, 320)):
    """One line [(x, y), ..] with the axes fitted to it."""
    (x_0, x_1), (y_0, y_1) = ((min(p[k] for p in curve), max(p[k] for p in curve)) for k in (0, 1))
    margin = 0.05 * (y_1 - y_0) or 0.05 * abs(y_0) or 1
    y_0, y_1 = y_0 - margin, y_1 + margin
    left, top, right, bottom = 60, 30, size[0] - 20, size[1] - 30

    def place(x, y):
        return (left + (x - x_0) / ((x_1 - x_0) or 1) * (right - left), bottom - (y - y_0) / (y_1 - y_0) * (bottom - top))

    picture = Image.new("RGB", size, WHITE)
    draw = ImageDraw.Draw(picture)
    draw.text((left, 8), title, fill=INK)
    for k in range(5):
        x, y = x_0 + k / 4 * (x_1 - x_0), y_0 + k / 4 * (y_1 - y_0)
        draw.line([place(x_0, y), place(x_1, y)], fill=PALE)
        draw.text((6, place(x_0, y)[1] - 6), f"{y:.5f}", fill=INK)
        draw.text((place(x, y_0)[0] - 8, bottom + 8), f"{x:.0f}", fill=INK)
    draw.line([place(*p) for p in curve], fill=colour, width=2, joint="curve")
    return picture


def save_loss_plot(path, title, losses, evaluations):
    """Left, the training loss as a running mean, which jumps with the timesteps drawn; right, the loss of held-out
    images at fixed timesteps and noise, which is the one to judge by. Each has a scale of its own."""
    width = max(1, len(losses) // 10)
    means = list(enumerate(running_mean(losses, width), start=1))[width - 1:]
    plots = [curve_plot(f"{title}: training loss, mean of {width} steps", means, BLUE)]
    if len(evaluations) > 1:
        plots.append(curve_plot(f"{title}: held-out loss, fixed noise", sorted(evaluations.items()), RED))
    picture = Image.new("RGB", (sum(plot.width for plot in plots), plots[0].height), WHITE)
    for k, plot in enumerate(plots):
        picture.paste(plot, (k * plot.width, 0))
    save_image(path, picture)
