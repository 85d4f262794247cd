"""benchmarks/pays.py: draws of whole surfaces, the arithmetic of its tables, and a real run that is resumed."""
import csv
import functools
import sys

import numpy as np
import pytest
from commands import here
from conftest import ROOT

from stablesdg.data import steel
from stablesdg.data.images import save_image
from stablesdg.prior.textures import MARKS
from stablesdg.recognise.results import Result, SeedResult, Setup
from stablesdg.storage.errors import UserError

sys.path.append(str(ROOT / "benchmarks"))


# ---- draws ------------------------------------------------------------------------------------------------------


def manifest_of(sizes):
    """{name: entry} of {category: number of images of each surface}."""
    return {f"{category}/{surface}-{i:03}.png": {"sha256": "", "group": f"{category}/{surface}-000.png",
                                                "part": "train"}
            for category, own in sizes.items() for surface, n in enumerate(own) for i in range(n)}


MANIFEST = manifest_of({"a": [1] * 30 + [3] * 10, "b": [60, 20, 9, 7, 5, 4, 3, 2, 2, 1], "c": [6, 6, 6]})


def test_a_draw_never_mixes_surfaces_between_parts_and_all_draws_and_regimes_share_the_test_part():
    from pays_draws import draw_parts, find_regimes

    tests, trainings = set(), set()
    for regime in find_regimes([4, 10], [2], [("b", 3)]):
        for draw in range(4):
            parts = draw_parts(MANIFEST, regime, draw)
            part_of = {}
            for name, part in parts.items():
                assert part_of.setdefault(MANIFEST[name]["group"], part) == part
            for category in "abc":
                own = [part for name, part in parts.items() if name.startswith(category)]
                assert {*own} == {"train", "val", "test"}
                if regime.unit == "images" and category != "c":  # which has too few
                    assert own.count("train") <= regime.amount_of(category)
                    assert own.count("val") <= max(1, regime.amount_of(category) // 2)
            tests.add(frozenset(name for name, part in parts.items() if part == "test"))
            trainings.add(frozenset(name for name, part in parts.items() if part == "train"))
    assert len(tests) == 1 and len(trainings) > 8
    surfaces = {MANIFEST[name]["group"] for name in next(iter(tests))}
    assert [sum(group.startswith(category) for group in surfaces) for category in "abc"] == [20, 5, 1]


def test_a_draw_has_the_number_of_images_or_surfaces_that_it_says_and_half_as_many_for_validation():
    from pays_draws import draw_parts, find_regimes

    by_images, by_surfaces, rare = find_regimes([10], [4], [("a", 3)])
    count = [[name[0] + part for name, part in draw_parts(MANIFEST, by_images, 0).items()].count(key)
             for key in ("atrain", "aval")]
    assert count == [10, 5]
    parts = draw_parts(MANIFEST, by_surfaces, 0)
    surfaces = {part: {MANIFEST[name]["group"] for name, own in parts.items() if own == part and name[0] == "a"}
                for part in ("train", "val")}
    assert (len(surfaces["train"]), len(surfaces["val"])) == (4, 2)
    assert [part for name, part in draw_parts(MANIFEST, rare, 0).items() if name[0] == "a"].count("train") == 3
    assert (by_images.images, by_surfaces.images, rare.images) == (10, None, None)


def test_the_last_surface_of_a_draw_is_cut_and_none_gives_more_than_half():
    from pays_draws import take

    groups = [["a1", "a2"], ["b1", "b2", "b3", "b4", "b5"], ["c1", "c2"], ["d1"]]
    assert take(groups, 6, "images") == [["a1", "a2"], ["b1", "b2", "b3"], ["c1"]]
    assert take(groups, 2, "surfaces") == groups[:2]


def test_a_surface_of_two_classes_is_tested_and_never_drawn():
    from pays_draws import draw_parts, find_regimes

    files = {**manifest_of({"a": [2] * 8, "b": [2] * 8}), "a/x.png": {"sha256": "", "group": "a/x.png", "part": "val"},
             "b/x.png": {"sha256": "", "group": "a/x.png", "part": "val"},
             "b/y.png": {"sha256": "", "group": "b/y.png", "part": "left-out"}}
    for draw in range(5):
        parts = draw_parts(files, find_regimes([4], [], [])[0], draw)
        assert parts["a/x.png"] == parts["b/x.png"] == "test" and "b/y.png" not in parts
    with pytest.raises(UserError, match="b has 2 surfaces"):
        draw_parts(manifest_of({"a": [2] * 8, "b": [2] * 2}), find_regimes([4], [], [])[0], 0)


# ---- arithmetic -------------------------------------------------------------------------------------------------


def result_of(name, tables):
    """A result of these right (1) and wrong (0) answers, a row for each seed. The first half are images of class a."""
    half = len(tables[0]) // 2
    setup = Setup("squeezenet", "none", name, 1.0, None, "group", ["a", "b"], False, None, "cpu", "float32",
                  [f"{i}" for i in range(2 * half)], [f"{i}" for i in range(2 * half)], "", "", {})
    seeds = []
    for seed, row in enumerate(tables):
        a, b = sum(row[:half]), sum(row[half:])
        seeds.append(SeedResult(seed, 1, 2, 4, 0, 1, 0.5, sum(row) / len(row), list(row),
                                [[a, half - a], [half - b, b]]))
    return Result(setup, tuple(seeds))


def test_the_figures_of_an_arm_are_those_of_a_hand_computation():
    from pays_summary import figure

    found = figure([[0.5, 0.7], [0.8, 0.8], [0.9, 1.0]])  # means of the draws: 0.6, 0.8, 0.95
    assert found.mean == pytest.approx(2.35 / 3)
    assert found.error == pytest.approx((((0.55 / 3) ** 2 + (0.05 / 3) ** 2 + (0.5 / 3) ** 2) / 2 / 3) ** 0.5)
    assert found.seed_sd == pytest.approx(((0.02 + 0 + 0.005) / 3) ** 0.5)
    one = figure([[0.5, 0.7]])
    assert (one.mean, one.error) == pytest.approx((0.6, 0.1))  # 0.1414 / sqrt(2)


def test_a_difference_is_paired_by_draw_and_seed():
    from pays_summary import difference

    real = {0: result_of("real", [[1, 0, 1, 0], [1, 1, 1, 0]]), 1: result_of("real", [[0, 0, 1, 1], [1, 0, 1, 0]]),
            2: result_of("real", [[1, 1, 1, 1], [0, 0, 0, 0]]), 7: result_of("real", [[1, 1, 1, 1]])}
    more = {0: result_of("more", [[1, 1, 1, 0]]),  # has one seed: only the first of real counts
            1: result_of("more", [[1, 1, 1, 1], [1, 0, 1, 0]]), 2: result_of("more", [[1, 1, 1, 1], [1, 1, 1, 0]])}
    found = difference("more", more, "real", real)
    assert found.accuracy.seeds == 3
    assert found.accuracy.difference == pytest.approx((0.25 + 0.25 + 0.375) / 3)

    def f1(right_of_a, right_of_b):  # of two images each: F1 = 2 TP / (2 TP + FP + FN)
        wrong = 4 - right_of_a - right_of_b
        return right_of_a / (2 * right_of_a + wrong) + right_of_b / (2 * right_of_b + wrong) if wrong < 4 else 0.0

    gaps = [f1(2, 1) - f1(1, 1), (f1(2, 2) + f1(1, 1)) / 2 - (f1(0, 2) + f1(1, 1)) / 2,
            (f1(2, 2) + f1(2, 1)) / 2 - (f1(2, 2) + f1(0, 0)) / 2]
    mean = sum(gaps) / 3
    half = 4.302653 * (sum((gap - mean) ** 2 for gap in gaps) / 2 / 3) ** 0.5  # Student's t with 2 degrees of freedom
    assert (found.f1, found.f1_low, found.f1_high) == pytest.approx((mean, mean - half, mean + half))
    single = difference("more", {1: more[1]}, "real", real)
    assert single.accuracy.seeds == 2 and single.accuracy.difference == pytest.approx(0.25)
    assert difference("more", {3: more[1]}, "real", real) is None


def test_arms_with_a_teacher_are_compared_with_real_and_with_the_teacher_on_real():
    from pays_summary import difference_lines, find_differences

    draws = {0: result_of("x", [[1, 0, 1, 0, 1, 1], [1, 1, 1, 0, 0, 1]])}
    better = {0: result_of("x", [[1, 1, 1, 0, 1, 1], [1, 1, 1, 1, 0, 1]])}
    arms = {"real": draws, "teacher-on-real": better, "welded": better, "pasted": draws, "teacher-on-welded": better}
    found = find_differences(arms)
    assert [(one.arm, one.against) for one in found] == [
        ("teacher-on-real", "real"), ("welded", "real"), ("pasted", "real"), ("teacher-on-welded", "real"),
        ("teacher-on-welded", "teacher-on-real"), ("welded", "pasted")]
    text = "\n".join(difference_lines(found))
    assert "| welded | real | +16.7 |" in text and text.count("| too few |") == 6 and "fewer than 3 draws" in text


def test_image_equivalents_lie_between_the_measured_points():
    from pays_summary import equivalents

    curve = {5: 0.5, 20: 0.7}
    assert [equivalents(curve, x) for x in (0.6, 0.4, 0.8)] == ["10", "5 or fewer", "over 20"]
    assert equivalents({20: 0.7}, 0.7) == ""


# ---- a run ------------------------------------------------------------------------------------------------------


def test_a_small_run_makes_the_table_and_runs_nothing_twice(tmp_path, monkeypatch, capsys):
    import jobs
    import pays

    for category in ("patches", "scratches"):
        for i in range(14):
            save_image(tmp_path / "steel" / category / f"{i}.png", steel.steel_image(category, i).crop((0, 0, 64, 64)))
    monkeypatch.setenv("STABLESDG_RUNS", str(tmp_path / "runs"))  # --runs sets it in this process
    ran = []
    monkeypatch.setattr(jobs, "call", lambda command, log: (ran.append(command), here(tmp_path, *command)))
    command = [str(word) for word in (
        tmp_path / "steel", "--runs", tmp_path / "runs", "--out", tmp_path / "out", "--per-class", 4, "--seeds", 1,
        "--draws", 2, "--arms", "real", "teacher-on-real", "pasted", "--steps", 2, "--side", 64, "--iterations", 1,
        "--number", 2)]
    pays.main([*command, "--dry-run"])
    assert "18 of 18 commands are not finished" in capsys.readouterr().out and not ran
    pays.main(command)
    assert len(ran) == 18 and [str(one[0]) for one in ran].count("classify.py") == 6
    rows = list(csv.DictReader(open(tmp_path / "out" / "results.csv")))
    assert [(row["arm"], row["draw"]) for row in rows] == [
        (arm, draw) for arm in ("real", "teacher-on-real", "pasted") for draw in "01"]
    assert {row["steps"] for row in rows} == {"2"} and [row["generated images"] for row in rows] == list("000044")
    text = (tmp_path / "out" / "summary.txt").read_text()
    real = [float(row["accuracy"]) for row in rows if row["arm"] == "real"]
    assert f"| real | 2 | 2 | {50 * sum(real):.1f} |" in text and "| sample pasted | 4 |" in text
    pays.main(command)
    pays.main([*command, "--summary"])
    assert len(ran) == 18
    out = tmp_path / "out" / "data" / "images-4-draw-0" / "patches"
    assert all(file.stat().st_nlink > 1 for file in out.iterdir())
    capsys.readouterr()
    pays.main([*command, "--arms", "real", "--curve", "1", "2", "--draws", "1"])
    shown = capsys.readouterr().out
    assert len(ran) == 19  # the table has one with 2 steps
    assert "| images-4 | real | 1 | 1 | 1 |" in shown and "| images-4 | real | 2 | 2 | 2 |" in shown
    monkeypatch.setattr(pays, "draw_textures", functools.partial(pays.draw_textures, number=6))
    pays.main([*command, "--arms", "hard-again", "pretrain-on-drawn", "--draws", "1"])
    assert len(ran) == 22 and {row["arm"] for row in csv.DictReader(open(tmp_path / "out" / "results.csv"))} == {
        "hard-again", "pretrain-on-drawn"}
    assert sorted(folder.name for folder in (tmp_path / "out" / "data" / "drawn-textures").iterdir()) == sorted(MARKS)
    with pytest.raises(UserError, match="number was 2"):
        pays.main([*command, "--number", "3"])
    with pytest.raises(UserError, match="how many real images"):
        pays.main([str(tmp_path / "steel")])


def test_image_equivalents_take_a_score_of_the_curve_back_to_its_number_of_images():
    from pays_summary import image_equivalents

    curve = {5: 0.5, 10: 0.7, 20: 0.8, 40: 0.85}
    for n, score in curve.items():
        assert image_equivalents(curve, score) == pytest.approx(n)
    assert image_equivalents(curve, 0.75) == pytest.approx(np.sqrt(10 * 20))


def test_image_equivalents_fill_dips_and_end_where_the_curve_does():
    from pays_summary import image_equivalents

    curve = {5: 0.5, 10: 0.7, 20: 0.65, 40: 0.9}
    assert image_equivalents(curve, 0.7) == pytest.approx(10) and 20 < image_equivalents(curve, 0.71) < 40
    assert image_equivalents(curve, 0.2) == 5 and image_equivalents(curve, 0.91) == float("inf")
