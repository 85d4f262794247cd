"""Learning curves, what is read off them, the smallest gain, and the rules of the recommendation."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision import models

from stablesdg.recognise import advice
from stablesdg.recognise.advice import Findings, advise
from stablesdg.recognise.backbones import file_extractor
from stablesdg.recognise.baseline import probe_classifier
from stablesdg.recognise.discriminant import fit_discriminant, shrunk_covariance
from stablesdg.recognise.learning_curve import (
    Doubling,
    Labelled,
    LearningCurve,
    Point,
    choose_levels,
    draw_images,
    extrapolate,
    fit_power_law,
    learning_curve,
)
from stablesdg.recognise.power import independent_images, likeness_within, smallest_gain
from stablesdg.recognise.probe import assign_folds
from stablesdg.recognise.significance import compare
from stablesdg.storage.errors import UserError


def blobs(per_class=60, classes=3, d=6, distance=3.0, seed=0):
    """Features of images, two to a surface: (x, Labelled)."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(classes), per_class)
    x = distance * np.eye(classes, d)[y] + rng.normal(size=(len(y), d))
    return x, Labelled(y, [f"{k}-{i // 2}" for k in range(classes) for i in range(per_class)], list("abc"[:classes]))


def folds(images):
    return assign_folds(images.y.tolist(), images.groups).numpy()


def discriminant(x, images):
    return lambda training, held_out: [fit_discriminant(x[own], images.y[own], len(images.classes)).predict(x[held_out])
                                       for own in training]


# ---- curves -----------------------------------------------------------------------------------------------------


def test_classes_far_apart_are_all_recognised_and_equal_ones_by_chance():
    for distance, expected, tolerance in ((30.0, 1.0, 0), (0.0, 1 / 3, 0.1)):
        x, images = blobs(distance=distance)
        curve = learning_curve("x", discriminant(x, images), images, folds(images))
        assert [p.balanced for p in curve.points] == pytest.approx([expected] * len(curve.points), abs=tolerance)
        assert curve.best.macro_f1 == pytest.approx(expected, abs=tolerance + 1e-9)


