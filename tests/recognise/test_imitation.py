"""Imitation: the loss by hand in float64, what is imitated, the head, and the classifier that comes out of it."""
import csv
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from commands import here
from steel_place import make_generated, make_place  # noqa: F401 (fixtures)
from torch.nn import functional as F

from stablesdg.evaluate.features import load_nano_network
from stablesdg.recognise import classifiers, imitation, training
from stablesdg.recognise.probe import fit_probe
from stablesdg.recognise.results import read_results
from stablesdg.recognise.saved import load_classifier, save_classifier

RECIPE = training.Recipe(epochs=1, steps=40, average=True)


@pytest.fixture(scope="module")
def images(place):
    """(x, y) of 12 images of each of three classes, 64 x 64."""
    files = [sorted((place / "steel" / name).iterdir())[:12] for name in ("patches", "pits", "scratches")]
    return classifiers.load_images(sum(files, []), 64), torch.arange(3).repeat_interleave(12)


@pytest.fixture(scope="module")
def imitated(images):
    return imitation.imitate(load_nano_network(), *images, *images, 3, False, "cpu")


def train(images, imitated, added=None, network="resnet", recipe=RECIPE, **changes):
    torch.manual_seed(0)
    model = classifiers.build(network, 3, imitated=len(imitated.probe.mean))
    examples = training.Examples(*images, added, imitated=imitated)
    return training.train(model, examples, *images, recipe, seed=0, device="cpu",
                          lr=training.IMITATION_LEARNING_RATE, **changes)


def test_the_loss_is_that_of_the_formula_in_float64(imitated):
    generator = torch.Generator().manual_seed(0)
    n, f = (torch.randn(5, len(imitated.probe.mean), generator=generator) for _ in range(2))
    weight, bias, T = imitated.probe.weight.numpy(), imitated.probe.bias.numpy(), 2.0
    total = 0.0
    for own, wanted in zip(n.double().numpy(), f.double().numpy()):
        z_n, z_f = (own @ weight + bias) / T, (wanted @ weight + bias) / T
        log_p, log_q = z_n - np.log(np.exp(z_n).sum()), z_f - np.log(np.exp(z_f).sum())
        total += ((own - wanted) ** 2).mean() + T**2 * (np.exp(log_q) * (log_q - log_p)).sum()
    assert float(imitated.loss(n, f)) == pytest.approx(total / 5, rel=1e-5)


def test_the_features_are_those_of_the_frozen_network_standardised_by_the_real_images(images, imitated):
    x, _ = images
    features = imitated.features(classifiers.normalise(x))
    assert torch.allclose(features.mean(dim=0), torch.zeros(features.shape[1]), atol=1e-4)
    with torch.no_grad():
        raw = load_nano_network()(x.float() / 255)
    expected = (raw - raw.mean(dim=0)) / imitated.probe.std.float()
    assert torch.allclose(features, expected, atol=1e-3)
    assert float(imitated.loss(features, features)) == pytest.approx(0, abs=1e-5)


def test_a_network_comes_near_the_features_and_its_classes_follow(images, imitated):
    trained, (x, y) = train(images, imitated), images
    wanted = imitated.features(classifiers.normalise(x))
    error = F.mse_loss(classifiers.outputs(trained.model.features, x, "cpu"), wanted)
    assert error < 0.95 * wanted.square().mean() and trained.steps == 40 and len(trained.history) == 1
    assert float((classifiers.predict(trained.model, x, "cpu").argmax(dim=1) == y).float().mean()) > 0.9


def test_the_features_that_are_asked_for_are_those_of_the_augmented_view(images, imitated):
    examples = training.Examples(*images, imitated=imitated)
    generator, recipe = torch.Generator().manual_seed(0), training.Recipe(steps=1, augment="strong")
    view, loss = next(training.training_batches(examples, recipe, 1, generator, "cpu"))
    f = imitated.features(view)
    assert torch.equal(loss(f + 1), imitated.loss(f + 1, f)) and not any(torch.equal(view[0], x) for x in images[0])


