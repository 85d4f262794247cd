"""classify.py: what its arms train on, what it refuses, and what it says of an arm."""
import csv
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from commands import here
from PIL import Image
from steel_place import make_generated, make_place  # noqa: F401 (fixtures)

from stablesdg.recognise import arms, verdicts
from stablesdg.recognise.generated_sets import unlike_settings
from stablesdg.recognise.results import from_json, read_results
from stablesdg.storage.errors import UserError
from stablesdg.storage.files import write_json


@pytest.mark.parametrize("arm, real, other", [
    ("none", 30, 0), ("substitute", 15, 15), ("expand", 15, 36), ("synthetic", 0, 36), ("steps", 15, 36),
    ("copies", 15, 36), ("classic", 15, 36)])
def test_every_arm_trains_on_the_images_that_it_should(place, generated, arm, real, other):
    how = "--control" if arm in ("steps", "copies", "classic") else "--mode"
    more = ["--alpha", "1"] if arm == "none" else ["--alpha", "0.5", *generated]
    out = here(place, "classify.py", "--data", "steel", how, arm, "--epochs", "1", "--out", f"arms/{arm}", *more)
    assert f"training on {real} real and {other} other images, 1 epochs" in out and "by class: patches" in out
    row, = csv.DictReader(open(place / "arms" / arm / "results.csv"))
    assert (row["arm"], row["n_real"], row["n_generated"]) == (arm, str(real), str(other))
    assert 0 <= float(row["test_accuracy"]) <= 1


def test_the_control_steps_adds_each_real_image_as_often_as_any_other():
    again = [arms.see_again(list("abcde"), number, 0) for number in (3, 5, 12)]
    assert [sorted(Counter(files).values()) for files in again] == [[1, 1, 1], [1] * 5, [2, 2, 2, 3, 3]]


