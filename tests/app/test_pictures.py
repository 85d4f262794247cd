"""The pictures that a person judges by."""
import pytest
from PIL import Image, ImageDraw

from stablesdg.report.pairs import Pair, difference, largest_difference, save_pairs
from stablesdg.report.pictures import describe_change, image_grid, save_loss_plot


def spread(base, change, noise):
    """Losses of 32 draws before and after: a common change, and noise of its own in each draw."""
    before = [base * (1 + k / 10) for k in range(32)]
    return {0: before, 100: [b + change + noise * (-1) ** k for k, b in enumerate(before)]}


@pytest.mark.parametrize("change, noise, told", [
    (-0.0001, 0.01, "no change that can be told"), (-0.01, 0.001, "it fell by"), (0.01, 0.001, "it rose by"),
    (0.0, 0.0, "unchanged")])
def test_the_verdict_on_the_held_out_loss_counts_standard_errors(change, noise, told):
    surfaces = [f"Pa/{k}" for k in range(32)]
    assert told in describe_change(spread(0.1, change, noise), surfaces)
    if told == "it fell by":  # noise of +-0.001 in 32 draws: a standard error of 0.00018
        assert "55.7 standard errors over 32 surfaces" in describe_change(spread(0.1, change, noise), surfaces)


def test_draws_of_one_surface_are_one_observation_of_the_held_out_loss():
    """Three surfaces that change by -1, -2 and -3: mean -2, a standard error of 0.577, and t = 4.3 with two degrees."""
    surfaces, before = [f"Pa/{k % 3}" for k in range(33)], [5.0] * 33
    told = describe_change({0: before, 9: [5.0 - (1 + k % 3) for k in range(33)]}, surfaces)
    assert told == ("held-out loss 5.0000 -> 3.0000: no change that can be told (3.5 standard errors over 3 surfaces; "
                    "4.3 would tell)")
    twins = describe_change(spread(0.1, -0.01, 0.001), ["Pa/0", "Pa/1"] * 16)  # each surface is always up, or down
    assert "it fell by" not in twins and "10.0 standard errors over 2 surfaces; 12.7 would tell" in twins
    assert describe_change(spread(0.1, -0.01, 0.001), ["Pa/0"] * 32).endswith(", of one surface alone")


def red_rows(path):
    """The rows of a loss plot that its right curve takes, without its bars."""
    picture = Image.open(path)
    right = picture.crop((480 + 100, 60, picture.width - 60, picture.height))
    return [y for y in range(right.height) for x in range(right.width) if right.getpixel((x, y)) == (200, 60, 40)]


def test_a_change_within_chance_looks_small_and_a_clear_one_large(tmp_path):
    for name, losses in (("chance", spread(0.1, -0.0001, 0.01)), ("tiny", spread(0.1, -0.00005, 1e-6)),
                         ("clear", spread(0.1, -0.05, 0.001))):
        save_loss_plot(tmp_path / f"{name}.png", "ti, neu/Pa", [0.2] * 100, losses, [f"Pa/{k}" for k in range(32)])
    rows = {name: red_rows(tmp_path / f"{name}.png") for name in ("chance", "tiny", "clear")}
    heights = {name: max(found) - min(found) for name, found in rows.items()}
    assert heights["chance"] < 20 and heights["tiny"] < 20 and heights["clear"] > 100


def test_the_zoom_finds_the_place_of_the_largest_difference():
    a = Image.new("L", (600, 400), 100)
    b = a.copy()
    ImageDraw.Draw(b).rectangle((470, 90, 500, 120), fill=160)
    b.putpixel((5, 390), 255)  # a single pixel does not count
    left, top, right, bottom = largest_difference(difference(a, b))
    assert left <= 470 and right >= 500 and top <= 90 and bottom >= 120 and (right - left, bottom - top) == (160, 160)
    assert largest_difference(difference(a.crop((0, 0, 90, 50)), b.crop((0, 0, 90, 50)))) == (0, 0, 90, 50)


@pytest.mark.parametrize("side, compare, rows", [(100, True, 3), (400, True, 5), (400, False, 2)])
def test_pairs_show_source_generated_difference_and_a_zoom_for_large_images(tmp_path, side, compare, rows):
    for name in ("a long name that does not fit under its cell.png", "00000.png"):
        Image.new("L", (side, side), len(name)).save(tmp_path / name)
    pair = Pair(tmp_path / "a long name that does not fit under its cell.png", tmp_path / "00000.png", 0.43)
    save_pairs(tmp_path / "pairs.png", [pair], "generated", compare)
    plain = image_grid([("", [Image.open(tmp_path / "00000.png")])] * rows)
    assert Image.open(tmp_path / "pairs.png").size == (plain.width, plain.height + 3 * 13)