def test_the_head_is_the_probe_on_what_the_network_gives(images):
    torch.manual_seed(0)
    model, (x, y) = classifiers.build("resnet", 3, imitated=16), images
    imitation.fit_head(model, x, y, x, y, False, "cpu")
    n = classifiers.outputs(model.features, x, "cpu")
    expected = fit_probe(n, y, 3, validation=(n, y)).probabilities(n).float()
    assert torch.allclose(classifiers.predict(model, x, "cpu"), expected, atol=1e-4)


def test_labels_of_generated_images_have_no_part(images, imitated):
    x, y = images
    added = torch.arange(len(y)) % 2 == 1
    wrong = torch.where(added, (y + 1) % 3, y)
    short = replace(RECIPE, steps=3)  # they would enter at the first step
    right, other = (train((x, labels), imitated, added, recipe=short).state for labels in (y, wrong))
    assert all(torch.equal(right[k], other[k]) for k in right if k.startswith("features."))


@pytest.mark.parametrize("network", classifiers.NETWORKS)
def test_each_network_gives_features_of_both_signs_and_is_kept_whole(network, tmp_path):
    torch.manual_seed(0)
    model = classifiers.build(network, 3, imitated=20).eval()
    x = torch.randint(0, 255, (4, 3, 64, 64), dtype=torch.uint8)
    n = classifiers.outputs(model.features, x, "cpu")
    assert n.shape == (4, 20) and n.min() < 0 < n.max()
    save_classifier(tmp_path / "model.safetensors", model.state_dict(), network, ["a", "b", "c"], side=64)
    again = load_classifier(tmp_path / "model.safetensors").network
    assert torch.equal(classifiers.predict(again, x, "cpu"), classifiers.predict(model, x, "cpu"))


def known_at(place, side):
    """The test accuracy of a probe on nano features of images with this side."""
    split = json.loads((place / "runs" / "steel" / "split.json").read_text())["files"]
    network, classes = load_nano_network(), sorted({name.split("/")[0] for name in split})
    parts = {}
    for part in ("train", "val", "test"):
        names = [name for name, entry in split.items() if entry["part"] == part]
        x = classifiers.load_images([place / "steel" / name for name in names], side)
        parts[part] = (imitation.features_of(network, x, "cpu"),
                       torch.tensor([classes.index(name.split("/")[0]) for name in names]))
    (x_test, y_test), probe = parts["test"], fit_probe(*parts["train"], len(classes), validation=parts["val"])
    return float((probe.logits(x_test).argmax(dim=1) == y_test).float().mean())


def test_the_command_line_trains_keeps_and_uses_a_network_that_imitates(place, generated):
    out = here(place, "classify.py", "--data", "steel", "--side", "64", "--steps", "4", "--average", "--mode", "expand",
               *generated, "--imitate", "nano", "--device", "cpu", "--dtype", "float32", "--out", "imitation")
    assert "4 steps" in out and "best of 1 on validation" in out
    said = re.search(r"imitates reach (\S+) at 64 pixels", out)
    assert float(said[1]) == pytest.approx(known_at(place, 64), abs=1e-4)
    result, = read_results(place / "imitation")
    assert result.name == "expand-imitation" and result.setup.features
    model = place / "imitation" / "squeezenet-expand-imitation-1.safetensors"
    here(place, "classify.py", "--predict", "steel/pits", "--model", model, "--out", "imitation.csv")
    rows = list(csv.DictReader(open(place / "imitation.csv")))
    files = sorted((place / "steel" / "pits").iterdir())
    expected = classifiers.predict(load_classifier(model).network, classifiers.load_images(files, 64), "cpu")
    assert [float(row["pits"]) for row in rows] == pytest.approx(expected[:, 1].tolist(), abs=1e-5)
