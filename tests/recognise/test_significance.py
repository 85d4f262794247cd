"""Intervals and the paired test, against closed forms and simulation."""
import numpy as np
import pytest
from scipy.stats import binomtest, ttest_1samp

from stablesdg.recognise.significance import LEVEL, compare, holm, interval, spread_of_mean, verdict


def test_the_interval_of_one_seed_is_near_the_binomial_one():
    correct = np.array([[1] * 170 + [0] * 10])
    found = interval(correct)
    exact = binomtest(170, 180).proportion_ci(method="wilson")
    assert found.mean == pytest.approx(170 / 180) and found.sd == 0
    assert found.low == pytest.approx(exact.low, abs=0.015) and found.high == pytest.approx(exact.high, abs=0.015)


def test_one_seed_is_compared_by_students_t_over_the_images():
    """14 images that only a gets right, 4 that only b does."""
    a = np.array([[1] * 14 + [0] * 4 + [1] * 100])
    b = np.array([[0] * 14 + [1] * 4 + [1] * 100])
    c, theirs = compare(a, b), ttest_1samp((a - b)[0], 0)
    assert c.p == pytest.approx(theirs.pvalue) and c.difference == pytest.approx(10 / 118)
    assert (c.low, c.high) == pytest.approx(tuple(theirs.confidence_interval()))


@pytest.mark.parametrize("size", [2, 3, 7])
def test_surfaces_that_all_differ_alike_are_no_proof_whatever_is_rounded(size):
    """One more right answer in each of two surfaces, in all of three seeds."""
    a, b = np.zeros((3, 2 * size)), np.zeros((3, 2 * size))
    a[:, [0, size]] = 1
    found = compare(a, b, np.arange(2 * size) // size)
    assert found.p == 1 and found.low < 0 < found.high



@pytest.mark.parametrize("surfaces", [1, 2, 5, 6, 9])
def test_fewer_than_six_surfaces_that_all_change_alike_tell_nothing(surfaces):
    found = compare([[1] * surfaces], [[0] * surfaces])
    assert found.p == pytest.approx(min(1, 2 / 2**surfaces)) and (found.p < LEVEL) == (surfaces >= 6)
    assert (found.low > 0) == (found.p < LEVEL) and found.high == 1


def test_p_is_below_a_twentieth_exactly_where_the_interval_leaves_out_0():
    rng = np.random.default_rng(0)
    for _ in range(200):
        a, b = (rng.random((3, 40)) < share for share in (0.9, 0.75))
        c = compare(a, b, np.arange(40) // 2)
        assert (c.p < 0.05) == (c.low > 0 or c.high < 0)


def test_the_spread_is_that_of_a_two_way_analysis_of_variance():
    """Surfaces of deviation 2, seeds of 0.5, the rest of 1: the mean's variance is 4 / 30 + 0.25 / 4 + 1 / 120."""
    rng, variances = np.random.default_rng(0), []
    for _ in range(2000):
        table = 2 * rng.standard_normal((1, 30)) + 0.5 * rng.standard_normal((4, 1)) + rng.standard_normal((4, 30))
        variances.append(spread_of_mean(table, None).variance)
    assert np.mean(variances) == pytest.approx(4 / 30 + 0.25 / 4 + 1 / 120, rel=0.05)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_trainings_that_fail_a_whole_class_by_chance_are_not_taken_for_a_difference(seeds):
    """Two equal ways, whose error in each of six classes varies from training to training by 10 points."""
    rng, found = np.random.default_rng(0), 0
    for _ in range(200):
        hard = rng.random(180)
        a, b = (hard > np.clip(0.1 + 0.1 * rng.standard_normal((seeds, 6)), 0, 1).repeat(30, axis=1) for _ in range(2))
        found += "no difference" not in verdict("a", "b", compare(a, b))
    assert found <= 14  # 10 are one in twenty


def test_half_a_width_is_that_of_students_t_where_one_of_its_two_parts_is_zero():
    images = np.random.default_rng(0).random((1, 40))
    theirs = ttest_1samp(images[0], 0).confidence_interval()
    assert spread_of_mean(images, None).half_width == pytest.approx(theirs.high - images.mean())
    seeds = np.random.default_rng(1).random((4, 1)) * np.ones((1, 40))
    theirs = ttest_1samp(seeds[:, 0], 0).confidence_interval()
    assert spread_of_mean(seeds, None).half_width == pytest.approx(theirs.high - seeds.mean())


def test_adjusted_p_values_are_holms():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06]) and holm([0.6, 0.5]) == [1, 1]


