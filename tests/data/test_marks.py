"""Marks: points that two images share where they share surface."""
import numpy as np
import pytest
from crops import BASES, grounds
from scipy.ndimage import maximum_filter

from stablesdg.data import marks
from stablesdg.data.alike import high_pass
from stablesdg.data.overlap import find_overlaps, find_overlaps_across


@pytest.fixture(scope="module")
def crops():
    """Pairs of crops of one ground with 15 to 50 percent in common, exposed and with noise each for itself."""
    rng, images = np.random.default_rng(0), []
    for ground in grounds(BASES, 400):
        for share in (0.15, 0.2, 0.3, 0.5):
            dy = rng.integers(0, 30)
            dx = round(160 * (1 - share * 160 / (160 - dy)))
            images += [(ground[y:y + 160, x:x + 160] * rng.uniform(0.85, 1.15) + rng.normal(0, 2, (160, 160))).round()
                       for y, x in ((0, 0), (dy, dx))]
    return images


def test_no_pair_is_lost_because_it_shares_no_mark(crops, monkeypatch):
    classes = ["a", "b"] * (len(crops) // 2)
    found = find_overlaps(crops), find_overlaps_across(crops, classes)
    monkeypatch.setattr(marks, "MIN_MARK_CORRELATION", -np.inf)
    assert found == (find_overlaps(crops), find_overlaps_across(crops, classes))
    assert len(found[0]) > 12


def test_most_pairs_that_share_no_surface_share_no_mark():
    fine = [high_pass(ground) for ground in grounds(BASES, 160) + grounds(BASES, 160, first=5000)]
    own, = marks.marks_of(fine)
    shared = sum(int(marks.share_a_mark(own[:, i], own[:, i + 1:]).sum()) for i in range(len(fine) - 1))
    assert shared < 0.5 * len(fine) * (len(fine) - 1) / 2


def test_marks_are_local_maxima_and_every_cell_gives_its_strongest_first():
    gray = high_pass(grounds(["grainy"], 200)[0])
    assert np.array_equal(marks.highest_near(gray), maximum_filter(gray, 2 * marks.MARK_RADIUS + 1, mode="nearest"))
    y, x = marks.strongest_points(gray)
    cells = list(zip(y * marks.MARK_CELLS // 200, x * marks.MARK_CELLS // 200))
    assert len(y) == marks.MARKS and len(set(cells)) == marks.MARK_CELLS**2
    highest = {cell: max(gray[b, a] for b, a, c in zip(y, x, cells) if c == cell) for cell in set(cells)}
    assert all(gray[b, a] == highest[c] for b, a, c in list(zip(y, x, cells))[:marks.MARK_CELLS**2])


def test_images_too_small_for_marks_are_all_compared_and_flat_ones_share_none():
    assert marks.marks_of([np.zeros((59, 200), np.float32)] * 2) is None
    own, = marks.marks_of([np.zeros((60, 60), np.float32)] * 2)
    assert not marks.share_a_mark(own[:, 0], own).any()
