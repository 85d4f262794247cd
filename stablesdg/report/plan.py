"""What python -m stablesdg.plan says and draws: tables in plain text, linked pairs, the learning curves."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from ..data.audit import Audit
from ..data.descriptor import HASH_BITS, bits_apart
from ..data.images import save_image
from ..data.parts import PARTS, count
from ..data.surfaces import NamedOverlap
from ..recognise.significance import in_points
from .lettering import NORMAL, Colour, write, write_centred, write_right
from .overlaps import save_named_overlaps
from .pictures import BLUE, INK, PALE, RED, WHITE

if TYPE_CHECKING:
    from ..recognise.baseline import Plan, TestPart
    from ..recognise.costs import StageCost
    from ..recognise.learning_curve import LearningCurve

LEAK_NAMES_SHOWN = 3
CURVE_SIZE = (640, 420)  # pixels
CURVE_BOX = (64, 58, 620, 366)  # left, top, right, bottom of the axes
GREEN: Colour = (60, 140, 80)
CURVE_COLOURS = (BLUE, GREEN, RED)
TICK = 0.1  # of the score, between horizontal lines, or 0.02 where the curves lie close
CLOSE = 0.25
LEGEND_TOP, LEGEND_WIDTH = 36, 150  # pixels

Row = Sequence[str]


# ---- text -------------------------------------------------------------------------------------------------------


def table(header: Row, rows: Sequence[Row]) -> list[str]:
    """Lines of a table with aligned columns: the first to the left, the others to the right."""
    widths = [max(len(row[k]) for row in (header, *rows)) for k in range(len(header))]
    return ["  ".join(cell.ljust(width) if k == 0 else cell.rjust(width)
                      for k, (cell, width) in enumerate(zip(row, widths))).rstrip() for row in (header, *rows)]


def percent(share: float) -> str:
    """One decimal."""
    return f"{100 * share:.1f}"


def audit_lines(audit: Audit) -> list[str]:
    """What the images are, which share surface, and whether the parts leak."""
    own, facts = audit.classes, audit.inventory.classes
    surfaces = len(set(audit.groups.values()))
    lines = ["", f"DATA: {count(len(audit.files), 'image')} of {count(surfaces, 'surface')} in "
             f"{len(own)} classes", *table(
        ["class", "images", "surfaces", "largest", "linked pairs", *(f"{part}: images (surfaces)" for part in PARTS)],
        [[k, str(a.images), str(a.surfaces), str(a.largest), str(a.pairs),
          *(f"{a.parts[part]} ({a.part_surfaces[part]})" for part in PARTS)] for k, a in own.items()]),
        "Images are linked if they overlap, are copies, or are tiles of one photograph. Linked images are one surface.",
        f"Linked pairs of two classes: {audit.pairs_across}."]
    if audit.links.not_compared:
        lines.append(f"{audit.links.not_compared:,} pairs of images were not compared: their sides differ more "
                     "than twofold.")
    lines += ["", "FILES", *table(["class", "pixels", "mode", "bits", "codec"],
                                  [[k, f.sizes, f.modes, f.bits, f.codecs] for k, f in facts.items()]),
              *(f"Note: {note}" for note in audit.inventory.notes)]
    return [*lines, *hash_lines(audit), *leak_lines(audit)]


def hash_lines(audit: Audit) -> list[str]:
    """What a perceptual hash would have found of the links."""
    pairs = len(audit.links.pairs)
    if not pairs:
        return []
    return ["", f"WHAT A HASH WOULD HAVE FOUND: {count(pairs, 'linked pair')}, dHash of {HASH_BITS} bits", *table(
        ["bits that may differ", "linked pairs found", "of them", "other pairs that look alike"],
        [[str(limit.bits), str(limit.linked), f"{100 * limit.linked / pairs:.0f} %", str(limit.others)]
         for limit in audit.hash])]


def leak_lines(audit: Audit) -> list[str]:
    """Whether images outside the training part share surface with it."""
    outside = audit.names(*PARTS[1:])
    kind = "given folders" if audit.method == "folders" else f"{audit.method} split"
    if not audit.leaked:
        return ["", "LEAK: none found among images that overlap. None of the "
                f"{count(len(outside), 'image')} outside the training part of the {kind} shares surface with it."]
    named = ", ".join(audit.leaked[:LEAK_NAMES_SHOWN])
    advice = ("Keep images of one surface in one folder." if audit.method == "folders" else
              f"python -m stablesdg.split {audit.data} --split group --replace makes a split without that leak.")
    return ["", f"LEAK: {len(audit.leaked)} of the {count(len(outside), 'image')} outside the training part of the "
            f"{kind} share surface with it ({named}{', ..' if len(audit.leaked) > LEAK_NAMES_SHOWN else ''}). A test "
            f"on them measures memory. {advice}"]


def plan_lines(plan: Plan) -> list[str]:
    """The whole text. The recommendation is its first line, and its end."""
    return [plan.advice.headline, *audit_lines(plan.audit), *baseline_lines(plan), *test_lines(plan.test),
            *cost_lines("WITH weights/nano, on this machine", plan.nano),
            *cost_lines("WITH STABLE DIFFUSION v1.5 at 512 px, computed for a GPU that sustains 20 TFLOP/s",
                        plan.stable_diffusion),
            "", "RECOMMENDATION", plan.advice.headline, *plan.advice.further]


def baseline_lines(plan: Plan) -> list[str]:
    """The learning curves."""
    lines = ["", "WITHOUT GENERATED IMAGES: balanced accuracy in percent with so many real images a class"]
    levels = [point.per_class for point in plan.curves[0].points]
    lines += table(["classifier", *map(str, levels)],
                   [[curve.name, *(f"{percent(p.balanced)} +- {percent(p.balanced_sd)}" for p in curve.points)]
                    for curve in plan.curves])
    lines += ["", f"With all images ({levels[-1]} a class: the median; a class with fewer gives all it has)", *table(
        ["classifier", "accuracy: 95 % interval", "balanced", "macro-F1",
         *(f"recall {k}" for k in plan.audit.classes)],
        [[curve.name, f"{percent(p.accuracy)}: {percent(p.accuracy_low)} to {percent(p.accuracy_high)}",
          percent(p.balanced), percent(p.macro_f1), *map(percent, p.recalls)]
         for curve in plan.curves for p in [curve.best]])]
    for curve in plan.curves:
        if d := curve.doubling:
            lines.append(f"{curve.name}: error ~ n^{-d.exponent:.2f}; twice {d.per_class} images a class would "
                         f"bring {in_points(d.gain)} points ({in_points(d.low)} to {in_points(d.high)}).")
    left = f" {count(plan.images_left_out, 'image')} are left out, to save time." if plan.images_left_out else ""
    return [*lines, "That is an extrapolation. It takes the curve to go on as it did, and is rather too large.",
            f"Measured on {plan.images} images of the training and validation part, by cross-validation over "
            f"surfaces.{left}", "The test part was not looked at: it stays clean for the final comparison.",
            "+- is the standard deviation over draws of the training images."]


def test_lines(test: TestPart) -> list[str]:
    """What the test part can show."""
    lines = ["", f"WHAT THE TEST PART CAN SHOW: {count(test.images, 'image')} of {count(test.surfaces, 'surface')}, "
             f"as certain as {test.independent:.0f} independent images"]
    if not test.gains:
        return [*lines, "It is too small to show anything."]
    shown = sorted(test.gains, key=lambda one: one.error)
    return [*lines, *table(["error without generated images", "smallest gain that can be told from chance, points"], [
        [f"{percent(one.error)} %" + (" (the best baseline's)" if one is test.gains[0] else ""),
         percent(one.gain) if one.gain < one.error else f"none: {percent(one.gain)} would be needed"]
        for one in shown]),
        "Assumed: one network of each kind, and a paired test at 5 % that finds the gain in 4 of 5 cases. Two images",
        f"of one surface are alike by a correlation of {test.likeness:.2f}, as the best baseline's errors are.",
        "Half of the better network's errors are errors of the other one, too. More seeds help, by the square root of",
        "their number at the most."]


def cost_lines(title: str, costs: Sequence[StageCost]) -> list[str]:
    """Minutes and memory of each stage."""
    both = any(cost.gib_float32 for cost in costs)
    return ["", f"MINUTES AND MEMORY OF ONE CLASS, {title}", *table(
        ["stage", "minutes", *(["GiB, bfloat16", "GiB, float32"] if both else ["GiB"])],
        [[cost.stage, f"{cost.minutes:.1f}", f"{cost.gib:.1f}", *([f"{cost.gib_float32:.1f}"] if both else [])]
         for cost in costs])]


# ---- pictures ---------------------------------------------------------------------------------------------------


def save_linked_pairs(folder: Path, audit: Audit) -> list[Path]:
    """Draw a few linked pairs of each class. Returns the pictures."""
    for earlier in folder.glob("overlaps-*.png"):  # of classes that may have no linked pair now
        earlier.unlink()
    written = []
    for k, pairs in audit.shown.items():
        path = folder / f"overlaps-{k}.png"
        save_named_overlaps(path, pairs, [pair_label(audit, pair) for pair in pairs])
        written.append(path)
    return written


def pair_label(audit: Audit, pair: NamedOverlap) -> str:
    """The line above a pair: its names, what is common, and what a hash sees of it."""
    hashes = np.stack([audit.inventory.files[name].hash for name in (pair.first, pair.second)])
    return (f"{pair.first}   {pair.second}   {pair.overlap.share:.0%} in common; hashes differ in "
            f"{bits_apart(hashes, [(0, 1)])[0]} of {HASH_BITS} bits")


def save_curves(path: Path, curves: Sequence[LearningCurve]) -> Path:
    """Draw balanced accuracy over images a class, on a logarithmic axis. Bars are the standard deviation over draws.

    Returns the path.
    """
    picture = Image.new("RGB", CURVE_SIZE, WHITE)
    pen = ImageDraw.Draw(picture)
    left, top, right, bottom = CURVE_BOX
    levels = [point.per_class for point in curves[0].points]
    lowest = min(p.balanced - p.balanced_sd for curve in curves for p in curve.points)
    tick = TICK if 1 - lowest > CLOSE else TICK / 5
    low = max(0.0, np.floor(lowest / tick) * tick)
    first, last = np.log(levels[0]), np.log(max(levels[-1], levels[0] + 1))

    def place(n: float, value: float) -> tuple[float, float]:
        return (left + (np.log(n) - first) / (last - first) * (right - left),
                bottom - (min(max(value, low), 1.0) - low) / (1 - low) * (bottom - top))

    write(pen, left, 8, "recognition without generated images: balanced accuracy on held-out surfaces", INK)
    for value in np.arange(low, 1 + tick / 2, tick):
        y = place(levels[0], value)[1]
        pen.line((left, y, right, y), fill=PALE)
        write_right(pen, left - 8, y - NORMAL / 2, f"{100 * value:.0f} %", INK)
    for n in levels:
        x = place(n, low)[0]
        pen.line((x, bottom, x, bottom + 4), fill=INK)
        write_centred(pen, x, bottom + 7, str(n), INK)
    write_centred(pen, (left + right) / 2, bottom + 28, "real images a class (logarithmic axis)", INK)
    for k, (curve, colour) in enumerate(zip(curves, CURVE_COLOURS)):
        for p in curve.points:
            pen.line([place(p.per_class, p.balanced - p.balanced_sd), place(p.per_class, p.balanced + p.balanced_sd)],
                     fill=colour)
        spots = [place(p.per_class, p.balanced) for p in curve.points]
        pen.line(spots, fill=colour, width=2, joint="curve")
        for x, y in spots:
            pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=colour)
        x = left + LEGEND_WIDTH * k
        pen.line((x, LEGEND_TOP, x + 20, LEGEND_TOP), fill=colour, width=3)
        write(pen, x + 26, LEGEND_TOP - NORMAL / 2, curve.name, INK)
    save_image(path, picture)
    return path