def test_images_of_one_group_count_as_one():
    rng = np.random.default_rng(1)
    a, b = (np.where(rng.random((1, 20)) < share, 1, 0) for share in (0.95, 0.6))
    groups = [f"strip {i // 10:02d}" for i in range(200)]
    alone, repeated = compare(a, b), compare(a.repeat(10, axis=1), b.repeat(10, axis=1), groups)
    assert vars(repeated) == pytest.approx(vars(alone))
    assert compare(a.repeat(10, axis=1), b.repeat(10, axis=1)).p < repeated.p


def test_the_verdict_claims_a_difference_only_where_there_is_one():
    right, half = np.ones((3, 100)), np.tile([0, 1], (3, 50))
    assert "no difference can be told" in verdict("copies", "none", compare(right, right))
    assert "expand is better than none (+50.0 points" in verdict("expand", "none", compare(right, half))
    assert "is worse" in verdict("none", "expand", compare(half, right))


def test_seeds_that_differ_much_leave_the_two_ways_undecided():
    a, b = np.ones((3, 100)), np.ones((3, 100))
    b[0, :60], b[1, :2] = 0, 0
    c = compare(a, b)
    assert c.low < 0 and c.p > 0.05 and "no difference can be told" in verdict("a", "b", c)


def test_one_training_of_each_way_is_said_to_compare_networks_not_ways():
    right, half = np.ones((1, 100)), np.tile([0, 1], (1, 50))
    said = verdict("expand", "none", compare(right, half))
    assert "--seeds 3" in said and "is better than none" not in said and "one network of each" in said
    assert verdict("expand", "none", compare(right, half), needs_seeds=False).startswith("expand is better than none")
    assert "Two seeds are too few" in verdict("expand", "none", compare(np.ones((2, 100)), np.tile([0, 1], (2, 50))))
    assert "--seeds" not in verdict("expand", "none", compare(np.ones((3, 100)), np.tile([0, 1], (3, 50))))


def test_of_unequal_numbers_of_seeds_the_common_ones_are_compared():
    a, b = np.array([[1] * 50 + [0] * 50, [0] * 100, [0] * 100]), np.array([[1] * 40 + [0] * 60])
    c = compare(a, b)
    assert c.difference == pytest.approx(0.1) and c.low < c.difference < c.high and c.seeds == 1


def test_all_right_is_no_proof_of_perfection():
    found = interval(np.ones((1, 12)))
    exact = binomtest(12, 12).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=1e-3)


def test_one_mistake_is_not_rated_above_none_however_few_surfaces_there_are():
    """Twelve surfaces of thirteen images: what is known of others comes from twelve, with and without the mistake."""
    right = np.ones((1, 156))
    wrong = right.copy()
    wrong[0, 0] = 0
    groups = np.arange(12).repeat(13)
    none, one = interval(right, groups), interval(wrong, groups)
    assert one.low < none.low < 0.8 and one.high < none.high == pytest.approx(1)


def test_networks_that_agree_everywhere_are_not_proved_equal():
    """No difference among n surfaces: the exact binomial bound of the share of surfaces on which they may differ."""
    c = compare(np.ones((2, 40)), np.ones((2, 40)), np.arange(20).repeat(2))
    exact = binomtest(0, 20).proportion_ci(method="exact").high
    assert (c.difference, c.p) == (0, 1) and (-c.low, c.high) == pytest.approx((exact, exact))
    apart = compare(np.ones((2, 20)), np.zeros((2, 20)))
    assert apart.high == 1 and apart.low == pytest.approx(1 - exact)


def test_of_several_comparisons_the_adjusted_p_value_decides():
    rng = np.random.default_rng(0)
    a = np.ones((3, 200))
    b = np.where(rng.random((1, 200)) < 0.96, 1, 0).repeat(3, axis=0)
    c = compare(a, b)
    assert c.p < 0.05 and verdict("a", "b", c).startswith("a is better than b")
    assert "no difference" in (said := verdict("a", "b", c, adjusted=0.2)) and "adjusted p = 0.200" in said


def test_other_test_images_cannot_be_paired():
    with pytest.raises(ValueError, match="cannot be paired"):
        compare(np.ones((1, 3)), np.ones((1, 4)))
