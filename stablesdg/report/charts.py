"""Charts as inline SVG: the text stays text, the colours follow the reader's light or dark screen, nothing is loaded.

Each is drawn 340 units wide, so that its type is legible on a phone, and grows to the width of the page up to a limit.
Colours are classes of style.py, safe for colour-blind readers: a quantity is a shade of one blue, what must be told
apart differs in shape or line, too.
"""
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .lettering import ticks
from .markup import Html, clipped, join, tag
from .read import TunedCell

WIDTH, EDGE = 340, 8  # units, about pixels on a phone
LEFT, RIGHT = 44, WIDTH - 12  # of the axes where numbers stand beside them
ROW_HEIGHT, AXIS_HEIGHT = 34, 34
PLOT_HEIGHT = 150
LONGEST_LABEL = 52  # characters in a chart; the tables have whole names
KEY_HEIGHT = 28  # of the names above a chart
BINS = 24
DEEPEST = 0.55  # of the scale's blue: text on it stays legible
CELL = 50  # units high
MAP_LEFT = 54  # room for "s = 0.35" beside the cells
Point = tuple[float, float]


@dataclass(frozen=True)
class Interval:
    """A row of an interval chart, in the chart's unit."""
    label: str
    middle: float
    low: float
    high: float
    marked: bool = False  # drawn as a square: what the reader looks for


@dataclass(frozen=True)
class Limit:
    """A vertical line with its name."""
    value: float
    label: str


@dataclass(frozen=True)
class Scale:
    """Places of values between two ends, along an axis from `start` to `end` units."""
    low: float
    high: float
    start: float = EDGE
    end: float = WIDTH - EDGE

    def at(self, value: float) -> float:
        """Where a value lies; beyond the ends at the ends."""
        share = (min(max(value, self.low), self.high) - self.low) / ((self.high - self.low) or 1)
        return round(self.start + share * (self.end - self.start), 1)


def write(x: float, y: float, text: str, anchor: str = "start", class_: str | None = None) -> Html:
    """Text at a place. anchor is start, middle or end."""
    return tag("text", text, x=round(x, 1), y=round(y, 1), text_anchor=anchor, class_=class_)


def line(x_1: float, y_1: float, x_2: float, y_2: float, class_: str) -> Html:
    """A straight line."""
    return tag("line", x1=round(x_1, 1), y1=round(y_1, 1), x2=round(x_2, 1), y2=round(y_2, 1), class_=class_)


def svg(height: float, said: str, *parts: str) -> Html:
    """A chart. `said` tells a reader who cannot see it what it shows."""
    return tag("svg", *parts, viewBox=f"0 0 {WIDTH} {round(height)}", role="img", aria_label=said, class_="chart")


def x_axis(scale: Scale, y: float, top: float, unit: str) -> Html:
    """Round values below y, fine lines up to `top`, and what the values are."""
    parts: list[Html] = []
    for value in ticks(scale.low, scale.high):
        x = scale.at(value)
        parts += [line(x, top, x, y, "grid"), write(x, y + 14, f"{value:g}".replace("-", "−"), "middle")]
    return join([*parts, write(WIDTH / 2, y + 29, unit, "middle", "unit")])


def y_axis(scale: Scale, right: float) -> Html:
    """Round values to the left of the axes, and fine lines across."""
    parts: list[Html] = []
    for value in ticks(scale.low, scale.high, 4):
        y = scale.at(value)
        parts += [line(LEFT, y, right, y, "grid"), write(LEFT - 5, y + 4, f"{value:g}", "end")]
    return join(parts)


def interval_chart(rows: Sequence[Interval], unit: str, said: str) -> Html:
    """A point and its interval in each row, the label above it."""
    values = [value for row in rows for value in (row.low, row.high)]
    margin = 0.06 * (max(values) - min(values)) or 1
    scale = Scale(min(values) - margin, max(values) + margin)
    bottom = ROW_HEIGHT * len(rows) + 4
    parts = [x_axis(scale, bottom, 4, unit)]
    for k, row in enumerate(rows):
        y, x = ROW_HEIGHT * k + 25, scale.at(row.middle)
        shape = (tag("rect", x=x - 5, y=y - 5, width=10, height=10, class_="mark") if row.marked else
                 tag("circle", cx=x, cy=y, r=4.5, class_="mark"))
        parts += [write(EDGE, y - 11, clipped(row.label, LONGEST_LABEL), class_="label"),
                  line(scale.at(row.low), y, scale.at(row.high), y, "whisker"),
                  *(line(scale.at(end), y - 4, scale.at(end), y + 4, "whisker") for end in (row.low, row.high)), shape]
    return svg(bottom + AXIS_HEIGHT, said, *parts)