def test_all_arms_of_a_seed_draw_the_same_real_images_and_another_seed_others(steel):
    train = [sorted((steel / name).glob("*.png")) for name in ("patches", "pits")]
    drawn = [arms.choose_real(train, 0.5, None, seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2] and [len(own) for own in drawn[0]] == [6, 6]
    assert [len(own) for own in arms.choose_real(train, 1.0, 3, 0)] == [3, 3]
    for arm in ("none", "expand", "synthetic"):
        found = arms.training_set(arms.Arm(arm, 0.5), train, [] if arm == "none" else train, 0)
        assert found.real == drawn[0]


def test_the_control_classic_adds_images_that_are_rotated_or_mirrored_and_keep_their_class(steel):
    train = [sorted((steel / name).glob("*.png")) for name in ("patches", "pits")]
    found = arms.training_set(arms.Arm("classic", number=5), train, [], 0)
    place = {file: i for i, file in enumerate(found.files[:24])}
    assert found.n_added == 10 and found.added.tolist() == [False] * 24 + [True] * 10
    for x, y, file in zip(found.x[24:], found.y[24:], found.files[24:]):
        assert y == found.y[place[file]] and (x != found.x[place[file]]).float().mean() > 0.5


def test_with_weights_the_control_steps_adds_an_image_as_often_as_its_weight_says():
    counts = Counter(arms.see_again(list("abcd"), 20, 0, {"a": 0.0, "b": 1.0, "c": 1.5, "d": 2.5}))
    assert counts == {"b": 4, "c": 6, "d": 10}
    files = [Path("pits/0.png"), Path("pits/1.png")]
    with pytest.raises(UserError, match="weight 0 to all 2 real images of pits"):
        arms.see_again(files, 3, 0, dict.fromkeys(files, 0.0))


def test_two_arms_are_compared_on_the_same_images_and_a_classifier_can_be_used(place, generated):
    base = ["classify.py", "--data", "steel", "--epochs", "1", "--seeds", "2", "--alpha", "0.5", "--out", "pair"]
    here(place, *base, "--mode", "none")
    out = here(place, *base, "--mode", "expand", *generated)
    assert "expand against none: no difference can be told" in out or "than none" in out
    again = here(place, *base, "--mode", "expand", *generated)  # replaces its rows rather than adding to them
    rows = list(csv.DictReader(open(place / "pair" / "results.csv")))
    assert [(row["arm"], row["seed"]) for row in rows] == [("none", "0"), ("none", "1"), ("expand", "0"),
                                                           ("expand", "1")]
    assert again.splitlines()[-2] == out.splitlines()[-2]  # the same seeds, the same verdict
    written = {file.name for file in (place / "pair").iterdir()}
    assert {"squeezenet-expand-0.5.json", "confusion-squeezenet-expand-0.5.png",
            "confusion-squeezenet-expand-0.5.csv"} <= written
    here(place, "classify.py", "--predict", "steel/pits", "--model", "pair/squeezenet-expand-0.5.safetensors", "--out",
         "p.csv")
    predictions = list(csv.DictReader(open(place / "p.csv")))
    assert len(predictions) == 12 and {row["class"] for row in predictions} <= {"patches", "pits", "scratches"}
    for row in predictions:
        assert sum(float(row[c]) for c in ("patches", "pits", "scratches")) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("words, said", [
    (["--number", "3"], "no effect on --mode none"),
    (["--mode", "substitute", "--alpha", "0.5", "--number", "3"], "no effect on --mode substitute"),
    (["--per-class", "3", "--alpha", "0.5"], "pass one of them"),
    (["--pretrained", "nowhere.pth"], "There is no nowhere.pth"),
    (["--mode", "substitute", "--per-class", "99"], "nothing to substitute")])
def test_arguments_that_would_do_nothing_are_refused(place, generated, words, said):
    more = generated if "substitute" in words else []
    assert said in here(place, "classify.py", "--data", "steel", *words, *more, "--out", "refused", ok=False)


def test_one_class_is_nothing_to_classify(place, tmp_path):
    shutil.copytree(place / "steel" / "pits", tmp_path / "steel" / "pits")
    assert "one class folder only, pits" in here(tmp_path, "classify.py", "--data", "steel", ok=False)


def test_classifying_refuses_images_generated_from_test_images(place, tmp_path):
    for name in ("patches", "pits", "scratches"):
        shutil.copytree(place / "steel" / name, tmp_path / "generated" / name)
    split = json.loads((place / "runs" / "steel" / "split.json").read_text())["files"]
    test = next(name for name, entry in split.items() if entry["part"] == "test" and name.startswith("patches"))
    (tmp_path / "generated" / "patches" / "manifest.csv").write_text(f"file,source\n000.png,{test}\n")
    error = here(place, "classify.py", "--data", "steel", "--mode", "expand", "--generated", tmp_path / "generated",
                 ok=False)
    assert test in error and "test part" in error


def test_classifying_refuses_to_train_on_the_images_it_is_tested_with(place):
    error = here(place, "classify.py", "--data", "steel", "--mode", "expand", "--generated", "steel", ok=False)
    assert "must not train on what it is tested with" in error


def test_a_verdict_says_what_else_an_arm_had(place, generated, tmp_path):
    """Its generator saw real images that the other arm did not, and it took more optimiser steps."""
    shutil.copytree(place / "generated", tmp_path / "generated")
    split = json.loads((place / "runs" / "steel" / "split.json").read_text())["files"]
    seen = [entry["sha256"] for name, entry in split.items() if entry["part"] == "train" and name.startswith("pits")]
    (tmp_path / "generated" / "pits" / "samples" / "settings.json").write_text(json.dumps({"seen": seen}))
    base = ["classify.py", "--data", "steel", "--epochs", "1", "--alpha", "0.5", "--out", tmp_path / "out"]
    here(place, *base, "--mode", "none")
    out = here(place, *base, "--mode", "expand", "--generated", tmp_path / "generated")
    assert "expand has seen 5 real images that none has not" in out
    assert "expand took 2.0 times as many optimiser steps" in out
    result = json.loads((tmp_path / "out" / "squeezenet-expand-0.5.json").read_text())
    verdict, = verdicts.verdicts(verdicts.find_family(from_json(result), read_results(tmp_path / "out")))
    assert "Nothing tells whether what made the images of expand" in out and "patches do not say what made them" in out
    assert verdict.against == "none" and verdict.sentence in out and "verdicts" not in result
    assert 0 <= result["summary"]["by_class"]["pits"] <= 1
    out = here(place, *base, "--control", "steps", "--generated", tmp_path / "generated")
    assert "took" not in out and "steps has seen" not in out
    assert "expand has seen 5 real images that steps has not" in out


@pytest.mark.parametrize("arm", ["steps", "classic"])
def test_a_control_that_only_counts_takes_a_number_in_the_place_of_generated_images(place, generated, arm):
    base = ["classify.py", "--data", "steel", "--control", arm, "--epochs", "1", "--number", "5", "--out"]
    assert "on 30 real and 15 other images" in here(place, *base, f"counted/{arm}")
    here(place, *base, f"seen/{arm}", *generated)
    results = [read_results(place / folder / arm)[0] for folder in ("counted", "seen")]
    assert results[0].seeds == results[1].seeds and results[0].n_extra == results[1].n_extra == 15
    assert "--number N" in here(place, *base[:-3], ok=False)


def test_classes_whose_images_were_not_made_alike_are_named_with_what_differs(place, generated, tmp_path):
    """s and w are tuned for each class; what else differs can be learned in the place of the class."""
    shutil.copytree(place / "generated", tmp_path / "generated")
    settings = {"resolution": 64, "sampler": "ddim", "steps": 50, "adapters": "all", "weights": "a" * 64, "s": 0.4,
                "w": 3, "dtype": "torch.float32", "adapter_files": ["b" * 64, "c" * 64], "from_noise": False,
                "classic": False}
    for name, own in (("patches", {}), ("pits", {"s": 0.2, "w": 1}), ("scratches", {"s": 0.6})):
        write_json(tmp_path / "generated" / name / "samples" / "settings.json", settings | own)
    base = ["classify.py", "--data", "steel", "--epochs", "1", "--generated", tmp_path / "generated", "--out"]
    assert "not made alike" not in here(place, *base, tmp_path / "alike", "--mode", "expand")
    blurred = settings | {"resolution": 32, "adapter_files": ["b" * 64]}
    write_json(tmp_path / "generated" / "pits" / "samples" / "settings.json", blurred)
    write_json(tmp_path / "generated" / "scratches" / "samples" / "settings.json", settings | {"s": 0})
    out = here(place, *base, tmp_path / "unlike", "--mode", "expand")
    assert "warning: the generated images of the classes were not made alike" in out
    assert "resolution 64 for patches and scratches, 32 for pits" in out
    assert "adapter files 2 for patches and scratches, 1 for pits" in out
    assert "a round trip without noise (s = 0) for scratches" in out and "sampler" not in out
    assert "not made alike" not in here(place, *base, tmp_path / "counted", "--control", "steps")


def test_a_class_of_which_nothing_is_written_down_is_named_beside_others_that_say_it():
    known = {"sampler": "ddim", "s": 0.4}
    assert unlike_settings(["a", "b"], [known, {}]) == ["settings.json there for a, missing for b"]
    assert unlike_settings(["a", "b"], [{}, {}]) == unlike_settings(["a", "b"], [known, known]) == []
    method, = unlike_settings(["a", "b"], [known, {"classic": True}])
    assert method == "method from images for a, rotation and mirroring for b"


def test_overlapping_test_images_of_a_random_split_are_one_surface(tmp_path):
    large = np.random.default_rng(0).integers(0, 255, (3, 96, 96), dtype=np.uint8)
    crops = [large[0, :64, :64], large[0, 16:80, 16:80], large[1, :64, :64], large[2, :64, :64]]
    (tmp_path / "a").mkdir()
    for k, crop in enumerate(crops):
        Image.fromarray(crop).save(tmp_path / "a" / f"{k}.png")
    (tmp_path / "b").mkdir()
    Image.fromarray(large[2, 8:72, 8:72]).save(tmp_path / "b" / "0.png")
    groups = arms.surfaces([sorted((tmp_path / name).iterdir()) for name in "ab"], {"method": "random"})
    assert groups == ["a/0.png", "a/0.png", "a/2.png", "a/3.png", "a/3.png"]


def test_round_trips_must_be_there_and_as_many_as_the_generated_images(place, generated, tmp_path):
    copied = tmp_path / "generated"
    shutil.copytree(place / "generated", copied)
    for file in sorted((copied / "pits" / "copies").iterdir())[:3]:
        file.unlink()
    base = ["classify.py", "--data", "steel", "--control", "copies", "--generated"]
    assert "9 round trips for 12 generated images" in here(place, *base, copied, ok=False)
    shutil.rmtree(copied / "patches" / "copies")
    assert "has no copies yet" in here(place, *base, copied, ok=False)


def test_a_class_without_test_images_is_named(place, tmp_path):
    shutil.copytree(place / "steel", tmp_path / "steel")
    for file in sorted((tmp_path / "steel" / "pits").iterdir())[2:]:
        file.unlink()
    assert "pits has no" in here(tmp_path, "classify.py", "--data", "steel", ok=False)