def test_two_known_normal_distributions_are_told_apart_as_well_as_bayes_allows():
    """Means 2 apart, deviation 1: the best error is Phi(-1) = 15.9 %."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 1500)
    x = np.stack([2.0 * y + rng.normal(size=3000), rng.normal(size=3000)], axis=1)
    images = Labelled(y, [str(i) for i in range(3000)], ["a", "b"])
    curve = learning_curve("x", discriminant(x, images), images, folds(images), draws=1, levels=(5,))
    assert curve.best.accuracy == pytest.approx(0.841, abs=0.02)
    assert curve.best.accuracy_low < 0.841 < curve.best.accuracy_high


def test_no_image_is_recognised_by_what_has_seen_its_surface():
    _, images = blobs()
    seen = []

    def spy(training, held_out):
        for own in training:
            assert not {images.groups[i] for i in own} & {images.groups[i] for i in held_out}
        seen.extend(held_out)
        return [images.y[held_out]] * len(training)

    curve = learning_curve("x", spy, images, folds(images), levels=(5,))
    assert sorted(seen) == sorted([*range(180)] * len(curve.points)) and curve.best.balanced == 1


def test_levels_go_as_far_as_half_of_the_classes_do_and_end_with_all_images():
    _, images = blobs(per_class=60)
    assert choose_levels(images, folds(images)) == [5, 10, 20, 40, 48]
    assert choose_levels(Labelled(np.repeat([0, 1], 4), list("abcdefgh"), ["a", "b"]), np.arange(8) % 4) == [3]


def test_a_larger_draw_holds_a_smaller_one_and_a_scarce_class_gives_all_it_has():
    y, allowed = np.repeat([0, 1], [50, 6]), np.ones(56, dtype=bool)
    few, many = (set(draw_images(y, allowed, n, draw=1)) for n in (5, 20))
    assert few < many and len(many) == 26 and set(draw_images(y, allowed, 5, draw=2)) != few


def test_the_probe_recognises_held_out_blobs_and_a_class_of_one_surface_does_no_harm():
    x, images = blobs(per_class=20, distance=8.0)
    x, features = x.copy(), torch.from_numpy(x)
    curve = learning_curve("x", probe_classifier(features, images), images, folds(images), draws=2)
    assert curve.best.balanced > 0.95
    alone = Labelled(images.y, ["one"] * 20 + list(images.groups[20:]), images.classes)
    assert learning_curve("x", probe_classifier(features, alone), alone, folds(alone), draws=1).best.recalls[0] < 0.5
    two = Labelled(images.y, [f"{k}-{i % 2}" for k in range(3) for i in range(20)], images.classes)
    assert learning_curve("x", probe_classifier(features, two), two, folds(two), draws=1).best.balanced > 0.9


# ---- what a curve tells -----------------------------------------------------------------------------------------


def test_the_power_law_is_found_and_its_gain_is_that_of_twice_the_images():
    n = np.array([5, 10, 20, 40])
    law = fit_power_law(n, 0.8 * n**-0.5)
    assert (law.a, law.b) == pytest.approx((0.8, 0.5))
    assert law.gain(40) == pytest.approx(0.8 * 40**-0.5 * (1 - 2**-0.5))


def test_the_interval_of_the_extrapolation_holds_what_a_second_sample_shows():
    rng, levels = np.random.default_rng(0), [10, 20, 40, 80]
    images = Labelled(np.repeat([0, 1], 300), [str(i // 2) for i in range(600)], ["a", "b"])
    hard = rng.random(600).repeat(1)
    correct = np.stack([(hard > n**-0.5).astype(float) for n in levels])
    found = extrapolate(levels, correct, images)
    truth = 80**-0.5 - 160**-0.5
    assert found.low < truth < found.high and found.per_class == 80 and found.exponent == pytest.approx(0.5, abs=0.15)
    assert extrapolate([10], correct[:1], images) is None


# ---- the smallest gain ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error, surfaces, each", [(0.2, 90, 2), (0.3, 150, 1)])
def test_the_smallest_gain_is_found_in_four_of_five_simulated_comparisons(error, surfaces, each):
    gain = smallest_gain(error, [each] * surfaces)
    rng, found = np.random.default_rng(0), 0
    for _ in range(300):
        weaker = rng.random(surfaces) < error  # wrong
        kept = (error - gain) / 2  # half of the better one's errors are errors of the weaker one, too
        better = np.where(weaker, rng.random(surfaces) < kept / error, rng.random(surfaces) < kept / (1 - error))
        table = [np.repeat(~wrong, each)[None].astype(float) for wrong in (better, weaker)]
        compared = compare(*table, np.repeat(np.arange(surfaces), each))
        found += compared.p < 0.05 and compared.difference > 0
    assert 0.7 < found / 300 < 0.9


def test_images_of_one_surface_count_as_one_image():
    assert independent_images([1] * 30, 1.0) == 30 and independent_images([5] * 30, 1.0) == pytest.approx(30)
    assert independent_images([10, 1, 1], 1.0) < 2 and independent_images([10, 1, 1], 0.0) == pytest.approx(12)
    assert smallest_gain(0.1, [1] * 100) < smallest_gain(0.1, [4] * 25) and smallest_gain(0.1, [50]) == float("inf")


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_the_likeness_of_surfaces_is_the_share_of_their_variance(share):
    rng, groups = np.random.default_rng(0), np.repeat(np.arange(120), np.arange(120) % 4 + 1)
    surface, own = rng.normal(size=(20, 120)), rng.normal(size=(20, len(groups)))
    values = np.sqrt(share) * surface[:, groups] + np.sqrt(1 - share) * own
    assert likeness_within(values, groups) == pytest.approx(share, abs=0.04)
    assert likeness_within(values, np.arange(len(groups))) == 0


# ---- discriminant -----------------------------------------------------------------------------------------------


def test_the_shrunk_covariance_is_that_of_ledoit_and_wolf():
    x = np.random.default_rng(0).normal(size=(12, 5)) * np.arange(1, 6)
    x -= x.mean(axis=0)
    S = sum(np.outer(row, row) for row in x) / 12
    m = np.trace(S) / 5
    spread = sum(((np.outer(row, row) - S) ** 2).sum() for row in x) / 12**2
    r = min(1, spread / ((S - m * np.eye(5)) ** 2).sum())
    assert 0 < r < 1 and np.allclose(shrunk_covariance(x), (1 - r) * S + r * m * np.eye(5), atol=1e-8)


def test_a_class_without_training_images_is_never_named():
    x, images = blobs()
    own = images.y != 1
    assert set(fit_discriminant(x[own], images.y[own], 3).predict(x)) == {0, 2}


# ---- networks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["squeezenet1_1", "resnet18"])
def test_a_torchvision_file_gives_the_pooled_features_before_its_last_layers(tmp_path, name):
    torch.manual_seed(0)
    model = getattr(models, name)(num_classes=7).eval()
    file = tmp_path / f"{name}.pth"
    torch.save(model.state_dict(), file)
    extractor, seen = file_extractor(file, "cpu"), []
    x = torch.rand(2, 3, 64, 64)
    (model.fc if name == "resnet18" else model.classifier).register_forward_pre_hook(lambda _, a: seen.append(a[0]))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    model((x - mean[:, None, None]) / std[:, None, None])
    theirs = seen[0] if name == "resnet18" else seen[0].mean(dim=(2, 3))
    assert torch.allclose(extractor.network(x), theirs, atol=1e-4) and name in extractor.kind


def test_a_file_of_another_network_is_refused_and_a_damaged_one_is_called_that(tmp_path):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="none of torchvision's alexnet"):
        file_extractor(tmp_path / "other.pth", "cpu")
    (tmp_path / "other.pth").write_bytes(b"cut off")
    with pytest.raises(UserError, match="other.pth holds more than tensors, or is damaged"):
        file_extractor(tmp_path / "other.pth", "cpu")


# ---- rules ------------------------------------------------------------------------------------------------------


def findings(balanced=0.85, gain=(0.04, 0.02, 0.06), surfaces=20, images=40, test_surfaces=100, smallest=0.02):
    point = Point(40, 100, balanced, balanced - 0.05, balanced + 0.02, balanced, 0.01, balanced, 0.01, [balanced] * 2)
    curve = LearningCurve("nano", ["a", "b"], [point], Doubling(40, 0.4, 1 - balanced, *gain), 0.5)
    return Findings([curve], {"a": surfaces, "b": 50}, {"a": images, "b": 60}, test_surfaces, smallest)


@pytest.mark.parametrize("found, verdict, word", [
    (findings(surfaces=4), advice.UNKNOWN, "too few surfaces"),
    (findings(balanced=0.975), advice.DO_NOT, "97.5 %"),
    (findings(gain=(0.002, 0.0, 0.008)), advice.DO_NOT, "flat"),
    (findings(smallest=0.09), advice.UNKNOWN, "shows gains from 9.0 points"),
    (findings(test_surfaces=0, smallest=float("inf")), advice.UNKNOWN, "0 surfaces"),
    (findings(images=9), advice.REAL_FIRST, "a has 9 images"),
    (findings(images=200), advice.REAL_FIRST, "twice the real images would bring +4.0"),
    (findings(), advice.MAY_PAY, "15.0 points are left")])
def test_the_first_rule_that_fits_decides(found, verdict, word):
    if found.images["a"] >= 200:
        found = replace(found, images={"a": 200, "b": 300})
    said = advise(found)
    assert said.verdict == verdict and word in said.headline and said.further


@pytest.mark.parametrize("imagenet, network", [(0.87, "nano"), (0.95, "imagenet")])
def test_the_classifier_to_try_first_is_nano_unless_imagenet_knows_clearly_more(imagenet, network):
    nano, = findings(balanced=0.85).curves
    other = replace(nano, name="ImageNet", points=[replace(nano.best, balanced=imagenet)])
    assert advice.frozen_classifier([nano, other]) == network and advice.frozen_classifier([nano]) == "nano"
    assert f"classify.py --network {network}" in " ".join(advise(replace(findings(), curves=[nano, other])).further)