def histogram(values: Sequence[float], limits: Sequence[Limit], unit: str, said: str) -> Html:
    """How many values lie where. Values beyond the axis are in the last bar."""
    ordered = sorted(values)
    high = max([1.1 * limit.value for limit in limits] + [ordered[int(0.98 * (len(ordered) - 1))]])
    scale = Scale(0.0, high or 1.0, LEFT, RIGHT)
    counts = [0] * BINS
    for value in values:
        counts[min(BINS - 1, max(0, int(value / scale.high * BINS)))] += 1
    top, bottom = 30, 30 + PLOT_HEIGHT
    height = Scale(0, max(counts), bottom, top)
    parts = [x_axis(scale, bottom, top, unit), y_axis(height, RIGHT)]
    for k, n in enumerate(counts):
        left, right = (scale.at(scale.high * edge / BINS) for edge in (k, k + 1))
        parts.append(tag("rect", x=left + 0.5, y=height.at(n), width=max(0.5, round(right - left - 1, 1)),
                         height=round(bottom - height.at(n), 1), class_="bar"))
    for limit in limits:
        x, before = scale.at(limit.value), limit.value > scale.high / 2
        parts += [line(x, 14, x, bottom, "limit"),
                  write(x + (-4 if before else 4), 22, limit.label, "end" if before else "start")]
    parts.append(write(EDGE, 9, "images", class_="unit"))
    return svg(bottom + AXIS_HEIGHT, said, *parts)


def curve_chart(points: Sequence[Point], least: float, unit: str, quantity: str, said: str) -> Html:
    """A line over an axis. The vertical axis reaches at least so far (`least`) on either side of the first point."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    low, high = min(ys[0] - least, *ys), max(ys[0] + least, *ys)
    margin = 0.08 * (high - low) or 1
    top, bottom = 18, 18 + PLOT_HEIGHT
    across = Scale(min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1, LEFT, RIGHT)
    up = Scale(low - margin, high + margin, bottom, top)
    path = " ".join(f"{across.at(x)},{up.at(y)}" for x, y in points)
    return svg(bottom + AXIS_HEIGHT, said, x_axis(across, bottom, top, unit), y_axis(up, RIGHT),
               write(EDGE, 10, quantity, class_="unit"), tag("polyline", points=path, class_="bold"),
               *(tag("circle", cx=across.at(x), cy=up.at(y), r=3, class_="mark") for x, y in points))


def growth_chart(curves: Mapping[str, Sequence[Point]], unit: str, said: str) -> Html:
    """Lines over an axis of doublings, named above: {name: [(images, percent), ..]}."""
    points = [point for own in curves.values() for point in own]
    low, high = (extreme(y for _, y in points) for extreme in (min, max))
    margin, numbers = 0.08 * (high - low) or 1, sorted({x for x, _ in points})
    top, bottom = KEY_HEIGHT, KEY_HEIGHT + PLOT_HEIGHT
    across = Scale(math.log(numbers[0]), math.log(max(numbers[-1], numbers[0] + 1)), LEFT + 8, RIGHT - 8)
    up = Scale(low - margin, high + margin, bottom, top)
    parts: list[Html] = [y_axis(up, RIGHT), write(WIDTH / 2, bottom + 29, unit, "middle", "unit")]
    parts += [write(across.at(math.log(n)), bottom + 14, f"{n:g}", "middle") for n in numbers]
    for k, (name, own) in enumerate(curves.items()):
        spots = [(across.at(math.log(x)), up.at(y)) for x, y in own]
        parts.append(tag("polyline", points=" ".join(f"{x},{y}" for x, y in spots), class_=f"bold dash-{k % 3}"))
        parts += [tag("circle", cx=x, cy=y, r=3, class_="mark") for x, y in spots]
        x = EDGE + k * (WIDTH - EDGE) / len(curves)
        parts += [tag("line", x1=x, x2=x + 26, y1=10, y2=10, class_=f"bold dash-{k % 3}"), write(x + 31, 14, name)]
    return svg(bottom + AXIS_HEIGHT, said, *parts)


def heat_map(cells: Sequence[TunedCell], chosen: Point | None, said: str) -> Html:
    """The distance of each (s, w) with its standard deviation: the deeper the blue, the nearer to real images."""
    strengths, guidances = sorted({cell.s for cell in cells}), sorted({cell.w for cell in cells})
    low, high = (extreme(cell.distance for cell in cells) for extreme in (min, max))
    width = min(2 * CELL, (WIDTH - MAP_LEFT - EDGE) / len(guidances))
    parts = [write(MAP_LEFT + width * (k + 0.5), 14, f"w = {w:g}", "middle") for k, w in enumerate(guidances)]
    parts += [write(MAP_LEFT - 5, 24 + CELL * (r + 0.5), f"s = {s:g}", "end") for r, s in enumerate(strengths)]
    frames = []
    for cell in cells:
        x, y = MAP_LEFT + width * guidances.index(cell.w), 20 + CELL * strengths.index(cell.s)
        near = (high - cell.distance) / (high - low) if high > low else 0.5
        place = {"x": round(x + 1, 1), "y": y + 1, "width": round(width - 2, 1), "height": CELL - 2}
        middle = x + width / 2
        parts += [tag("rect", **place, class_="cell", fill_opacity=f"{0.06 + (DEEPEST - 0.06) * near:.2f}"),
                  write(middle, y + 22, f"{cell.distance:.1f}", "middle", "value"),
                  write(middle, y + 38, f"± {cell.sd:.1f}", "middle", "unit")]
        if chosen == (cell.s, cell.w):
            frames.append(tag("rect", **place, class_="chosen"))
    return svg(20 + CELL * len(strengths) + 4, said, *parts, *frames)
