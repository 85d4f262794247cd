"""What is kept of a result: read as it was written, by this version and by earlier ones; which results are compared."""
import dataclasses

import pytest

import classify
from stablesdg.recognise.results import (
    Result,
    SeedResult,
    Setup,
    depends_on,
    from_json,
    row_of,
    to_json,
)
from stablesdg.recognise.verdicts import advantages, comparable
from stablesdg.storage.settings import as_json, changed_settings


def made(arm, added=0, unseen=0, steps=40, **changes):
    """A result of two classes with one test image each."""
    test = ["a/0.png", "b/0.png"]
    setup = Setup("squeezenet", arm, arm, 0.4, None, "group", ["a", "b"], False, None, "cpu", "float32", test, test,
                  "held out", "images", {"epochs": 2, "patience": None, "seeds": 1})
    one = SeedResult(0, 2, steps, 8, added, 1, 0.5, 1.0, [1, 1], [[1, 0], [0, 1]])
    return Result(dataclasses.replace(setup, **changes)).add(one, added, unseen)


def test_a_result_comes_back_from_its_json_as_it_was():
    result = made("expand", added=4, unseen=3)
    assert from_json(as_json(to_json(result))) == result


def test_what_an_earlier_version_did_not_write_down_is_unknown():
    missing = ("origin_unknown", "pretrained_sha256", "dtype")
    setup = from_json({k: v for k, v in to_json(made("expand")).items() if k not in missing}).setup
    assert (setup.origin_unknown, setup.pretrained_sha256, setup.dtype) == (False, None, None)


@pytest.mark.parametrize("network, teacher, before, now", [
    ("squeezenet", None, False, None), ("squeezenet", None, True, "nano"), ("squeezenet", "imagenet", True, "imagenet"),
    ("imagenet", None, True, "imagenet")])
def test_a_result_from_before_the_filter_named_its_features_has_not_changed(network, teacher, before, now):
    old, new = (to_json(made("expand", network=network, arguments={"teacher": teacher, "filter": value}))
                for value in (before, now))
    assert not changed_settings(depends_on(old), depends_on(new))
    del new["hard_sha256"]
    assert not changed_settings(depends_on(new), depends_on(old))


def test_a_line_of_the_table_has_the_columns_of_earlier_versions_and_new_ones_after_them():
    result = made("expand", added=4)
    row = row_of(result.setup, result.seeds[0])
    assert list(row)[-2:] == ["balanced_accuracy", "macro_f1"]
    assert row == {
        "network": "squeezenet", "name": "expand", "alpha": 0.4, "per_class": "", "split": "group", "arm": "expand",
        "seed": 0, "epochs": 2, "steps": 40, "n_real": 8, "n_generated": 4, "best_epoch": 1,
        "val_accuracy": "0.500000", "test_accuracy": "1.000000",
        "balanced_accuracy": "1.000000", "macro_f1": "1.000000"}


@pytest.mark.parametrize("changes", [
    {"alpha": 1.0}, {"network": "vgg"}, {"held_out_sha256": "other"}, {"dtype": "bfloat16"}, {"per_class": 5},
    {"arguments": {"epochs": 3, "patience": None}}])
def test_results_of_another_experiment_are_not_compared(changes):
    assert comparable(made("expand"), made("none")) and not comparable(made("expand"), made("none", **changes))


def test_a_control_is_compared_with_the_arm_that_adds_as_many_images():
    expand = made("expand", added=4)
    assert comparable(expand, made("steps", added=4)) and not comparable(expand, made("steps", added=5))
    assert comparable(made("steps", added=5), made("none")) and comparable(expand, made("expand", added=5, name="more"))
    assert not comparable(expand, made("expand", added=4))


def test_more_optimiser_steps_and_more_real_images_seen_are_advantages():
    steps, seen = advantages(made("expand", unseen=3, steps=80), made("none"))
    assert "expand took 2.0 times as many optimiser steps" in steps
    assert "has seen 3 real images that none has not" in seen
    assert not advantages(made("steps", steps=80), made("none"))
    assert not advantages(made("none"), made("expand", unseen=3))


FIRST_ARGUMENTS = (  # those that the first edition wrote down
    "data", "generated", "network", "mode", "control", "alpha", "per_class", "number", "name", "split", "epochs",
    "seeds", "patience", "pretrained", "device", "dtype", "predict", "evaluate", "model", "threshold", "onnx",
    "verdicts", "resume", "replace", "out")


def test_a_result_that_says_nothing_of_later_options_has_their_defaults():
    settings = vars(classify.parse(["--data", "steel"]))
    now = to_json(made("expand", arguments=settings | {"epochs": 2}))
    before = now | {"arguments": {k: v for k, v in now["arguments"].items() if k in FIRST_ARGUMENTS}}
    assert not changed_settings(depends_on(before), depends_on(now))
