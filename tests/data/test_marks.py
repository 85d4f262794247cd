"""Marks: points that two images share where they share surface."""
import numpy as np
from crops import BASES, grounds, overlapping_crops

from stablesdg.data import marks
from stablesdg.data.alike import high_pass
from stablesdg.data.overlap import find_overlaps, find_overlaps_across


def test_no_pair_is_lost_because_it_shares_no_mark(monkeypatch):
    crops = overlapping_crops()
    classes = ["a", "b"] * (len(crops) // 2)
    found = find_overlaps(crops), find_overlaps_across(crops, classes)
    monkeypatch.setattr(marks, "MIN_MARK_CORRELATION", -np.inf)
    assert found == (find_overlaps(crops), find_overlaps_across(crops, classes))
    assert len(found[0]) > 12


def test_most_pairs_that_share_no_surface_share_no_mark():
    fine = [high_pass(ground) for ground in grounds(BASES, 160) + grounds(BASES, 160, first=5000)]
    own, = marks.marks_of(fine)
    table = marks.SharedMarks(own, own)
    shared = sum(int(table.of(i, i + 1)[i + 1:].sum()) for i in range(len(fine) - 1))
    assert shared < 0.5 * len(fine) * (len(fine) - 1) / 2


def test_marks_are_local_maxima_and_every_cell_gives_its_strongest_first():
    gray = high_pass(grounds(["grainy"], 200)[0])
    y, x = marks.strongest_points(gray)
    assert all(gray[b, a] == gray[b - 3:b + 4, a - 3:a + 4].max() for b, a in zip(y, x))
    cells = list(zip(y * marks.MARK_CELLS // 200, x * marks.MARK_CELLS // 200))
    assert len(y) == marks.MARKS and len(set(cells)) == marks.MARK_CELLS**2
    highest = {cell: max(gray[b, a] for b, a, c in zip(y, x, cells) if c == cell) for cell in set(cells)}
    assert all(gray[b, a] == highest[c] for b, a, c in list(zip(y, x, cells))[:marks.MARK_CELLS**2])


def test_images_too_small_for_marks_are_all_compared_and_flat_ones_share_none():
    assert marks.marks_of([np.zeros((59, 200), np.float32)] * 2) is None
    own, = marks.marks_of([np.zeros((60, 60), np.float32)] * 2)
    assert not marks.SharedMarks(own, own).of(0, 0).any()


def test_shared_marks_do_not_depend_on_the_order_in_which_they_are_asked_for():
    rng = np.random.default_rng(0)
    own, partners = marks.unit(rng.standard_normal((2, 2, 70, marks.MARKS, marks.MARK_VALUES), dtype=np.float32))
    best = np.einsum("kimv,kjnv->kimjn", own[:, :20], partners[:, :40]).max(axis=(0, 2, 4))
    wanted, table = best > marks.MIN_MARK_CORRELATION, marks.SharedMarks(own, partners)
    assert 0 < wanted.mean() < 1
    for i, first in ((0, 0), (3, 5), (19, 20), (19, 3), (4, 39), (12, 0)):
        assert np.array_equal(table.of(i, first)[first:40], wanted[i, first:])


def test_the_highest_around_is_the_maximum_of_seven_by_seven_pixels():
    gray = np.random.default_rng(0).standard_normal((12, 17))
    highest = marks.highest_around(gray)
    assert highest.shape == (6, 11)
    assert all(highest[y, x] == gray[y:y + 7, x:x + 7].max() for y in range(6) for x in range(11))
